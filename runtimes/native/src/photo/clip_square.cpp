#include "photo/clip_square.hpp"

#include <algorithm>
#include <cmath>

namespace samclip {

void clip_square(const Rows& photo, const ClipVision& vision, float* out) {
    const int size = vision.size;
    int height = size, width = size;
    if (vision.resize == ClipVision::Resize::longest) {
        const double longer = std::max(photo.height, photo.width);
        height = std::max(static_cast<int>(std::nearbyint(static_cast<double>(photo.height) * size / longer)), 1);
        width = std::max(static_cast<int>(std::nearbyint(static_cast<double>(photo.width) * size / longer)), 1);
    } else if (vision.resize == ClipVision::Resize::shortest) {
        const auto longer = [size](int one, int other) {
            return static_cast<int>(static_cast<double>(size) * one / other);
        };
        if (photo.height < photo.width) width = longer(photo.width, photo.height);
        else height = longer(photo.height, photo.width);
    }
    std::vector<uint8_t> resized(static_cast<size_t>(height) * static_cast<size_t>(width) * 3);
    resize(photo, height, width, vision.bicubic, resized.data());
    // Where the square's top left is in what was resized; below 0 where that lies in the middle of black. Python rounds
    // halves to even.
    const bool padded = vision.resize == ClipVision::Resize::longest;
    const int top = padded ? -((size - height) / 2) : static_cast<int>(std::nearbyint((height - size) / 2.0));
    const int left = padded ? -((size - width) / 2) : static_cast<int>(std::nearbyint((width - size) / 2.0));
    const size_t plane = static_cast<size_t>(size) * static_cast<size_t>(size);
    std::fill_n(out, 3 * plane, 0.0f);
    for (int y = 0; y < size; ++y) {
        for (int x = 0; x < size; ++x) {
            if (top + y < 0 || top + y >= height || left + x < 0 || left + x >= width) continue;
            const size_t from =
                (static_cast<size_t>(top + y) * static_cast<size_t>(width) + static_cast<size_t>(left + x)) * 3;
            const size_t to = static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(x);
            for (size_t channel = 0; channel < 3; ++channel) out[channel * plane + to] = resized[from + channel];
        }
    }
}

}  // namespace samclip
