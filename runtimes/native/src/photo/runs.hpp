// A mask over a photo as the places where it begins and ends: COCO's run-length encoding. As
// `samclip_edge/photo/masks.py`.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace samclip {

using Box = std::array<int, 4>;  // x0, y0, x1, y1, the end exclusive; zeros around nothing

// Runs go down the columns. `edges` holds, rising, where the mask begins, ends, begins, and so on: an even number of
// places y + x * height.
struct Runs {
    int height = 0, width = 0;
    std::vector<uint32_t> edges;

    int64_t area() const;
    Box box() const;
    bool empty() const { return edges.empty(); }
    // The compressed `counts` of COCO's RLE, as `rleToString` in its `maskApi.c` writes them.
    std::string counts() const;
    // Write `inside` into (height,width) bytes where the mask is, 0 elsewhere.
    void draw(uint8_t inside, uint8_t* pixels, size_t row_stride) const;
    // The middle of its pixels, rounded down: x, y. The mask is not empty.
    std::array<int, 2> middle() const;
};

// The mask of compressed counts. Throws InputError with Python's lines where they do not fill the size.
Runs decoded(std::string_view counts, int height, int width);
// Where either of two masks of one photo is.
Runs either(const Runs& one, const Runs& other);
// Where the first is and the second is not.
Runs without(const Runs& one, const Runs& other);
// The square around a mask's box, moved or cut to lie within the photo (`square_around`): top, left, height, width.
std::array<int, 4> square_around(const Runs& mask);

}  // namespace samclip
