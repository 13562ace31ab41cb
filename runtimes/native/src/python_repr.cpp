#include "python_repr.hpp"

#include <utf8proc.h>

#include <cstdint>

namespace samclip {
namespace {

// `str.isprintable` of a character: the space is, other separators, controls and what has no character are not.
bool is_printable(utf8proc_int32_t character) {
    switch (utf8proc_category(character)) {
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP: return false;
        case UTF8PROC_CATEGORY_ZS: return character == ' ';
        default: return true;
    }
}

std::string hexadecimal(uint32_t number, int digits) {
    std::string written;
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) written += "0123456789abcdef"[(number >> shift) & 15U];
    return written;
}

std::string escape(uint32_t character) {
    if (character < 0x100) return "\\x" + hexadecimal(character, 2);
    return character < 0x10000 ? "\\u" + hexadecimal(character, 4) : "\\U" + hexadecimal(character, 8);
}

std::string joined(const std::vector<std::string>& elements) {
    std::string together;
    for (const std::string& each : elements) together += (together.empty() ? "" : ", ") + each;
    return together;
}

}  // namespace

std::string python_repr(std::string_view text) {
    const bool both = text.find('"') != text.npos;
    const char quote = text.find('\'') != text.npos && !both ? '"' : '\'';
    std::string written(1, quote);
    for (size_t at = 0; at < text.size();) {
        const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
        utf8proc_int32_t character = 0;
        const auto length = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - at), &character);
        const size_t used = length > 0 ? static_cast<size_t>(length) : 1;
        if (length <= 0) written += escape(*bytes);
        else if (character == quote || character == '\\') written += {'\\', static_cast<char>(character)};
        else if (character == '\n') written += "\\n";
        else if (character == '\r') written += "\\r";
        else if (character == '\t') written += "\\t";
        else if (is_printable(character)) written += text.substr(at, used);
        else written += escape(static_cast<uint32_t>(character));
        at += used;
    }
    return written + quote;
}

std::string python_list(const std::vector<std::string>& elements) { return "[" + joined(elements) + "]"; }

std::string python_tuple(const std::vector<std::string>& elements) {
    return "(" + joined(elements) + (elements.size() == 1 ? ",)" : ")");
}

}  // namespace samclip
