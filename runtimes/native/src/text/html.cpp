#include "text/html.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "text/unicode.hpp"

namespace samclip {
namespace {

constexpr size_t kLongestName = 32;  // of an entity, and of what is looked at as one

struct Entity {
    char name[kLongestName];
    char32_t first, second;
    bool bare;  // whether it also counts without a semicolon
};

constexpr Entity kEntities[] = {
#include "text/html_entities.inc"
};

const Entity* find(std::string_view name) {
    const auto found =
        std::lower_bound(std::begin(kEntities), std::end(kEntities), name,
                         [](const Entity& entity, std::string_view wanted) { return entity.name < wanted; });
    return found != std::end(kEntities) && found->name == name ? found : nullptr;
}

bool in_name(char32_t c) {
    return c != U'\t' && c != U'\n' && c != U'\f' && c != U' ' && c != U'<' && c != U'&' && c != U'#' && c != U';';
}

void append(const Entity& entity, std::u32string& to) {
    to += entity.first;
    if (entity.second) to += entity.second;
}

// Whether HTML drops a number: a control, or what Unicode says is no character.
bool is_dropped(uint32_t number) {
    const bool control = number < 0x20 && number != '\t' && number != '\n' && number != '\f' && number != '\r';
    return control || number == 0x7F || (number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE;
}

// The character with that number, as HTML reads it: Python's `_replace_charref`.
void append_number(uint32_t number, std::u32string& to) {
    if (number == 0 || number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF)) {
        to += U'\uFFFD';
    } else if (!is_dropped(number)) {
        to += from_windows_1252(number);
    }
}

int digit(char32_t c, uint32_t base) {
    if (c >= U'0' && c <= U'9') return static_cast<int>(c - U'0');
    if (base == 10) return -1;
    if (c >= U'a' && c <= U'f') return static_cast<int>(c - U'a') + 10;
    return c >= U'A' && c <= U'F' ? static_cast<int>(c - U'A') + 10 : -1;
}

// Read "#39;" or "#x27;" at `at`, behind the ampersand. Returns where it ends; `at` where there is none.
size_t numeric(const std::u32string& text, size_t at, std::u32string& to) {
    size_t end = at + 1;
    const bool hex = end < text.size() && (text[end] == U'x' || text[end] == U'X');
    const uint32_t base = hex ? 16 : 10;
    const size_t digits = end += hex;
    uint32_t number = 0;
    for (; end < text.size() && digit(text[end], base) >= 0; ++end) {
        number = std::min(number * base + static_cast<uint32_t>(digit(text[end], base)), uint32_t{0x110000});
    }
    if (end == digits) return at;
    append_number(number, to);
    return end < text.size() && text[end] == U';' ? end + 1 : end;
}

// Read "amp;", or the longest beginning that is a name without a semicolon, at `at`. Returns where it ends.
size_t named(const std::u32string& text, size_t at, std::u32string& to) {
    std::string name;
    size_t end = at;
    while (end < text.size() && end - at < kLongestName && in_name(text[end])) {
        name += text[end] < 0x80 ? static_cast<char>(text[end]) : '\x80';  // no name has such a letter
        ++end;
    }
    if (!name.empty() && end < text.size() && text[end] == U';') {
        if (const Entity* entity = find(name)) {
            append(*entity, to);
            return end + 1;
        }
    }
    for (size_t length = name.size(); length > 1; --length) {
        const Entity* entity = find(std::string_view(name).substr(0, length));
        if (entity && entity->bare) {
            append(*entity, to);
            return at + length;
        }
    }
    return at;
}

}  // namespace

std::u32string unescaped_html(const std::u32string& text) {
    std::u32string unescaped;
    unescaped.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
        const char32_t c = text[at++];
        if (c == U'&' && at < text.size()) {
            const size_t end = text[at] == U'#' ? numeric(text, at, unescaped) : named(text, at, unescaped);
            if (end > at) {
                at = end;
                continue;
            }
        }
        unescaped += c;
    }
    return unescaped;
}

}  // namespace samclip
