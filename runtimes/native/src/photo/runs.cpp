#include "photo/runs.hpp"

#include <algorithm>
#include <cstring>

#include "error.hpp"

namespace samclip {

namespace {

constexpr int64_t kMost = 4294967295;  // pixels of a mask: COCO's `maskApi.c` counts them in 32 bits
constexpr int kDigits = 13;            // of a compressed run, at most

[[noreturn]] void refuse(const std::string& what) {
    throw InputError("rle: " + what + "; pass the RLE as it was encoded");
}

[[noreturn]] void refuse_text() {
    refuse("is not whole, or no RLE: it needs `size`, [height, width], and `counts`, COCO's compressed string or a "
           "list of whole numbers");
}

// A run as it is stored: the difference from the one two before, which is cut off far beyond what any mask holds.
int64_t stored_run(std::string_view counts, size_t& at) {
    uint64_t value = 0;
    int digits = 0;
    for (bool more = true; more; ++at, ++digits) {
        if (at == counts.size() || digits == kDigits) refuse_text();
        const int digit = static_cast<unsigned char>(counts[at]) - 48;
        if (digit < 0 || digit >= 64) refuse_text();
        if (5 * digits < 64) value |= static_cast<uint64_t>(digit & 0x1F) << (5 * digits);
        more = (digit & 0x20) != 0;
        if (!more && (digit & 0x10) != 0 && 5 * (digits + 1) < 64) value |= ~uint64_t{0} << (5 * (digits + 1));
    }
    return std::clamp(static_cast<int64_t>(value), -4 * kMost, 4 * kMost);
}

// The runs of a compressed string, the first of them background.
std::vector<int64_t> decompressed(std::string_view counts, int height, int width) {
    std::vector<int64_t> runs;
    for (size_t at = 0; at < counts.size();) {
        const int64_t stored = stored_run(counts, at);
        const int64_t run = stored + (runs.size() > 2 ? runs[runs.size() - 2] : 0);
        runs.push_back(std::clamp(run, -4 * kMost, 4 * kMost));
    }
    int64_t total = 0;
    for (const int64_t run : runs) {
        if (run < 0) refuse("one of its runs is below 0");
        total = std::min(total + run, 4 * kMost);
    }
    if (total != static_cast<int64_t>(height) * width) {
        refuse("its runs do not have the " + std::to_string(height) + " x " + std::to_string(width) +
               " pixels of its size");
    }
    return runs;
}

// Where a rule of two masks holds; each edge changes whether its mask is there.
template <typename Rule>
Runs merged(const Runs& one, const Runs& other, Rule rule) {
    Runs result{one.height, one.width, {}};
    size_t i = 0, j = 0;
    bool was = false;
    while (i < one.edges.size() || j < other.edges.size()) {
        const uint32_t first = i < one.edges.size() ? one.edges[i] : UINT32_MAX;
        const uint32_t second = j < other.edges.size() ? other.edges[j] : UINT32_MAX;
        const uint32_t at = std::min(first, second);
        if (i < one.edges.size() && first == at) ++i;
        if (j < other.edges.size() && second == at) ++j;
        const bool is = rule((i & 1) != 0, (j & 1) != 0);
        if (is != was) result.edges.push_back(at);
        was = is;
    }
    return result;
}

}  // namespace

int64_t Runs::area() const {
    int64_t total = 0;
    for (size_t k = 0; k + 1 < edges.size(); k += 2) total += edges[k + 1] - edges[k];
    return total;
}

Box Runs::box() const {
    if (edges.empty()) return {0, 0, 0, 0};
    const auto down = static_cast<uint32_t>(height);
    uint32_t top = down, bottom = 0;
    for (size_t k = 0; k + 1 < edges.size(); k += 2) {
        const uint32_t last = edges[k + 1] - 1;
        if (edges[k] / down != last / down) {  // it goes on at the head of a column
            top = 0, bottom = down;
            break;
        }
        top = std::min(top, edges[k] % down);
        bottom = std::max(bottom, last % down + 1);
    }
    const auto left = edges.front() / down, right = (edges.back() - 1) / down + 1;
    return {static_cast<int>(left), static_cast<int>(top), static_cast<int>(right), static_cast<int>(bottom)};
}

std::string Runs::counts() const {
    std::vector<int64_t> runs;
    uint32_t before = 0;
    for (const uint32_t edge : edges) runs.push_back(edge - before), before = edge;
    const auto rest = static_cast<uint32_t>(static_cast<int64_t>(height) * width) - before;
    if (rest != 0 || runs.empty()) runs.push_back(rest);
    std::string out;
    for (size_t k = 0; k < runs.size(); ++k) {
        int64_t value = runs[k] - (k > 2 ? runs[k - 2] : 0);
        for (bool more = true; more;) {
            const int digit = static_cast<int>(value & 0x1F);
            value >>= 5;
            more = value != ((digit & 0x10) != 0 ? -1 : 0);
            out.push_back(static_cast<char>((more ? digit | 0x20 : digit) + 48));
        }
    }
    return out;
}

void Runs::draw(uint8_t inside, uint8_t* pixels, size_t row_stride) const {
    for (int y = 0; y < height; ++y) {
        std::memset(pixels + static_cast<size_t>(y) * row_stride, 0, static_cast<size_t>(width));
    }
    const auto down = static_cast<uint32_t>(height);
    for (size_t k = 0; k + 1 < edges.size(); k += 2) {
        for (uint32_t at = edges[k]; at < edges[k + 1]; ++at) pixels[at % down * row_stride + at / down] = inside;
    }
}

std::array<int, 2> Runs::middle() const {
    double x = 0, y = 0;
    const auto down = static_cast<uint32_t>(height);
    for (size_t k = 0; k + 1 < edges.size(); k += 2) {
        for (uint32_t from = edges[k]; from < edges[k + 1];) {  // column by column
            const uint32_t to = std::min(edges[k + 1], (from / down + 1) * down);
            const double count = to - from;
            x += count * (from / down);
            y += count * (from % down + (count - 1) / 2);
            from = to;
        }
    }
    const auto total = static_cast<double>(area());
    return {static_cast<int>(x / total), static_cast<int>(y / total)};
}

Runs decoded(std::string_view counts, int height, int width) {
    if (height <= 0 || width <= 0 || static_cast<int64_t>(height) * width > kMost) {
        refuse("its size is not two numbers above 0, of 4294967295 pixels in all at most");
    }
    Runs result{height, width, {}};
    int64_t at = 0;
    const std::vector<int64_t> runs = decompressed(counts, height, width);
    bool inside = false;
    for (const int64_t run : runs) {
        if (inside && run > 0) {
            const bool goes_on = !result.edges.empty() && result.edges.back() == at;  // after a background of nothing
            if (goes_on) result.edges.pop_back();
            else result.edges.push_back(static_cast<uint32_t>(at));
            result.edges.push_back(static_cast<uint32_t>(at + run));
        }
        at += run;
        inside = !inside;
    }
    return result;
}

Runs either(const Runs& one, const Runs& other) {
    return merged(one, other, [](bool a, bool b) { return a || b; });
}

Runs without(const Runs& one, const Runs& other) {
    return merged(one, other, [](bool a, bool b) { return a && !b; });
}

std::array<int, 4> square_around(const Runs& mask) {
    const Box box = mask.box();
    const int side = std::max({box[2] - box[0], box[3] - box[1], 1});
    const auto moved = [side](int low, int high, int whole) {
        const int middle = low + high - side;  // twice as far, rounded down
        const int start = middle >= 0 ? middle / 2 : -((1 - middle) / 2);
        return std::min(std::max(start, 0), std::max(whole - side, 0));
    };
    const int left = moved(box[0], box[2], mask.width), top = moved(box[1], box[3], mask.height);
    return {top, left, std::min(side, mask.height - top), std::min(side, mask.width - left)};
}

}  // namespace samclip
