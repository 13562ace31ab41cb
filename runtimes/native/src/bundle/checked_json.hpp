// Fields of a JSON text, read with their types, as pydantic reads them for the Python package: a whole number may be
// written as 3, 3.0 or true, null is not a number, and a key that nobody reads is refused.
//
// Stricter than Python in this: NaN and infinite numbers are not JSON, a text is not read as a number, and a whole
// number that is kept has 31 bits.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace samclip {

// The first thing that is wrong with a text: where, as keys and numbers with points between, and why. What follows
// throws it.
struct FieldError {
    std::string where, reason;
};

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

// A value, and where it stands. The JSON must outlive it. All of these throw FieldError where the value is another.
class Field {
public:
    Field(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {}
    const Json& json() const { return *value_; }
    const std::string& where() const { return where_; }
    bool is_null() const { return value_->is_null(); }

    std::string text() const;
    int64_t whole(int64_t least = -kMost, int64_t most = std::numeric_limits<int64_t>::max()) const;
    int count() const { return static_cast<int>(above_zero()); }  // more than 0
    double number() const;
    double positive() const;  // a number above 0
    bool truth() const;
    // One of these texts: its place among them.
    size_t one_of(const std::vector<std::string>& choices) const;
    std::string choice(const std::vector<std::string>& choices) const { return choices[one_of(choices)]; }
    std::string hash() const;  // a sha256 in hexadecimal
    std::vector<Field> list(size_t least = 0) const;
    std::vector<Field> list_of(size_t length) const;
    std::vector<Field> entries() const;  // of an object with any keys

    Field at(const std::string& key) const;  // an element of an object that has it
    Field under(const std::string& name) const { return {*value_, below(name)}; }  // the same, shown one level deeper
    std::string below(const std::string& name) const { return where_.empty() ? name : where_ + "." + name; }
    [[noreturn]] void refuse(const std::string& reason) const;
    // Refuse by a rule of this project, as pydantic shows a ValueError.
    [[noreturn]] void wrong(const std::string& reason) const { refuse("Value error, " + reason); }

private:
    int64_t above_zero() const;

    const Json* value_;
    std::string where_;
};

// An object whose keys are known: read each, in the order of the Python model, then `close`.
class Record {
public:
    // model: the name of the Python model, for the message where it is no object.
    Record(const Field& field, const char* model);

    bool has(const std::string& key) const { return field_.json().contains(key); }
    Field required(const std::string& key);
    std::optional<Field> given(const std::string& key);     // nothing where the key is missing
    std::optional<Field> nullable(const std::string& key);  // nothing where it is missing or null
    int count(const std::string& key, int otherwise);
    int64_t whole(const std::string& key, int64_t otherwise, int64_t least, int64_t most = kMost);
    double number(const std::string& key, double otherwise);
    bool truth(const std::string& key, bool otherwise);
    size_t one_of(const std::string& key, const std::vector<std::string>& choices, size_t otherwise = 0);
    void close() const;  // throws FieldError where a key was not asked for
    [[noreturn]] void wrong(const std::string& reason) const { field_.wrong(reason); }

private:
    Field field_;
    std::set<std::string> known_;
};

}  // namespace samclip
