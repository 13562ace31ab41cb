// JSON of lists of names and of tokenizers, as `samclip_edge/json_files.py` reads it: the same texts, the same errors.
//
// It is small and fast where it matters: a tokenizer's 150,000 strings are not copied, and what is wrong is told in
// Python's words and positions.
#pragma once

#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace samclip {

// What is wrong with a JSON text: the words of Python's exception.
class JsonError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct JsonValue {
    enum class Kind { null, boolean, number, string, array, object };

    Kind kind = Kind::null;
    // The characters of a string, lone surrogates as three bytes; a number, a boolean and null as they are written.
    std::string_view text;
    std::vector<JsonValue> items;  // of an object: a key, its value, the next key, ...

    bool is(Kind wanted) const { return kind == wanted; }
    // A value of an object; nullptr where it is no object, or has none of that name.
    const JsonValue* find(std::string_view key) const;
    // Whether they say the same. Keys of objects may come in any order.
    bool operator==(const JsonValue& other) const;
    bool operator!=(const JsonValue& other) const { return !(*this == other); }
};

// Python's `repr` of what its reader makes of it. Numbers stand as they are written.
std::string repr(const JsonValue& value);
// `f"{value!r:.60}"`.
std::string shown(const JsonValue& value);

// A JSON text that was read. Its values point into the text, and into this.
class JsonText {
public:
    // text: UTF-8, without a byte-order mark. Throws JsonError.
    explicit JsonText(std::string_view text);
    explicit JsonText(std::string&&) = delete;  // it would be gone before its values are
    JsonText(const JsonText&) = delete;
    JsonText& operator=(const JsonText&) = delete;
    const JsonValue& value() const { return value_; }

private:
    std::deque<std::string> unescaped_;  // strings that are written with escapes
    JsonValue value_;
};

// The text of a file in UTF-8, with or without a byte-order mark. Throws JsonError with the words of Python's decoder.
std::string_view utf8_text(std::string_view bytes);

}  // namespace samclip
