// Captions as OpenCLIP cleans them: `samclip_edge/text/tokenizer.py`. All texts are UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "bundle/manifest.hpp"

namespace samclip {

// A caption as `cleaned` of Python leaves it. The text is valid UTF-8.
std::string cleaned(std::string_view text, Cleaning how);
// `cleaned` in lower case: by which names are one.
inline std::string clean(std::string_view text) { return cleaned(text, Cleaning::lower); }
// Whether it is valid UTF-8 (no surrogates, nothing overlong, nothing above U+10FFFF).
bool is_utf8(std::string_view text);
// Without white space at both ends, as Python's `str.strip`.
std::string stripped(std::string_view text);

}  // namespace samclip
