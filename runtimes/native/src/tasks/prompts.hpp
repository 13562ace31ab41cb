// Prompts in photo coordinates, checked and brought to what the `prompt_encoder` graph takes. As
// `samclip_edge/tasks/prompts.py`.
#pragma once

#include <vector>

#include "photo/frame.hpp"
#include "samclip_edge.h"

namespace samclip {

// B prompts as the graph takes them.
struct Prompts {
    size_t count = 0;           // B
    size_t points_each = 0;     // N of the graph: with the corners of a box, or a point labelled -1 where there is none
    std::vector<float> points;  // (B,N,2) x, y in model pixels
    std::vector<float> labels;  // (B,N)
    std::vector<float> masks;   // (M,S/4,S/4) logits: one that all prompts share, or one for each
    bool has_mask = false;
    bool ambiguous = false;  // one click and nothing else: SAM answers with three masks
};

// What labels say of points.
constexpr float kNothing = -1, kBackground = 0, kForeground = 1, kTopLeft = 2, kBottomRight = 3;

// Boxes are cut off at the border of the photo. Throws InputError for prompts that are NaN, reversed, or outside the
// photo, and for none.
Prompts prepared(const Frame& frame, const samclip_prompts& prompts);

}  // namespace samclip
