// Parts of a manifest: `samclip_edge/bundle/manifest.py`. What running does not need is held to its form all the same,
// so that a bundle is taken here exactly where Python takes it. All of these throw FieldError.
#pragma once

#include <vector>

#include "bundle/checked_json.hpp"
#include "bundle/manifest.hpp"

namespace samclip {

File read_file(const Field& field);  // its path stays inside the bundle
std::vector<File> read_files(const Field& field, size_t least);
void read_text(const Field& field, Manifest& manifest);  // how words become features
Calibration read_calibration(const Field& field);
BuiltEngines read_engines(const Field& field);

void check_texts(const std::vector<Field>& fields);
void check_parity(const Field& field, const char* model);  // by output: `error` and `cosine`, of a Parity or a Moved
void check_references(const Field& field);
void check_weights(const Field& field);

}  // namespace samclip
