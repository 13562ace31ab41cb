// Characters: UTF-8 and back, and what Unicode says of them, as Python and the `tokenizers` library see it. By
// utf8proc.
#pragma once

#include <string>
#include <string_view>

namespace samclip {

// What Python's decoder says of the first bytes that are no UTF-8; "" where all are.
std::string utf8_fault(std::string_view text);
// The characters of UTF-8. A byte that is none becomes a lone surrogate, U+DC00 + byte, as with Python's
// `surrogateescape`; a surrogate that somebody wrote as three bytes is one character.
std::u32string decoded(std::string_view text);
// As UTF-8; lone surrogates as three bytes each.
std::string encoded(std::u32string_view text);
void encode(char32_t c, std::string& to);

// Normal forms. The text holds no lone surrogate.
std::u32string nfc(const std::u32string& text);
std::u32string nfkc(const std::u32string& text);

// Python's `str.lower`, with its final sigma.
std::u32string lower(const std::u32string& text);
// The lower case of one character, which for U+0130 is two. So the `tokenizers` library's Lowercase does.
void append_lower(char32_t c, std::u32string& to);

bool is_python_space(char32_t c);  // `str.isspace`
bool is_white_space(char32_t c);   // \s of a regular expression: Unicode's White_Space, which has no U+001C to U+001F
bool is_decimal(char32_t c);       // \d
bool is_letter(char32_t c);        // \p{L}
bool is_number(char32_t c);        // \p{N}
bool is_printable(char32_t c);     // `str.isprintable`

// The character that Windows-1252 has at 0x80 to 0x9F, and HTML at that number; else c.
char32_t from_windows_1252(char32_t c);

}  // namespace samclip
