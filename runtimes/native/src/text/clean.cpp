#include "text/clean.hpp"

#include "text/html.hpp"
#include "text/unicode.hpp"

namespace samclip {
namespace {

// Without what sets colours in a terminal: the regular expression `\033\[((?:\d|;)*)([a-zA-Z])`.
std::u32string without_terminal_codes(const std::u32string& text) {
    std::u32string left;
    left.reserve(text.size());
    for (size_t at = 0; at < text.size(); ++at) {
        if (text[at] == U'\x1B' && at + 1 < text.size() && text[at + 1] == U'[') {
            size_t end = at + 2;
            while (end < text.size() && (text[end] == U';' || is_decimal(text[end]))) ++end;
            const char32_t last = end < text.size() ? text[end] | 0x20 : 0;
            if (last >= U'a' && last <= U'z') {
                at = end;
                continue;
            }
        }
        left += text[at];
    }
    return left;
}

bool is_dropped(char32_t c) {
    return c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F || (c >= 0x206A && c < 0x2070) ||
           c == 0xFEFF || (c >= 0xFFF9 && c < 0xFFFD);
}

// A ligature, or a letter that is wider or narrower than others of its kind.
bool is_form(char32_t c) {
    constexpr std::u32string_view kLigatures = U"ĲĳǇǈǉǊǋǌǱǲǳǄǅǆﬀﬁﬂﬃﬄﬅﬆ";
    return c == 0x3000 || (c >= 0xFF01 && c < 0xFFF0) || kLigatures.find(c) != std::u32string_view::npos;
}

// What ftfy does to well-encoded text: `_C1`, `_CLEAN` and `_SURROGATES` of Python.
std::u32string plain(const std::u32string& text) {
    std::u32string made;
    made.reserve(text.size());
    for (const char32_t given : text) {
        const char32_t c = from_windows_1252(given);
        if (c >= 0xD800 && c < 0xE000) {
            made += U'\uFFFD';
        } else if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) {
            made += U'\'';
        } else if (c >= 0x201C && c <= 0x201F) {
            made += U'"';
        } else if (c == 0x149) {  // ŉ
            made += U"'n";
        } else if (c > 0x7F && is_form(c)) {
            made += nfkc(std::u32string(1, c));
        } else if (!is_dropped(c)) {
            made += c;
        }
    }
    return made;
}

bool is_punctuation(char32_t c) {
    return (c > 0x20 && c < U'0') || (c > U'9' && c < U'A') || (c > U'Z' && c < U'a') || (c > U'z' && c < 0x7F);
}

std::u32string without_punctuation(const std::u32string& text) {
    std::u32string left;
    for (const char32_t c : text) {
        if (c == U'_') {
            left += U' ';
        } else if (!is_punctuation(c)) {
            left += c;
        }
    }
    return left;
}

// `" ".join(text.split())`.
std::u32string single_spaced(const std::u32string& text) {
    std::u32string words;
    words.reserve(text.size());
    bool space = false;
    for (const char32_t c : text) {
        if (is_python_space(c)) {
            space = !words.empty();
        } else {
            if (space) words += U' ';
            space = false;
            words += c;
        }
    }
    return words;
}

}  // namespace

std::string cleaned(std::string_view given, Cleaning how) {
    std::u32string text = decoded(given);
    if (text.find(U'<') == std::u32string::npos) text = unescaped_html(text);
    text = nfc(plain(without_terminal_codes(text)));
    text = unescaped_html(unescaped_html(text));
    if (how == Cleaning::canonicalize) text = without_punctuation(text);
    text = single_spaced(text);
    return encoded(how == Cleaning::whitespace ? text : lower(text));
}

bool is_utf8(std::string_view text) { return utf8_fault(text).empty(); }

std::string stripped(std::string_view text) {
    const std::u32string characters = decoded(text);
    size_t first = 0, last = characters.size();
    while (first < last && is_python_space(characters[first])) ++first;
    while (last > first && is_python_space(characters[last - 1])) --last;
    const size_t before = encoded(characters.substr(0, first)).size();  // white space is never a byte that is no UTF-8
    const size_t after = encoded(characters.substr(last)).size();
    return std::string(text.substr(before, text.size() - before - after));
}

}  // namespace samclip
