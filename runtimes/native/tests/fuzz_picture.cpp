// Any picture of an app's, of any format, with any strides: it is read within its bytes, or refused with its line.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "error.hpp"
#include "photo/pixels.hpp"
#include "photo/resize.hpp"

namespace {

struct Plane {
    uint16_t bytes;
    uint32_t row_stride, pixel_stride;
    uint8_t how;
};

// What an input begins with; what follows it are the samples.
struct Head {
    int32_t format, width, height, turn;
    uint8_t choices;
    Plane planes[3];
};

size_t stride_of(uint32_t given, uint8_t how) { return how % 4 == 0 ? 0 : how % 4 == 1 ? given : given % 64; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Head head = {};
    std::memcpy(&head, data, std::min(size, sizeof head));
    data += std::min(size, sizeof head), size -= std::min(size, sizeof head);
    samclip_image image = {};
    std::memcpy(&image.format, &head.format, sizeof image.format);  // any number, as an app in C may write it
    const bool odd = (head.choices & 1) != 0;
    image.width = odd ? head.width : 1 + (head.width & 63), image.height = odd ? head.height : 1 + (head.height & 63);
    image.turn = (head.choices & 2) != 0 ? head.turn : 90 * (head.turn & 3);
    image.mirror = (head.choices & 4) != 0, image.bt709 = (head.choices & 8) != 0, image.full_range = (head.choices & 16) != 0;
    std::vector<uint8_t> held[3];  // each of its very size, so that a sanitizer sees each byte too far
    for (size_t k = 0; k < 3; ++k) {
        const Plane& plane = head.planes[k];
        held[k].assign(plane.bytes % 16384, plane.how);
        std::copy_n(data, std::min(size, held[k].size()), held[k].begin());
        if ((head.choices >> (5 + k) & 1) != 0) continue;
        image.planes[k] = {held[k].data(), held[k].size(), stride_of(plane.row_stride, plane.how),
                           stride_of(plane.pixel_stride, static_cast<uint8_t>(plane.how / 4))};
    }
    try {
        const samclip::Picture picture(image);
        if (picture.copy().bytes.size() != static_cast<size_t>(picture.width()) * static_cast<size_t>(picture.height()) * 3) __builtin_trap();
        std::vector<uint8_t> small(3 * 7 * 5);
        samclip::resize(samclip::rows_of(picture), 5, 7, (head.choices & 8) != 0, small.data());
    } catch (const samclip::InputError&) {
    }
    return 0;
}
