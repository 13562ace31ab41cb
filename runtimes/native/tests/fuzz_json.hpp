// Changes JSON texts for a fuzzer as what they are: values are replaced, copied, added and taken away, and the text stays
// JSON. One change in eight is of the bytes instead. A fuzzer that includes this changes its inputs so.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace fuzz {

using Json = nlohmann::ordered_json;
using Random = std::minstd_rand;

// Discarded where the bytes are no JSON. What is nested too deeply to be written again is left out.
inline Json parsed(const uint8_t* data, size_t size) {
    const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth < 500; };
    return Json::parse(data, data + size, shallow, false);
}

// A value somewhere in a JSON.
inline Json& any_of(Json& json, Random& random) {
    Json* at = &json;
    while (at->is_structured() && !at->empty() && random() % 8 != 0) {
        at = &*std::next(at->begin(), static_cast<std::ptrdiff_t>(random() % at->size()));
    }
    return *at;
}

inline std::string changed(const std::string& text) {
    uint8_t bytes[256] = {};
    const size_t size = std::min(text.size(), sizeof bytes / 2);
    std::memcpy(bytes, text.data(), size);
    return {reinterpret_cast<const char*>(bytes), LLVMFuzzerMutate(bytes, size, sizeof bytes)};
}

inline Json odd_value(Random& random) {
    static const Json values = {nullptr, true, false, 0, 1, -1, 2, 16, 255, 1e300, 0.5, -0.0, "", "B", "128x256",
                                INT32_MAX, INT64_MIN, UINT64_MAX, Json::array(), Json::object()};
    return values[random() % values.size()];
}

inline void change(Json& json, Random& random) {
    Json& value = any_of(json, random);
    const auto place = [&] { return static_cast<std::ptrdiff_t>(random() % std::max<size_t>(value.size(), 1)); };
    switch (random() % 6) {
        case 0: value = odd_value(random); break;
        case 1: value = Json(any_of(json, random)); break;
        case 2:
            if (value.is_structured() && !value.empty()) value.erase(std::next(value.begin(), place()));
            break;
        case 3:
            if (value.is_array()) value.insert(value.begin() + place(), Json(any_of(json, random)));
            else if (value.is_object()) value[changed("")] = Json(any_of(json, random));
            break;
        case 4:
            if (value.is_number()) value = value.get<double>() + static_cast<double>(random() % 5) - 2;
            break;
        default:
            if (value.is_string()) value = changed(value.get<std::string>());
    }
}

// The text of a JSON in place of the bytes; or bytes that are changed, where it has no room or is none.
inline size_t written(const Json& json, uint8_t* data, size_t size, size_t most) {
    const std::string text = json.is_discarded() ? "" : json.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.empty() || text.size() > most) return LLVMFuzzerMutate(data, size, most);
    std::memcpy(data, text.data(), text.size());
    return text.size();
}

}  // namespace fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
    fuzz::Random random(seed);
    if (random() % 8 == 0) return LLVMFuzzerMutate(data, size, most);
    fuzz::Json json = fuzz::parsed(data, size);
    if (!json.is_discarded()) fuzz::change(json, random);
    return fuzz::written(json, data, size, most);
}

// A value of one JSON goes into another one: under its key, or in place of any value.
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data, size_t size, const uint8_t* other, size_t other_size,
                                            uint8_t* out, size_t most, unsigned seed) {
    fuzz::Random random(seed);
    fuzz::Json json = fuzz::parsed(data, size), from = fuzz::parsed(other, other_size);
    if (!json.is_discarded() && !from.is_discarded()) {
        fuzz::Json &to = fuzz::any_of(json, random), &given = fuzz::any_of(from, random);
        if (to.is_object() && given.is_object()) to.update(given);
        else to = given;
    }
    std::memcpy(out, data, std::min(size, most));
    return fuzz::written(json, out, std::min(size, most), most);
}
