#include "python_repr.hpp"

#include <cstdio>

#include "text/clean.hpp"
#include "text/unicode.hpp"

namespace samclip {
namespace {

// A character as `repr` writes it.
std::u32string represented(char32_t c, char32_t quote) {
    if (c == quote || c == U'\\') return {U'\\', c};
    if (c == U'\t') return U"\\t";
    if (c == U'\n') return U"\\n";
    if (c == U'\r') return U"\\r";
    if (is_printable(c)) return std::u32string(1, c);
    char written[16];
    const char* const format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
    std::snprintf(written, sizeof written, format, static_cast<unsigned>(c));
    return decoded(written);
}

}  // namespace

std::string python_repr(std::string_view text) {
    const std::u32string characters = decoded(text);
    const bool single = characters.find(U'\'') == std::u32string::npos;
    const char32_t quote = single || characters.find(U'"') != std::u32string::npos ? U'\'' : U'"';
    std::u32string written(1, quote);
    for (const char32_t c : characters) written += represented(c, quote);
    return encoded(written + quote);
}

std::string shown(std::string_view text) { return beginning(python_repr(text), kShown); }

std::string joined(const std::vector<std::string>& elements, const char* between) {
    std::string together;
    for (size_t k = 0; k < elements.size(); ++k) together += (k == 0 ? "" : between) + elements[k];
    return together;
}

std::string python_list(const std::vector<std::string>& elements) { return "[" + joined(elements) + "]"; }

std::string python_tuple(const std::vector<std::string>& elements) {
    return "(" + joined(elements) + (elements.size() == 1 ? ",)" : ")");
}

std::string number_text(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return text;
}

std::string beginning(std::string_view text, size_t most) { return encoded(decoded(text).substr(0, most)); }

std::string one_line(std::string_view text) {
    const std::string said = stripped(text);
    return said.empty() ? "and does not say why" : beginning(said.substr(0, said.find_first_of("\r\n")), 200);
}

}  // namespace samclip
