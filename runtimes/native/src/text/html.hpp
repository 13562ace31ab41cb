// Entities of HTML.
#pragma once

#include <string>

namespace samclip {

// Python's `html.unescape`: named and numeric character references become their characters.
std::u32string unescaped_html(const std::u32string& text);

}  // namespace samclip
