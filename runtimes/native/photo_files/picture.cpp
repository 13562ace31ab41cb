#include "picture.hpp"

#include <png.h>

#include <algorithm>
#include <filesystem>

namespace {

using Colour = std::array<double, 3>;

// Of the k-th mask, from red to blue as far apart as eight can be.
const std::array<Colour, 8> kColours = {{{231, 43, 43},
                                         {38, 166, 91},
                                         {65, 105, 225},
                                         {245, 171, 53},
                                         {155, 72, 200},
                                         {27, 188, 188},
                                         {222, 82, 160},
                                         {160, 180, 40}}};

// The photo (height,width,3) as a person sees it.
std::vector<uint8_t> upright(const Photo& photo, size_t width, size_t height) {
    const samclip_edge::Image image = photo.image();
    const auto wide = static_cast<size_t>(photo.width), high = static_cast<size_t>(photo.height);
    const size_t channels = photo.format == SAMCLIP_GREY ? 1 : 3;
    std::vector<uint8_t> made;
    made.reserve(3 * width * height);
    for (size_t y = 0; y < height; ++y) {
        for (size_t x = 0; x < width; ++x) {
            const size_t across = image.mirror != 0 ? width - 1 - x : x;
            size_t from = y * wide + across;
            if (image.turn == 90) from = (high - 1 - across) * wide + y;
            if (image.turn == 180) from = (high - 1 - y) * wide + wide - 1 - across;
            if (image.turn == 270) from = across * wide + wide - 1 - y;
            for (size_t c = 0; c < 3; ++c) made.push_back(photo.pixels[from * channels + std::min(c, channels - 1)]);
        }
    }
    return made;
}

// Blend a colour into a mask (height,width): half into its inside, all of it, lightened, into its edge of a few pixels.
void paint(std::vector<uint8_t>& picture, const std::vector<uint8_t>& mask, size_t width, size_t height,
           const Colour& ink) {
    const size_t thick = std::max<size_t>(std::max(width, height) / 700, 1);
    for (size_t y = 0; y < height; ++y) {
        for (size_t x = 0; x < width; ++x) {
            if (mask[y * width + x] == 0) continue;
            const size_t left = x - std::min(x, thick), right = std::min(x + thick, width - 1);
            const size_t above = y - std::min(y, thick), below = std::min(y + thick, height - 1);
            const bool edge = (mask[y * width + left] & mask[y * width + right] & mask[above * width + x] &
                               mask[below * width + x]) == 0;
            for (size_t c = 0; c < 3; ++c) {
                uint8_t& pixel = picture[(y * width + x) * 3 + c];
                pixel = static_cast<uint8_t>(edge ? (ink[c] + 2 * 255) / 3 : (pixel + ink[c]) / 2);
            }
        }
    }
}

}  // namespace

void check_picture(const std::string& path, const std::string& photo) {
    const std::filesystem::path file(path);
    std::error_code none;
    if (file.extension() != ".png") throw BadInput("-o " + path + ": not a picture's name; end it in .png");
    if (std::filesystem::equivalent(file, photo, none)) {
        throw BadInput("-o " + path + ": is the photo itself; name another file");
    }
    const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
    if (std::filesystem::is_directory(file, none) || !std::filesystem::is_directory(folder, none)) {
        throw BadInput("-o " + path + ": cannot be written; name a file in a folder that exists");
    }
}

void write_picture(const std::string& path, const Photo& photo, const samclip_edge::Masks& masks) {
    const bool lies = photo.image().turn % 180 != 0;
    const auto width = static_cast<size_t>(lies ? photo.height : photo.width);
    const auto height = static_cast<size_t>(lies ? photo.width : photo.height);
    std::vector<uint8_t> picture = upright(photo, width, height), inside(width * height);
    std::vector<size_t> order(masks.size());
    for (size_t k = 0; k < order.size(); ++k) order[k] = k;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return masks[a].area > masks[b].area; });
    for (const size_t k : order) {
        masks[k].draw(inside.data());
        paint(picture, inside, width, height, kColours[k % kColours.size()]);
    }
    png_image file = {};
    file.version = PNG_IMAGE_VERSION;
    file.format = PNG_FORMAT_RGB;
    file.width = static_cast<png_uint_32>(width), file.height = static_cast<png_uint_32>(height);
    if (png_image_write_to_file(&file, path.c_str(), 0, picture.data(), 0, nullptr) == 0) {
        throw BadInput("-o " + path + ": cannot be written (" + file.message + ")");
    }
}
