// The input size of a graph. As `samclip_edge/bundle/sizes.py`.
#pragma once

#include <string>

namespace samclip {

constexpr int kPatch = 16;      // pixels along the side of a token
constexpr int kMaskStride = 4;  // model pixels along the side of a low-res mask pixel

struct Size {
    int height = 0, width = 0;

    bool operator==(const Size& other) const { return height == other.height && width == other.width; }
    bool operator!=(const Size& other) const { return !(*this == other); }
    // By which sizes are sorted: the number of pixels first, then height and width.
    bool operator<(const Size& other) const;
    // "256", or "1024x576" as width x height.
    std::string text() const;
    int rows() const { return height / kPatch; }  // of tokens
    int columns() const { return width / kPatch; }
    int low_rows() const { return height / kMaskStride; }  // of a low-res mask
    int low_columns() const { return width / kMaskStride; }
};

// Of "256", or of "1024x576". Throws std::invalid_argument saying why it is none (`sides`).
Size size_of(const std::string& text);

}  // namespace samclip
