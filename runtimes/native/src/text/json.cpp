#include "text/json.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <utility>

#include "text/clean.hpp"
#include "text/unicode.hpp"

namespace samclip {
namespace {

constexpr int kDeepest = 900;  // brackets in brackets: about where Python's reader stops

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Reader {
public:
    Reader(std::string_view text, std::deque<std::string>& unescaped) : text_(text), unescaped_(unescaped) {}

    JsonValue document() {
        if (starts("\xEF\xBB\xBF")) fail("Unexpected UTF-8 BOM (decode using utf-8-sig)", 0);
        skip_space();
        JsonValue value = read(0);
        skip_space();
        if (at_ != text_.size()) fail("Extra data", at_);
        return value;
    }

private:
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool starts(std::string_view word) const { return text_.substr(at_, word.size()) == word; }
    void skip_space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
    }

    // Say where in the words of Python's JSONDecodeError, which counts characters.
    [[noreturn]] void fail(const std::string& what, size_t at) const {
        const auto characters = [](std::string_view part) {
            return std::count_if(part.begin(), part.end(), [](char c) { return (c & 0xC0) != 0x80; });
        };
        const std::string_view before = text_.substr(0, at);
        const size_t line_start = before.rfind('\n') + 1;  // 0 where there is none
        const auto lines = std::count(before.begin(), before.end(), '\n');
        throw JsonError(what + ": line " + std::to_string(lines + 1) + " column " +
                        std::to_string(characters(before.substr(line_start)) + 1) + " (char " +
                        std::to_string(characters(before)) + ")");
    }

    JsonValue read(int depth) {
        if (depth > kDeepest) throw JsonError("brackets are nested too deeply");
        switch (peek()) {
            case '"': return {JsonValue::Kind::string, string(), {}};
            case '[': return array(depth);
            case '{': return object(depth);
            default: break;
        }
        if (starts("null")) return word(JsonValue::Kind::null, 4);
        if (starts("true")) return word(JsonValue::Kind::boolean, 4);
        if (starts("false")) return word(JsonValue::Kind::boolean, 5);
        for (const char* constant : {"NaN", "Infinity", "-Infinity"}) {
            if (starts(constant)) throw JsonError(std::string(constant) + " is no number of JSON");
        }
        return word(JsonValue::Kind::number, number());
    }

    JsonValue word(JsonValue::Kind kind, size_t length) {
        at_ += length;
        return {kind, text_.substr(at_ - length, length), {}};
    }

    // How many characters a number has here.
    size_t number() const {
        const auto digits = [this](size_t from) {
            while (from < text_.size() && is_digit(text_[from])) ++from;
            return from;
        };
        const size_t first = at_ + (peek() == '-');
        size_t end = digits(first);
        if (end == first) fail("Expecting value", at_);
        if (text_[first] == '0') end = first + 1;
        if (end < text_.size() && text_[end] == '.' && digits(end + 1) > end + 1) end = digits(end + 1);
        if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
            size_t exponent = end + 1;
            if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
            if (digits(exponent) > exponent) end = digits(exponent);
        }
        return end - at_;
    }

    JsonValue array(int depth) {
        JsonValue made{JsonValue::Kind::array, {}, {}};
        ++at_;
        skip_space();
        if (peek() == ']') return ++at_, made;
        while (true) {
            made.items.push_back(read(depth + 1));
            skip_space();
            if (peek() == ']') return ++at_, made;
            if (peek() != ',') fail("Expecting ',' delimiter", at_);
            ++at_;
            skip_space();
        }
    }

    JsonValue object(int depth) {
        JsonValue made{JsonValue::Kind::object, {}, {}};
        ++at_;
        skip_space();
        if (peek() == '}') return ++at_, made;
        while (true) {
            if (peek() != '"') fail("Expecting property name enclosed in double quotes", at_);
            made.items.push_back({JsonValue::Kind::string, string(), {}});
            skip_space();
            if (peek() != ':') fail("Expecting ':' delimiter", at_);
            ++at_;
            skip_space();
            made.items.push_back(read(depth + 1));
            skip_space();
            if (peek() == '}') break;
            if (peek() != ',') fail("Expecting ',' delimiter", at_);
            ++at_;
            skip_space();
        }
        ++at_;
        refuse_doubled(made);
        return made;
    }

    static void refuse_doubled(const JsonValue& object) {
        std::unordered_set<std::string_view> keys;
        keys.reserve(object.items.size() / 2);
        for (size_t i = 0; i < object.items.size(); i += 2) {
            if (!keys.insert(object.items[i].text).second) {
                throw JsonError("the key " + repr(object.items[i].text) + " stands twice in one object");
            }
        }
    }

    // A string, behind whose end reading goes on.
    std::string_view string() {
        const size_t begin = at_++;
        size_t end = closing(begin, at_);
        if (text_[end] == '"') {
            at_ = end + 1;
            return text_.substr(begin + 1, end - begin - 1);
        }
        std::string& made = unescaped_.emplace_back();
        while (true) {
            made += text_.substr(at_, end - at_);
            at_ = end + 1;
            if (text_[end] == '"') return made;
            escape(begin, made);
            end = closing(begin, at_);
        }
    }

    // Where the next quote or backslash is, in a string that begins at `begin`.
    size_t closing(size_t begin, size_t at) const {
        for (; at < text_.size(); ++at) {
            if (text_[at] == '"' || text_[at] == '\\') return at;
            if (static_cast<unsigned char>(text_[at]) < 0x20) fail("Invalid control character at", at);
        }
        fail("Unterminated string starting at", begin);
    }

    // What comes behind a backslash.
    void escape(size_t begin, std::string& to) {
        constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
        if (at_ == text_.size()) fail("Unterminated string starting at", begin);
        if (peek() != 'u') {
            const size_t letter = kLetters.find(peek());
            if (letter == std::string_view::npos) fail("Invalid \\escape", at_ - 1);
            to += kMeanings[letter];
            ++at_;
            return;
        }
        uint32_t character = unit(at_ + 1);
        at_ += 5;
        if (character >= 0xD800 && character < 0xDC00 && starts("\\u") && at_ + 6 < text_.size()) {
            const uint32_t second = unit(at_ + 2);
            if (second >= 0xDC00 && second < 0xE000) {
                character = 0x10000 + ((character - 0xD800) << 10) + (second - 0xDC00);
                at_ += 6;
            }
        }
        encode(character, to);
    }

    // Four hexadecimal digits.
    uint32_t unit(size_t at) const {
        uint32_t value = 0;
        for (size_t i = at; i < at + 4; ++i) {
            const char c = i < text_.size() ? text_[i] : '\0';
            const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
            if (!letter && !is_digit(c)) fail("Invalid \\uXXXX escape", at - 1);
            value = value << 4 | static_cast<uint32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
        }
        if (at + 4 == text_.size()) fail("Invalid \\uXXXX escape", at - 1);  // Python says so before it misses the end
        return value;
    }

    std::string_view text_;
    size_t at_ = 0;
    std::deque<std::string>& unescaped_;
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view key) const {
    for (size_t i = 0; kind == Kind::object && i < items.size(); i += 2) {
        if (items[i].text == key) return &items[i + 1];
    }
    return nullptr;
}

bool JsonValue::operator==(const JsonValue& other) const {
    if (kind != other.kind || text != other.text || items.size() != other.items.size()) return false;
    if (kind != Kind::object) return items == other.items;
    for (size_t i = 0; i < items.size(); i += 2) {
        const JsonValue* value = other.find(items[i].text);
        if (!value || *value != items[i + 1]) return false;
    }
    return true;
}

std::string repr(const JsonValue& value) {
    switch (value.kind) {
        case JsonValue::Kind::null: return "None";
        case JsonValue::Kind::boolean: return value.text == "true" ? "True" : "False";
        case JsonValue::Kind::number: return std::string(value.text);
        case JsonValue::Kind::string: return repr(value.text);
        default: break;
    }
    const bool is_object = value.is(JsonValue::Kind::object);
    std::string written = is_object ? "{" : "[";
    for (size_t i = 0; i < value.items.size(); ++i) {
        if (i > 0) written += is_object && i % 2 == 1 ? ": " : ", ";
        written += repr(value.items[i]);
    }
    return written + (is_object ? '}' : ']');
}

std::string shown(const JsonValue& value) { return beginning(repr(value), kShown); }

JsonText::JsonText(std::string_view text) { value_ = Reader(text, unescaped_).document(); }

std::string_view utf8_text(std::string_view bytes) {
    constexpr std::string_view kMark = "\xEF\xBB\xBF";
    if (bytes.substr(0, kMark.size()) == kMark) bytes.remove_prefix(kMark.size());
    if (const std::string fault = utf8_fault(bytes); !fault.empty()) throw JsonError(fault);
    return bytes;
}

}  // namespace samclip
