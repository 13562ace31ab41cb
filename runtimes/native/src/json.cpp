#include "json.hpp"

#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "python_repr.hpp"

namespace samclip {
namespace {

constexpr size_t kDeepest = 258;  // brackets within brackets: as deep as pydantic takes the `tower` of a CLIP

[[noreturn]] void refuse_at(size_t byte) { throw std::invalid_argument("no JSON at byte " + std::to_string(byte)); }

// Makes a value of what the library reads. Its own maker looks each key of an object up among those before it, which
// takes seconds for the words of a tokenizer.
class Maker : public Json::json_sax_t {
public:
    explicit Maker(bool strict) : strict_(strict) {}
    Json& made() { return made_; }

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(int64_t value) override { return add(value); }
    bool number_unsigned(uint64_t value) override { return add(value); }
    bool number_float(double value, const std::string&) override { return add(value); }
    bool string(std::string& value) override { return add(std::move(value)); }
    bool binary(Json::binary_t&) override { return false; }  // JSON has none

    bool start_array(size_t) override { return start(Json::array()); }
    bool end_array() override {
        open_.pop_back();
        return true;
    }
    bool start_object(size_t) override { return start(Json::object()); }
    bool key(std::string& name) override {
        key_ = std::move(name);
        return true;
    }
    bool end_object() override {
        keep_last(open_.back()->get_ref<Json::object_t&>());
        open_.pop_back();
        return true;
    }
    bool parse_error(size_t byte, const std::string&, const Json::exception& error) override {
        if (dynamic_cast<const Json::out_of_range*>(&error)) throw std::invalid_argument("a number is too large");
        refuse_at(byte);
    }

private:
    bool add(Json value) {
        place(std::move(value));
        return true;
    }
    bool start(Json value) {
        if (open_.size() == kDeepest) throw std::invalid_argument("brackets are nested too deeply");
        open_.push_back(&place(std::move(value)));
        return true;
    }
    // Put a value where it stands: last in the innermost list or object that is open.
    Json& place(Json value) {
        if (open_.empty()) return made_ = std::move(value);
        if (auto* list = open_.back()->get_ptr<Json::array_t*>()) return list->emplace_back(std::move(value));
        auto& object = open_.back()->get_ref<Json::object_t&>();
        object.emplace_back(std::move(key_), std::move(value));
        return object.back().second;
    }
    // Of a key that stands several times keep one, with its last value.
    void keep_last(Json::object_t& object) const {
        std::unordered_map<std::string_view, Json*> values;
        values.reserve(object.size());
        for (auto& [name, value] : object) {
            const auto [found, fresh] = values.emplace(name, &value);
            if (fresh) continue;
            if (strict_) throw std::invalid_argument("the key " + python_repr(name) + " stands twice in one object");
            found->second->swap(value);
        }
        if (values.size() == object.size()) return;
        Json::object_t kept;
        for (auto& [name, value] : object) {
            if (values.at(name) == &value) kept.emplace_back(name, std::move(value));
        }
        object = std::move(kept);
    }

    const bool strict_;
    Json made_;
    std::string key_;          // of the next value
    std::vector<Json*> open_;  // the lists and objects that are not at their end, the outermost first
};

}  // namespace

Json parse_json(std::string_view text, bool strict) {
    const size_t zero = text.find('\0');  // which the library takes for the end
    if (zero != text.npos) refuse_at(zero + 1);
    Maker maker(strict);
    Json::sax_parse(text.begin(), text.end(), &maker);
    return std::move(maker.made());
}

}  // namespace samclip
