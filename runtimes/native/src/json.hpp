// JSON that somebody else wrote, read by nlohmann-json. As `samclip_edge/json_files.py`.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace samclip {

using Json = nlohmann::ordered_json;  // an object keeps its keys in the order of the text

// The value of a JSON text in UTF-8, with or without a byte-order mark. strict: refuse a key that an object has twice;
// else its last value counts. Throws std::invalid_argument, which says in one line that it is no JSON (as half a pair
// of surrogates is none, which Python reads), has a number that is too large, or brackets that are nested too deeply.
Json parse_json(std::string_view text, bool strict = true);

}  // namespace samclip
