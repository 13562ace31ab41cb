// What a model is made of: `samclip_edge/bundle/spec.py`, as far as a bundle's graphs and its texts depend on it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bundle/checked_json.hpp"
#include "bundle/manifest.hpp"
#include "bundle/sizes.hpp"

namespace samclip {

constexpr int kChannels = 256;  // of SAM's embedding and prompts

struct ModelSpec {
    int64_t width = 0;  // channels of the image encoder's tokens
    int max_grid = 32;  // of the CLIP head: above this many tokens a side, they are averaged 2x2
    std::optional<ClipVision> clip_vision;
    TextSpec text;
    int features = 0;  // E
    int guidance = 0;  // hidden channels that draw a prompt into `dense`

    // Rows and columns of patch features, as a size of these numbers.
    Size feature_grid(const Size& size) const;
};

// Read and validate a model's spec. Throws FieldError.
ModelSpec read_spec(const Field& field);
// An input size: a number or WxH. Throws FieldError.
Size read_size(const Field& field);
std::vector<Size> read_sizes(const Field& field, size_t least);
// As Python's repr shows a size: 256, or '1024x576'.
std::string size_repr(const Size& size);

}  // namespace samclip
