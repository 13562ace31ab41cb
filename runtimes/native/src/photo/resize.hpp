// Resizing exactly as Pillow does it: `samclip_edge/photo/resize.py`.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "photo/pixels.hpp"

namespace samclip {

// What `resize` reads: `count` rows from row `top` on, each `width` RGB pixels.
struct Rows {
    int height, width;
    std::function<void(int top, int count, uint8_t* rgb)> read;
};

// All rows of a picture, or those of a region of it, which is inside. The picture must outlive them.
Rows rows_of(const Picture& picture);
Rows rows_of(const Picture& picture, const Region& region);
Rows rows_of(const Rgb& rgb, const Region& region);

// Write (height,width,3) uint8, the same bytes as `resize` of Pillow 13 with BILINEAR or BICUBIC. Each source row is
// read once, top to bottom, in blocks.
void resize(const Rows& source, int height, int width, bool bicubic, uint8_t* out);

// How one side of an array is resized by a filter that widens as it shrinks (Pillow's `precompute_coeffs`).
struct Taps {
    std::vector<int> first;                    // of each new cell, the first old one that counts
    std::vector<std::vector<double>> weights;  // of it and those after it; they sum to 1
};
enum class Filter { box, bilinear, bicubic };
Taps taps(int old_side, int new_side, Filter filter);

}  // namespace samclip
