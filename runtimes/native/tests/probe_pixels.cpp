// Answers test_pixels.py. On stdin, question after question, each a line of words, before the bytes of its planes:
//     picture FORMAT WIDTH HEIGHT BT709 FULL_RANGE TURN MIRROR, three times: BYTES ROW_STRIDE PIXEL_STRIDE,
//         TOP LEFT HEIGHT WIDTH of a region, HEIGHT WIDTH to resize it to, BICUBIC
//     taps OLD NEW FILTER
// On stdout: for a picture the bytes of the resized region; for taps each weight of a matrix (OLD,NEW), as a double.
#include <cstdio>
#include <iostream>
#include <string>

#include "photo/resize.hpp"

using namespace samclip;

namespace {

template <typename Value>
void write(const std::vector<Value>& values) {
    std::fwrite(values.data(), sizeof(Value), values.size(), stdout);
}

void answer_picture() {
    samclip_image image = {};
    int format, height, width, bicubic;
    Region region;
    std::vector<uint8_t> bytes[3];  // no more than a plane's own, so that a sanitizer sees what is read beside them
    std::cin >> format >> image.width >> image.height >> image.bt709 >> image.full_range >> image.turn >> image.mirror;
    image.format = static_cast<samclip_format>(format);
    for (samclip_plane& plane : image.planes) std::cin >> plane.bytes >> plane.row_stride >> plane.pixel_stride;
    std::cin >> region.top >> region.left >> region.height >> region.width >> height >> width >> bicubic;
    std::cin.get();  // the end of the line
    for (int index = 0; index < 3; ++index) {
        samclip_plane& plane = image.planes[index];
        bytes[index].resize(plane.bytes);
        std::cin.read(reinterpret_cast<char*>(bytes[index].data()), static_cast<std::streamsize>(plane.bytes));
        plane.data = plane.bytes > 0 ? bytes[index].data() : nullptr;
    }
    const Picture picture(image);
    std::vector<uint8_t> out(3 * static_cast<size_t>(height) * static_cast<size_t>(width));
    resize(rows_of(picture, region), height, width, bicubic != 0, out.data());
    write(out);
}

void answer_taps() {
    int old_side, new_side, filter;
    std::cin >> old_side >> new_side >> filter;
    const Taps found = taps(old_side, new_side, static_cast<Filter>(filter));
    std::vector<double> matrix(static_cast<size_t>(old_side) * static_cast<size_t>(new_side));
    for (size_t cell = 0; cell < found.first.size(); ++cell) {
        auto row = static_cast<size_t>(found.first[cell]);
        for (const double weight : found.weights[cell]) matrix[row++ * found.first.size() + cell] = weight;
    }
    write(matrix);
}

}  // namespace

int main() {
    std::ios::sync_with_stdio(false);
    for (std::string question; std::cin >> question;) question == "taps" ? answer_taps() : answer_picture();
}
