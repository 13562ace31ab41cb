#include "text/unicode.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <stdexcept>
#include <vector>

namespace samclip {
namespace {

// A character read from UTF-8, or bytes that are none.
struct Read {
    char32_t character = 0;
    size_t bytes = 1;             // of the character, or of what is wrong
    const char* fault = nullptr;  // in the words of Python's decoder
};

// What may follow a first byte: how many bytes, and the range of the first of them. (Unicode's table 3-7.)
struct Following {
    size_t count;
    unsigned low, high;
};

Following following(unsigned first) {
    if (first < 0xE0) return {1, 0x80, 0xBF};
    if (first < 0xF0) return {2, first == 0xE0 ? 0xA0u : 0x80u, first == 0xED ? 0x9Fu : 0xBFu};
    return {3, first == 0xF0 ? 0x90u : 0x80u, first == 0xF4 ? 0x8Fu : 0xBFu};
}

// surrogates: take them too. There is a character at `at`.
Read read_character(std::string_view text, size_t at, bool surrogates) {
    const auto byte = [&](size_t index) { return static_cast<unsigned>(static_cast<unsigned char>(text[index])); };
    const unsigned first = byte(at);
    if (first < 0x80) return {first, 1, nullptr};
    if (first < 0xC2 || first > 0xF4) return {first, 1, "invalid start byte"};
    Following next = following(first);
    if (surrogates) next.high = first == 0xED ? 0xBF : next.high;
    uint32_t character = first & (0x3Fu >> next.count);
    for (size_t i = 1; i <= next.count; ++i) {
        if (at + i == text.size()) return {first, i, "unexpected end of data"};
        const unsigned value = byte(at + i);
        if (i == 1 ? value < next.low || value > next.high : (value & 0xC0u) != 0x80) {
            return {first, i, "invalid continuation byte"};
        }
        character = character << 6 | (value & 0x3Fu);
    }
    return {character, next.count + 1, nullptr};
}

struct Range {
    char32_t first, last;
};

template <size_t N>
bool among(const Range (&ranges)[N], char32_t c) {
    const auto after = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                        [](char32_t value, const Range& range) { return value < range.first; });
    return after != std::begin(ranges) && c <= std::prev(after)->last;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// Other_Lowercase and Other_Uppercase of Unicode, without those that are case-ignorable, which nobody asks about.
constexpr Range kOtherCased[] = {{0xAA, 0xAA},       {0xBA, 0xBA},       {0x2160, 0x217F},  {0x24B6, 0x24E9},
                                 {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
// Word_Break MidLetter, MidNumLet and Single_Quote of Unicode.
constexpr Range kInsideWords[] = {{0x27, 0x27},     {0x2E, 0x2E},     {0x3A, 0x3A},     {0xB7, 0xB7},
                                  {0x387, 0x387},   {0x55F, 0x55F},   {0x5F4, 0x5F4},   {0x2018, 0x2019},
                                  {0x2024, 0x2024}, {0x2027, 0x2027}, {0xFE13, 0xFE13}, {0xFE52, 0xFE52},
                                  {0xFE55, 0xFE55}, {0xFF07, 0xFF07}, {0xFF0E, 0xFF0E}, {0xFF1A, 0xFF1A}};

bool is_cased(char32_t c) {
    switch (category(c)) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT: return true;
        default: return among(kOtherCased, c);
    }
}

bool is_case_ignorable(char32_t c) {
    switch (category(c)) {
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_SK: return true;
        default: return among(kInsideWords, c);
    }
}

// Whether the sigma at `at` ends a word: letters come before it, and none after.
bool is_final_sigma(const std::u32string& text, size_t at) {
    size_t before = at, after = at + 1;
    while (before > 0 && is_case_ignorable(text[before - 1])) --before;
    if (before == 0 || !is_cased(text[before - 1])) return false;
    while (after < text.size() && is_case_ignorable(text[after])) ++after;
    return after == text.size() || !is_cased(text[after]);
}

std::u32string normalized(const std::u32string& text, int form) {
    const std::string bytes = encoded(text);
    const auto* data = reinterpret_cast<const utf8proc_uint8_t*>(bytes.data());
    const auto size = static_cast<utf8proc_ssize_t>(bytes.size());
    const auto options = static_cast<utf8proc_option_t>(form | UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    std::vector<utf8proc_int32_t> buffer;
    utf8proc_ssize_t length = utf8proc_decompose(data, size, nullptr, 0, options);
    if (length > 0) {
        buffer.resize(static_cast<size_t>(length));
        length = utf8proc_decompose(data, size, buffer.data(), length, options);
        if (length > 0) length = utf8proc_normalize_utf32(buffer.data(), length, options);
    }
    if (length < 0) throw std::runtime_error(utf8proc_errmsg(length));
    return {buffer.begin(), buffer.begin() + length};
}

}  // namespace

std::string utf8_fault(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        const Read read = read_character(text, at, false);
        if (read.fault) {
            char byte[8];
            std::snprintf(byte, sizeof byte, "0x%02x", static_cast<unsigned>(read.character));
            const std::string last = std::to_string(at + read.bytes - 1);
            return "'utf-8' codec can't decode " +
                   (read.bytes == 1 ? std::string("byte ") + byte + " in position " + last
                                    : "bytes in position " + std::to_string(at) + "-" + last) +
                   ": " + read.fault;
        }
        at += read.bytes;
    }
    return "";
}

std::u32string decoded(std::string_view text) {
    std::u32string characters;
    characters.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
        const Read read = read_character(text, at, true);
        characters += read.fault ? 0xDC00 + read.character : read.character;
        at += read.fault ? 1 : read.bytes;
    }
    return characters;
}

void encode(char32_t c, std::string& to) {
    const auto add = [&to](uint32_t byte) { to += static_cast<char>(static_cast<unsigned char>(byte)); };
    const uint32_t code = c;
    if (code < 0x80) return add(code);
    if (code < 0x800) {
        add(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            add(0xE0 | code >> 12);
        } else {
            add(0xF0 | code >> 18);
            add(0x80 | (code >> 12 & 0x3F));
        }
        add(0x80 | (code >> 6 & 0x3F));
    }
    add(0x80 | (code & 0x3F));
}

std::string encoded(std::u32string_view text) {
    std::string bytes;
    bytes.reserve(text.size());
    for (const char32_t c : text) encode(c, bytes);
    return bytes;
}

std::u32string nfc(const std::u32string& text) {
    const bool changes = std::any_of(text.begin(), text.end(), [](char32_t c) { return c >= 0x300; });
    return changes ? normalized(text, 0) : text;
}

std::u32string nfkc(const std::u32string& text) { return normalized(text, UTF8PROC_COMPAT); }

std::u32string lower(const std::u32string& text) {
    std::u32string lowered;
    lowered.reserve(text.size());
    for (size_t at = 0; at < text.size(); ++at) {
        if (text[at] == U'\u03A3' && is_final_sigma(text, at)) {
            lowered += U'\u03C2';
        } else {
            append_lower(text[at], lowered);
        }
    }
    return lowered;
}

void append_lower(char32_t c, std::u32string& to) {
    if (c == U'\u0130') {
        to += U"i\u0307";
    } else if (c < 0x80) {
        to += c >= U'A' && c <= U'Z' ? c + 0x20 : c;
    } else {
        to += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    }
}

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_white_space(char32_t c) {
    if (c < 0x80) return c == 0x20 || (c >= 0x09 && c <= 0x0D);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_letter(char32_t c) {
    const utf8proc_category_t found = category(c);
    return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t c) {
    const utf8proc_category_t found = category(c);
    return found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO;
}

bool is_printable(char32_t c) {
    const utf8proc_category_t found = category(c);
    return c == 0x20 || (found >= UTF8PROC_CATEGORY_LU && found < UTF8PROC_CATEGORY_ZS);
}

char32_t from_windows_1252(char32_t c) {
    static constexpr char16_t kCharacters[32] = {0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008D, 0x017D, 0x008F,
                                                 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};
    return c >= 0x80 && c < 0xA0 ? kCharacters[c - 0x80] : c;
}

}  // namespace samclip
