#include "photo/pixels.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <string>

#include "error.hpp"

namespace samclip {
namespace {

constexpr int64_t kMaxPixels = 178956970;  // samclip_edge/photo/read.py: MAX_PIXELS
constexpr int kTile = 32;                  // pixels of the side of a tile, by which a picture is turned

// Where the samples of a format lie in its planes.
struct Format {
    const char* name;
    size_t planes;
    uint8_t bytes[3];  // of a pixel of each plane; of YUYV, of two
    struct {
        uint8_t plane, offset;
    } samples[3];  // R, G, B or Y, U, V
};

// In the order of samclip_format.
// clang-format off
constexpr Format kFormats[] = {
    {"RGB", 1, {3}, {{0, 0}, {0, 1}, {0, 2}}},
    {"BGR", 1, {3}, {{0, 2}, {0, 1}, {0, 0}}},
    {"RGBA", 1, {4}, {{0, 0}, {0, 1}, {0, 2}}},
    {"BGRA", 1, {4}, {{0, 2}, {0, 1}, {0, 0}}},
    {"grey", 1, {1}, {{0, 0}, {0, 0}, {0, 0}}},
    {"NV12", 2, {1, 2}, {{0, 0}, {1, 0}, {1, 1}}},
    {"NV21", 2, {1, 2}, {{0, 0}, {1, 1}, {1, 0}}},
    {"I420", 3, {1, 1, 1}, {{0, 0}, {1, 0}, {2, 0}}},
    {"YUYV", 1, {4}, {{0, 0}, {0, 1}, {0, 3}}},
    {"YUV planes", 3, {1, 1, 1}, {{0, 0}, {1, 0}, {2, 0}}},
};
// clang-format on

using Planes = std::array<samclip_plane, 3>;

// Bytes as numbers that do not overflow: sides are below 2^28, strides below 2^31.
struct Sides {
    uint64_t columns, rows;
};

Sides sides_of(const samclip_image& image, size_t plane) {
    const uint64_t width = static_cast<uint64_t>(image.width), height = static_cast<uint64_t>(image.height);
    if (plane > 0) return {(width + 1) / 2, (height + 1) / 2};
    return {image.format == SAMCLIP_YUYV ? (width + 1) / 2 : width, height};
}

std::string size_of(const samclip_image& image) {
    return std::to_string(image.width) + "x" + std::to_string(image.height);
}

[[noreturn]] void refuse_stride(size_t plane, const char* what, size_t stride, uint64_t least) {
    throw InputError("photo: plane " + std::to_string(plane) + " has a " + what + " stride of " +
                     std::to_string(stride) + " bytes where it has " + std::to_string(least) +
                     " or more; pass the bytes from a " + what + " to the next");
}

// Put the strides of a plane that are 0 to what they stand for. Throws InputError for what is no stride of it.
void set_strides(const samclip_image& image, const Format& format, size_t index, samclip_plane& plane) {
    const size_t pixel = format.bytes[index];
    if (image.format != SAMCLIP_PLANES || plane.pixel_stride == 0) plane.pixel_stride = pixel;
    if (plane.pixel_stride > INT_MAX) refuse_stride(index, "pixel", plane.pixel_stride, pixel);
    const uint64_t row = (sides_of(image, index).columns - 1) * plane.pixel_stride + pixel;
    if (plane.row_stride == 0) plane.row_stride = static_cast<size_t>(row);
    if (plane.row_stride < row || plane.row_stride > INT_MAX) refuse_stride(index, "row", plane.row_stride, row);
}

void check_bytes(const samclip_image& image, const Format& format, size_t plane, size_t bytes, uint64_t needed) {
    if (bytes >= needed) return;
    throw InputError("photo: plane " + std::to_string(plane) + " has " + std::to_string(bytes) + " bytes where " +
                     size_of(image) + " " + format.name + " with its strides needs " + std::to_string(needed) +
                     "; pass the whole plane");
}

// The planes of a format, of which plane 0 alone is given: the others lie behind it.
Planes split(const samclip_image& image, const Format& format) {
    Planes planes = {image.planes[0]};
    uint64_t needed = 0, bytes[3] = {};
    for (size_t index = 0; index < format.planes; ++index) {
        const Sides sides = sides_of(image, index);
        const uint64_t row = sides.columns * format.bytes[index];
        const samclip_plane& given = image.planes[index];
        if ((given.row_stride != 0 && given.row_stride != row) || given.pixel_stride > format.bytes[index]) {
            throw InputError("photo: plane " + std::to_string(index) +
                             " has gaps where plane 0 alone is given; pass each plane of " + format.name);
        }
        bytes[index] = row * sides.rows;
        needed += bytes[index];
    }
    check_bytes(image, format, 0, planes[0].bytes, needed);
    for (size_t index = 0; index < format.planes; ++index) {
        if (index > 0) planes[index].data = planes[index - 1].data + bytes[index - 1];
        planes[index].bytes = static_cast<size_t>(bytes[index]);
    }
    return planes;
}

// Every plane with its data, its strides and enough bytes.
Planes planes_of(const samclip_image& image, const Format& format) {
    Planes planes = {image.planes[0], image.planes[1], image.planes[2]};
    if (planes[0].data && !planes[1].data && !planes[2].data && format.planes > 1) planes = split(image, format);
    for (size_t index = 0; index < format.planes; ++index) {
        samclip_plane& plane = planes[index];
        if (!plane.data) {
            throw InputError("photo: plane " + std::to_string(index) + " has no data; pass each plane of " +
                             format.name);
        }
        set_strides(image, format, index, plane);
        const Sides sides = sides_of(image, index);
        check_bytes(
            image, format, index, plane.bytes,
            (sides.rows - 1) * plane.row_stride + (sides.columns - 1) * plane.pixel_stride + format.bytes[index]);
    }
    return planes;
}

// Throws InputError where a picture is none, whatever its planes.
void check(const samclip_image& image) {
    int format;  // an enum of C may hold any number, which C++ may not look at as an enum
    std::memcpy(&format, &image.format, sizeof format);
    if (format < 0 || format > SAMCLIP_PLANES) {
        throw InputError("photo: has the format " + std::to_string(format) + "; pass one of samclip_format");
    }
    if (image.width <= 0 || image.height <= 0) {
        throw InputError("photo: has " + size_of(image) + " pixels; pass sides above 0");
    }
    const int64_t pixels = static_cast<int64_t>(image.width) * image.height;
    if (pixels > kMaxPixels) {
        throw InputError("photo: is " + size_of(image) + ", " + std::to_string(pixels) + " pixels, where " +
                         std::to_string(kMaxPixels) + " are the most; make it smaller");
    }
    if (image.turn != 0 && image.turn != 90 && image.turn != 180 && image.turn != 270) {
        throw InputError("photo: has a turn of " + std::to_string(image.turn) + "; pass 0, 90, 180 or 270");
    }
}

// Exchange left and right.
void reverse(uint8_t* rgb, int width) {
    uint8_t* last = rgb + 3 * static_cast<size_t>(width - 1);
    for (; rgb < last; rgb += 3, last -= 3) std::swap_ranges(rgb, rgb + 3, last);
}

}  // namespace

Picture::Picture(const samclip_image& image) : image_(image) {
    check(image);
    const Format& format = kFormats[image.format];
    const Planes planes = planes_of(image, format);
    for (int index = 0; index < 3; ++index) {
        const auto& sample = format.samples[index];
        const samclip_plane& plane = planes[sample.plane];
        channels_[index] = {plane.data + sample.offset, plane.row_stride, plane.pixel_stride, sample.plane > 0 ? 2 : 1};
    }
    if (image.format == SAMCLIP_YUYV) channels_[0].pixel_stride = 2;
    if (image.format >= SAMCLIP_NV12) yuv_.emplace(image.bt709 != 0, image.full_range != 0);

    const bool mirror = image.mirror != 0;
    sideways_ = image.turn == 90 || image.turn == 270;
    height_ = sideways_ ? image.width : image.height;
    width_ = sideways_ ? image.height : image.width;
    from_right_ = sideways_ ? image.turn == 270 : (image.turn == 180) != mirror;
    from_bottom_ = sideways_ ? (image.turn == 90) != mirror : image.turn == 180;
}

void Picture::source_row(int y, int x, int count, uint8_t* rgb) const {
    const auto samples = [&](const Channel& channel) {
        return Samples{channel.first + static_cast<size_t>(y / channel.rows) * channel.row_stride,
                       channel.pixel_stride};
    };
    const Samples first = samples(channels_[0]), second = samples(channels_[1]), third = samples(channels_[2]);
    if (yuv_) yuv_->row(first, second, third, x, count, rgb);
    else rgb_row(first, second, third, x, count, rgb);
}

void Picture::rows_from_columns(int top, int count, int left, int width, uint8_t* rgb) const {
    uint8_t tile[kTile][3 * kTile];  // a row of the memory in each row
    const int x = from_right_ ? image_.width - top - count : top;
    for (int start = 0; start < width; start += kTile) {
        const int columns = std::min(kTile, width - start);
        for (int column = 0; column < columns; ++column) {
            const int y = left + start + column;
            source_row(from_bottom_ ? image_.height - 1 - y : y, x, count, tile[column]);
        }
        for (int row = 0; row < count; ++row) {
            const int pixel = 3 * (from_right_ ? count - 1 - row : row);
            const size_t first = static_cast<size_t>(row) * static_cast<size_t>(width) + static_cast<size_t>(start);
            uint8_t* out = rgb + 3 * first;
            for (int column = 0; column < columns; ++column, out += 3) std::memcpy(out, tile[column] + pixel, 3);
        }
    }
}

void Picture::rows(const Region& region, int top, int count, uint8_t* rgb) const {
    const bool inside = region.top >= 0 && region.left >= 0 && region.height >= 0 && region.width > 0 &&
                        region.top <= height_ - region.height && region.left <= width_ - region.width && top >= 0 &&
                        count >= 0 && top <= region.height - count;
    if (!inside) throw std::out_of_range("rows outside of the photo");
    const size_t row_bytes = 3 * static_cast<size_t>(region.width);
    const int step = sideways_ ? kTile : 1;
    for (int row = 0; row < count; row += step) {
        const int y = region.top + top + row;
        uint8_t* out = rgb + static_cast<size_t>(row) * row_bytes;
        if (sideways_) {
            rows_from_columns(y, std::min(kTile, count - row), region.left, region.width, out);
            continue;
        }
        const int x = from_right_ ? image_.width - region.left - region.width : region.left;
        source_row(from_bottom_ ? image_.height - 1 - y : y, x, region.width, out);
        if (from_right_) reverse(out, region.width);
    }
}

Rgb Picture::copy() const {
    Rgb rgb{height_, width_, std::vector<uint8_t>(3 * static_cast<size_t>(height_) * static_cast<size_t>(width_))};
    rows({0, 0, height_, width_}, 0, height_, rgb.bytes.data());
    return rgb;
}

}  // namespace samclip
