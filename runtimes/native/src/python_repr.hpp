// Values in messages, as Python's `repr` writes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace samclip {

// `repr(text)`: in quotes, with escapes for what is not printable. text: UTF-8; bytes that are none become \xNN.
std::string python_repr(std::string_view text);
// The elements, written already, as a list: "[a, b]".
std::string python_list(const std::vector<std::string>& elements);
// As a tuple: "(a, b)", "(a,)", "()".
std::string python_tuple(const std::vector<std::string>& elements);

}  // namespace samclip
