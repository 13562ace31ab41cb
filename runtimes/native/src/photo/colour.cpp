#include "photo/colour.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace samclip {
namespace {

constexpr int kBits = 16;

int whole(double factor) { return static_cast<int>(std::lround(factor * (1 << kBits))); }

uint8_t clamped(int sum) {
    const int value = (sum + (1 << (kBits - 1))) >> kBits;
    return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

}  // namespace

void rgb_row(const Samples& red, const Samples& green, const Samples& blue, int x, int count, uint8_t* rgb) {
    const size_t stride = red.stride, start = static_cast<size_t>(x) * stride, pixels = static_cast<size_t>(count);
    const uint8_t *r = red.first + start, *g = green.first + start, *b = blue.first + start;
    if (stride == 3 && g == r + 1) {  // RGB it is already
        std::memcpy(rgb, r, 3 * pixels);
        return;
    }
    for (size_t pixel = 0; pixel < pixels; ++pixel, rgb += 3) {
        rgb[0] = r[pixel * stride], rgb[1] = g[pixel * stride], rgb[2] = b[pixel * stride];
    }
}

YuvToRgb::YuvToRgb(bool bt709, bool full_range) {
    const double kr = bt709 ? 0.2126 : 0.299, kb = bt709 ? 0.0722 : 0.114, kg = 1 - kr - kb;
    const double luma = full_range ? 1 : 255.0 / 219, chroma = full_range ? 1 : 255.0 / 224;
    black_ = full_range ? 0 : 16;
    y_gain_ = whole(luma);
    red_of_v_ = whole(2 * (1 - kr) * chroma);
    blue_of_u_ = whole(2 * (1 - kb) * chroma);
    green_of_u_ = whole(-2 * (1 - kb) * kb / kg * chroma);
    green_of_v_ = whole(-2 * (1 - kr) * kr / kg * chroma);
}

void YuvToRgb::row(const Samples& y, const Samples& u, const Samples& v, int x, int count, uint8_t* rgb) const {
    // In steps, whose sums the compiler works out several at a time.
    constexpr int kStep = 32;
    int luma[kStep] = {}, blue_difference[kStep] = {}, red_difference[kStep] = {};
    uint8_t red[kStep], green[kStep], blue[kStep];
    for (const int end = x + count; x < end;) {
        const int pixels = std::min(kStep, end - x);
        for (int pixel = 0; pixel < pixels; ++pixel, ++x) {
            const size_t at = static_cast<size_t>(x);
            luma[pixel] = y.first[at * y.stride];
            blue_difference[pixel] = u.first[at / 2 * u.stride];
            red_difference[pixel] = v.first[at / 2 * v.stride];
        }
        for (int pixel = 0; pixel < kStep; ++pixel) {
            const int grey = y_gain_ * (luma[pixel] - black_);
            const int cb = blue_difference[pixel] - 128, cr = red_difference[pixel] - 128;
            red[pixel] = clamped(grey + red_of_v_ * cr);
            green[pixel] = clamped(grey + green_of_u_ * cb + green_of_v_ * cr);
            blue[pixel] = clamped(grey + blue_of_u_ * cb);
        }
        for (int pixel = 0; pixel < pixels; ++pixel, rgb += 3) {
            rgb[0] = red[pixel], rgb[1] = green[pixel], rgb[2] = blue[pixel];
        }
    }
}

}  // namespace samclip
