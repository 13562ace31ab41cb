// A picture as it lies in an app's memory, read as rows of upright RGB: formats, colour matrices, turns and mirrors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "photo/colour.hpp"
#include "samclip_edge.h"

namespace samclip {

// RGB pixels (height,width,3) in memory of their own.
struct Rgb {
    int height = 0, width = 0;
    std::vector<uint8_t> bytes;
};

// A part of the upright picture, in its pixels.
struct Region {
    int top, left, height, width;
};

// A picture of the app's, which must outlive it.
class Picture {
public:
    // Throws InputError where the picture cannot be read: no data, sides that are not above 0 or too large (more than
    // 178,956,970 pixels in all, Python's MAX_PIXELS), planes too small for their strides, an unknown format or turn.
    // The lines begin with "photo".
    explicit Picture(const samclip_image& image);
    int height() const { return height_; }  // upright
    int width() const { return width_; }
    // Rows [top, top + count) of a region (whose rows these are numbered in), each region.width RGB pixels one after
    // another. Throws std::out_of_range where they are not all inside.
    void rows(const Region& region, int top, int count, uint8_t* rgb) const;
    Rgb copy() const;

private:
    // Where all samples of one kind lie.
    struct Channel {
        const uint8_t* first;
        size_t row_stride, pixel_stride;
        int rows;  // how many rows of the picture share one row of samples
    };
    // Pixels [x, x + count) of row y, as the picture lies in memory.
    void source_row(int y, int x, int count, uint8_t* rgb) const;
    // Rows [top, top + count) of the upright picture, from x = left on, which are columns of the memory; at most kTile.
    void rows_from_columns(int top, int count, int left, int width, uint8_t* rgb) const;

    samclip_image image_;
    int height_, width_;
    bool sideways_;                  // columns of the memory are rows of the upright picture
    bool from_right_, from_bottom_;  // the memory's x, y run backwards
    Channel channels_[3];            // R, G, B or Y, U, V
    std::optional<YuvToRgb> yuv_;
};

}  // namespace samclip
