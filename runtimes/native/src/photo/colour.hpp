// Rows of samples as rows of RGB.
#pragma once

#include <cstddef>
#include <cstdint>

namespace samclip {

// A row of samples of one kind: that of place x is first[x * stride].
struct Samples {
    const uint8_t* first;
    size_t stride;
};

// Pixels [x, x + count) as RGB.
void rgb_row(const Samples& red, const Samples& green, const Samples& blue, int x, int count, uint8_t* rgb);

// YUV (rather Y'CbCr) to RGB, by whole numbers which are the exact factors times 2^16.
class YuvToRgb {
public:
    // The matrix of ITU-R BT.601 or BT.709; full range: Y, U and V have all 256 values.
    YuvToRgb(bool bt709, bool full_range);
    // Pixels [x, x + count); two neighbours, of which the first is even, share a sample of U and V.
    void row(const Samples& y, const Samples& u, const Samples& v, int x, int count, uint8_t* rgb) const;

private:
    int black_, y_gain_, red_of_v_, green_of_u_, green_of_v_, blue_of_u_;
};

}  // namespace samclip
