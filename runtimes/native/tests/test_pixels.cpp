// Pictures in memory, and how they are resized, by hand on pictures of a few pixels.
#include <doctest/doctest.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "error.hpp"
#include "photo/resize.hpp"

using namespace samclip;
using Bytes = std::vector<uint8_t>;

namespace {

// The red values of a picture, whose pixels are grey, row by row.
std::string greys(const Rgb& rgb) {
    std::string text;
    for (size_t at = 0; at < rgb.bytes.size(); at += 3) {
        CHECK(rgb.bytes[at] == rgb.bytes[at + 1]);
        CHECK(rgb.bytes[at] == rgb.bytes[at + 2]);
        if (at > 0 && at % (3 * static_cast<size_t>(rgb.width)) == 0) text += '/';
        text += static_cast<char>(rgb.bytes[at]);
    }
    return text;
}

// The line of the InputError that a picture meets.
std::string refused(const samclip_image& image) {
    try {
        const Picture picture(image);
    } catch (const InputError& error) {
        return error.what();
    }
    return "taken";
}

Bytes pixels_of(const samclip_image& image) { return Picture(image).copy().bytes; }

Bytes resized(const Bytes& pixels, int height, int width, int to_height, int to_width, bool bicubic) {
    const Rgb rgb{height, width, pixels};
    Bytes out(3 * static_cast<size_t>(to_height) * static_cast<size_t>(to_width));
    resize(rows_of(rgb, {0, 0, height, width}), to_height, to_width, bicubic, out.data());
    return out;
}

// The red values of a row of grey pixels, resized.
Bytes resized_row(const Bytes& row, int to_width, bool bicubic) {
    Bytes pixels, reds;
    for (const uint8_t value : row) pixels.insert(pixels.end(), 3, value);
    const Bytes out = resized(pixels, 1, static_cast<int>(row.size()), 1, to_width, bicubic);
    for (size_t at = 0; at < out.size(); at += 3) reds.push_back(out[at]);
    return reds;
}

}  // namespace

TEST_CASE("the eight ways to turn and mirror a picture") {
    const Bytes pixels = {'a', 'b', 'c', 'd', 'e', 'f'};
    auto image = samclip_packed(SAMCLIP_GREY, pixels.data(), 3, 2);
    const auto seen = [&](int turn, int mirror) {
        image.turn = turn, image.mirror = mirror;
        return greys(Picture(image).copy());
    };
    CHECK(seen(0, 0) == "abc/def");
    CHECK(seen(90, 0) == "da/eb/fc");
    CHECK(seen(180, 0) == "fed/cba");
    CHECK(seen(270, 0) == "cf/be/ad");
    CHECK(seen(0, 1) == "cba/fed");
    CHECK(seen(90, 1) == "ad/be/cf");
    CHECK(seen(180, 1) == "def/abc");
    CHECK(seen(270, 1) == "fc/eb/da");
}

TEST_CASE("rows of a region are those of the upright picture, in tiles too") {
    Bytes pixels(70 * 80);  // larger than a tile each way
    for (size_t at = 0; at < pixels.size(); ++at) pixels[at] = static_cast<uint8_t>(at * 37 % 251);
    auto image = samclip_packed(SAMCLIP_GREY, pixels.data(), 70, 80);
    for (const int turn : {0, 90, 180, 270}) {
        image.turn = turn;
        const Picture picture(image);
        const Rgb whole = picture.copy();
        const Region region{3, 5, picture.height() - 7, picture.width() - 11};
        Bytes part(3 * static_cast<size_t>(40 * region.width));
        picture.rows(region, 2, 40, part.data());
        for (int y = 0; y < 40; ++y) {
            for (int x = 0; x < region.width; ++x) {
                const auto here = static_cast<size_t>(y * region.width + x);
                const auto there = static_cast<size_t>((y + 2 + 3) * whole.width + x + 5);
                REQUIRE(part[3 * here] == whole.bytes[3 * there]);
            }
        }
        CHECK_THROWS_AS(picture.rows(region, 30, region.height - 29, part.data()), std::out_of_range);
        CHECK_THROWS_AS(picture.rows({0, 1, 1, picture.width()}, 0, 1, part.data()), std::out_of_range);
        CHECK_THROWS_AS(picture.rows({0, INT_MAX, 1, INT_MAX}, 0, 1, part.data()), std::out_of_range);
    }
}

TEST_CASE("formats of one plane, with and without gaps between rows") {
    const Bytes bytes = {1, 2, 3, 4, 5, 6, 7, 8};
    CHECK(pixels_of(samclip_packed(SAMCLIP_RGB, bytes.data(), 2, 1)) == Bytes{1, 2, 3, 4, 5, 6});
    CHECK(pixels_of(samclip_packed(SAMCLIP_BGR, bytes.data(), 2, 1)) == Bytes{3, 2, 1, 6, 5, 4});
    CHECK(pixels_of(samclip_packed(SAMCLIP_RGBA, bytes.data(), 2, 1)) == Bytes{1, 2, 3, 5, 6, 7});
    CHECK(pixels_of(samclip_packed(SAMCLIP_BGRA, bytes.data(), 2, 1)) == Bytes{3, 2, 1, 7, 6, 5});
    CHECK(pixels_of(samclip_packed(SAMCLIP_GREY, bytes.data(), 2, 1)) == Bytes{1, 1, 1, 2, 2, 2});

    auto image = samclip_packed(SAMCLIP_RGB, bytes.data(), 1, 2);
    image.planes[0].row_stride = 5;
    image.planes[0].bytes = 8;  // the last row need not have its gap
    CHECK(pixels_of(image) == Bytes{1, 2, 3, 6, 7, 8});
    image.planes[0].bytes = 7;
    CHECK(refused(image) == "photo: plane 0 has 7 bytes where 1x2 RGB with its strides needs 8; pass the whole plane");
}

TEST_CASE("YUV becomes RGB by its matrix and its range") {
    // ITU-R BT.601: full range red is 0.299 * 255 = 76.2, -0.1687 * 255 + 128 = 85.0, 0.5 * 255 + 128 = 255.5.
    const auto one = [](Bytes yuv, int bt709, int full_range) {
        auto image = samclip_packed(SAMCLIP_I420, yuv.data(), 1, 1);
        image.bt709 = bt709, image.full_range = full_range;
        return pixels_of(image);
    };
    CHECK(one({76, 85, 255}, 0, 1) == Bytes{254, 0, 0});   // 76 + 1.402 * 127 = 254.05
    CHECK(one({81, 90, 240}, 0, 0) == Bytes{254, 0, 0});   // 1.1644 * 65 + 1.5960 * 112 = 254.4
    CHECK(one({63, 102, 240}, 1, 0) == Bytes{255, 1, 0});  // BT.709's red, of which G = 54.73 + 5.55 - 59.69 = 0.6
    CHECK(one({16, 128, 128}, 0, 0) == Bytes{0, 0, 0});
    CHECK(one({235, 128, 128}, 1, 0) == Bytes{255, 255, 255});
    CHECK(one({0, 128, 128}, 0, 0) == Bytes{0, 0, 0});  // below black
    CHECK(one({200, 128, 128}, 0, 1) == Bytes{200, 200, 200});
}

TEST_CASE("chroma is shared by two columns and two rows, the last of which may stand alone") {
    const Bytes y(9, 100), u = {128, 128, 128, 128}, v = {128, 138, 148, 158};  // 3x3
    const auto reds = [](const samclip_image& image) {
        const Bytes rgb = pixels_of(image);
        std::vector<int> found;
        for (size_t at = 0; at < rgb.size(); at += 3) found.push_back(rgb[at]);
        return found;
    };
    const std::vector<int> expected = {100, 100, 114, 100, 100, 114, 128, 128, 142};  // 100 + 1.402 * (V - 128)

    Bytes i420 = y, nv12 = y, nv21 = y;
    i420.insert(i420.end(), u.begin(), u.end());
    i420.insert(i420.end(), v.begin(), v.end());
    for (size_t at = 0; at < 4; ++at) {
        nv12.insert(nv12.end(), {u[at], v[at]});
        nv21.insert(nv21.end(), {v[at], u[at]});
    }
    const std::pair<samclip_format, Bytes*> whole[] = {
        {SAMCLIP_I420, &i420}, {SAMCLIP_PLANES, &i420}, {SAMCLIP_NV12, &nv12}, {SAMCLIP_NV21, &nv21}};
    for (const auto& [format, bytes] : whole) {
        auto image = samclip_packed(format, bytes->data(), 3, 3);
        image.full_range = 1;
        CHECK(image.planes[0].bytes == bytes->size());
        CHECK(reds(image) == expected);
    }

    // Android's YUV_420_888 over NV21: both planes begin in the same memory, and the last U has no byte behind it.
    samclip_image planes = {};
    planes.format = SAMCLIP_PLANES, planes.width = planes.height = 3, planes.full_range = 1;
    planes.planes[0] = {nv21.data(), 9, 3, 1};
    planes.planes[1] = {nv21.data() + 10, 7, 4, 2};
    planes.planes[2] = {nv21.data() + 9, 7, 4, 2};
    CHECK(reds(planes) == expected);
    planes.planes[1].bytes = 6;
    CHECK(refused(planes) ==
          "photo: plane 1 has 6 bytes where 3x3 YUV planes with its strides needs 7; pass the whole plane");

    const Bytes yuyv = {100, 128, 110, 138, 120, 128, 0, 148};  // 3x1: the fourth Y is of no pixel
    auto row = samclip_packed(SAMCLIP_YUYV, yuyv.data(), 3, 1);
    row.full_range = 1;
    CHECK(reds(row) == std::vector<int>{114, 124, 148});
}

TEST_CASE("what is no picture is refused") {
    const Bytes bytes(640 * 480 * 3 / 2);
    const auto good = samclip_packed(SAMCLIP_NV12, bytes.data(), 640, 480);
    CHECK(refused(good) == "taken");
    auto bad = good;
    bad.width = 0;
    CHECK(refused(bad) == "photo: has 0x480 pixels; pass sides above 0");
    bad = good, bad.height = INT_MIN;
    CHECK(refused(bad) == "photo: has 640x-2147483648 pixels; pass sides above 0");
    bad = good, bad.width = bad.height = INT_MAX;
    CHECK(refused(bad) == "photo: is 2147483647x2147483647, 4611686014132420609 pixels, where 178956970 are the most; "
                          "make it smaller");
    bad = good, bad.turn = 45;
    CHECK(refused(bad) == "photo: has a turn of 45; pass 0, 90, 180 or 270");
    bad = good, bad.format = SAMCLIP_PLANES;
    for (const int format : {-1, 10, INT_MAX}) {
        std::memcpy(&bad.format, &format, sizeof format);
        CHECK(refused(bad) == "photo: has the format " + std::to_string(format) + "; pass one of samclip_format");
    }
    bad = good, bad.planes[0].data = nullptr;
    CHECK(refused(bad) == "photo: plane 0 has no data; pass each plane of NV12");
    bad = good, bad.format = SAMCLIP_I420, bad.planes[1] = {bytes.data(), 76800, 0, 0};
    CHECK(refused(bad) == "photo: plane 2 has no data; pass each plane of I420");
    bad = good, bad.planes[0].bytes = 460799;
    CHECK(refused(bad) ==
          "photo: plane 0 has 460799 bytes where 640x480 NV12 with its strides needs 460800; pass the whole plane");
    bad = good, bad.planes[1] = {bytes.data(), 100, 0, 0};
    CHECK(refused(bad) ==
          "photo: plane 1 has 100 bytes where 640x480 NV12 with its strides needs 153600; pass the whole plane");
    bad = good, bad.planes[0].row_stride = 704;
    CHECK(refused(bad) == "photo: plane 0 has gaps where plane 0 alone is given; pass each plane of NV12");
}

TEST_CASE("strides that are none are refused, and none overflows") {
    const Bytes bytes(64);
    auto image = samclip_packed(SAMCLIP_RGB, bytes.data(), 4, 4);
    image.planes[0].row_stride = 11;
    CHECK(refused(image) == "photo: plane 0 has a row stride of 11 bytes where it has 12 or more; pass the bytes from "
                            "a row to the next");
    for (const size_t stride : {SIZE_MAX, SIZE_MAX / 2 + 1, static_cast<size_t>(INT_MAX) + 1}) {
        image.planes[0].row_stride = stride;
        CHECK(refused(image).find("photo: plane 0 has a row stride of ") == 0);
    }
    image.planes[0].row_stride = INT_MAX;
    CHECK(refused(image).find("needs 6442450953; ") != std::string::npos);  // 3 * (2^31 - 1) + 12
    image = samclip_packed(SAMCLIP_PLANES, bytes.data(), 4, 4);
    image.planes[1] = image.planes[2] = image.planes[0];
    image.planes[2].pixel_stride = SIZE_MAX;
    CHECK(refused(image).find("photo: plane 2 has a pixel stride of ") == 0);
    image.planes[2].pixel_stride = INT_MAX;
    CHECK(refused(image).find("needs ") == std::string::npos);  // a row's own bytes are too many for a stride
}

TEST_CASE("taps are Pillow's") {
    const Taps half = taps(4, 2, Filter::bilinear);  // a triangle of 4 pixels' width over each pair
    CHECK(half.first == std::vector<int>{0, 1});
    CHECK(half.weights[0] == std::vector<double>{0.75 / 1.75, 0.75 / 1.75, 0.25 / 1.75});
    CHECK(half.weights[1] == std::vector<double>{0.25 / 1.75, 0.75 / 1.75, 0.75 / 1.75});
    CHECK(taps(2, 4, Filter::bilinear).weights[1] == std::vector<double>{0.75, 0.25});
    // The pixel in which two cells meet belongs to the left one: -0.5 < x <= 0.5.
    const Taps thirds = taps(3, 2, Filter::box);
    CHECK(thirds.first == std::vector<int>{0, 2});
    CHECK(thirds.weights[0] == std::vector<double>{0.5, 0.5});
    CHECK(thirds.weights[1] == std::vector<double>{1});
    const Taps cubic = taps(2, 1, Filter::bicubic);  // both pixels lie 0.25 from the middle, by the filter's measure
    CHECK(cubic.weights[0] == std::vector<double>{0.5, 0.5});
    CHECK(taps(3, 3, Filter::bicubic).weights[1] == std::vector<double>{0, 1, 0});
}

TEST_CASE("resizing by hand") {
    CHECK(resized_row({10, 21}, 1, false) == Bytes{16});  // 15.5
    CHECK(resized_row({0, 100}, 4, false) == Bytes{0, 25, 75, 100});
    CHECK(resized_row({0, 0, 255, 255}, 8, true).at(5) == 255);  // an overshoot is cut off
    CHECK(resized_row({7}, 3, true) == Bytes{7, 7, 7});
    // The columns first, rounded to 8 bits: (0, 1) is 0.5 and becomes 1, whose mean with 0 becomes 1 again.
    const Bytes square = {0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    CHECK(resized(square, 2, 2, 1, 1, false) == Bytes{1, 1, 1});
}

TEST_CASE("each row that is needed is read once, from top to bottom") {
    for (const int height : {1, 7, 50, 100, 300}) {
        std::vector<int> read;
        const Rows source{100, 3, [&](int top, int count, uint8_t* rgb) {
                              for (int row = 0; row < count; ++row) read.push_back(top + row);
                              std::fill(rgb, rgb + 9 * count, uint8_t{42});
                          }};
        Bytes out(static_cast<size_t>(6 * height));
        resize(source, height, 2, true, out.data());
        std::vector<int> all(100);
        std::iota(all.begin(), all.end(), 0);
        CHECK(read == all);
        CHECK(out == Bytes(out.size(), 42));
    }
}
