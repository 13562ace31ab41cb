// The kinds of image encoder: `samclip_edge/bundle/encoder_spec.py`. All of these throw FieldError.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bundle/checked_json.hpp"

namespace samclip {

// Read and validate the spec of an image encoder: the channels of its tokens.
int64_t read_encoder(const Field& field);
// Which of the kinds an object says that it is. reader: Python's name of the function that finds it, for the message.
size_t read_kind(const Field& field, const std::vector<std::string>& kinds, const char* reader, const char* otherwise);
// Three numbers of a colour, RGB. above_zero: whether each must be.
void check_colour(const Field& field, bool above_zero);
// Whether a width is a multiple of the heads that share it. what: the width's name.
void check_divides(const Record& spec, const std::string& what, int64_t width, int64_t heads);

}  // namespace samclip
