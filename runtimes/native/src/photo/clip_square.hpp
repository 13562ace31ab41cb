// A photo as CLIP's own encoder is shown it. As `clip_square` in `samclip_edge/photo/resize.py`.
#pragma once

#include "bundle/manifest.hpp"
#include "photo/resize.hpp"

namespace samclip {

// Write (3,size,size) RGB, 0..255.
void clip_square(const Rows& photo, const ClipVision& vision, float* out);

}  // namespace samclip
