// A mask over a photo, and what is known of it. As `samclip_edge/photo/masks.py`.
#pragma once

#include <array>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "encoded.hpp"
#include "photo/runs.hpp"

namespace samclip {

struct Mask {
    Runs runs;
    double predicted_iou = std::numeric_limits<double>::quiet_NaN();  // NaN only for a map of the CLIP head alone
    Floats logits;  // (S/4,S/4), to hand back with the next prompt; empty where there are none
    std::optional<std::string> label;
    double score = std::numeric_limits<double>::quiet_NaN();  // the calibrated chance that `label` is right
    double similarity = std::numeric_limits<double>::quiet_NaN();
    std::array<double, 2> point = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
};

using Masks = std::vector<Mask>;

}  // namespace samclip
