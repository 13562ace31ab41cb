#include "bundle/sizes.hpp"

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <tuple>

namespace samclip {
namespace {

// A side: one to six digits.
std::optional<int> side_of(const std::string& digits) {
    if (digits.empty() || digits.size() > 6 || digits.find_first_not_of("0123456789") != digits.npos) return {};
    return std::stoi(digits);
}

}  // namespace

bool Size::operator<(const Size& other) const {
    const auto order = [](const Size& size) {
        return std::make_tuple(int64_t{size.height} * size.width, size.height, size.width);
    };
    return order(*this) < order(other);
}

std::string Size::text() const {
    const std::string first = std::to_string(width);
    return height == width ? first : first + "x" + std::to_string(height);
}

Size size_of(const std::string& text) {
    const size_t cross = text.find('x');
    const auto width = side_of(text.substr(0, cross));
    const auto height = cross == text.npos ? width : side_of(text.substr(cross + 1));
    if (!width || !height) throw std::invalid_argument(text + " is neither a number nor WxH, such as 1024x576");
    if (*width <= 0 || *width % kPatch || *height <= 0 || *height % kPatch) {
        throw std::invalid_argument("size " + text + " is not a positive multiple of " + std::to_string(kPatch));
    }
    return {*height, *width};
}

}  // namespace samclip
