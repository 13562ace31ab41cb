// Values in messages, as Python writes them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace samclip {

// `repr(text)`: in quotes, with escapes for what is not printable. A byte that is no UTF-8 is shown as the surrogate
// that Python has in its place.
std::string python_repr(std::string_view text);
constexpr size_t kShown = 60;  // characters of a value in a message
// `f"{text!r:.60}"`: the repr, cut to 60 characters.
std::string shown(std::string_view text);
// `", ".join(elements)`.
std::string joined(const std::vector<std::string>& elements, const char* between = ", ");
// The elements, written already, as a list: "[a, b]".
std::string python_list(const std::vector<std::string>& elements);
// As a tuple: "(a, b)", "(a,)", "()".
std::string python_tuple(const std::vector<std::string>& elements);
// `f"{value:g}"`.
std::string number_text(double value);
// The first characters of a text.
std::string beginning(std::string_view text, size_t most);
// The first line of an error's own message, short enough to stand in one of ours (`one_line` of Python).
std::string one_line(std::string_view text);

}  // namespace samclip
