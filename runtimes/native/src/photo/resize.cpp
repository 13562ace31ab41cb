#include "photo/resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace samclip {
namespace {

constexpr int kPrecision = 22;  // bits of a weight: with a sample's 8, a sign and room for overshoot they fill 32
constexpr uint32_t kHalf = 1u << (kPrecision - 1);  // rounds a sum
constexpr int kBlock = 32;                          // rows that are read at once

double weight_at(Filter filter, double x) {
    if (filter == Filter::box) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    x = std::abs(x);
    if (filter == Filter::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
    constexpr double a = -0.5;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

// Taps whose weights are whole numbers, times 2^22: Pillow's `normalize_coeffs_8bpc`.
struct WholeTaps {
    struct Cell {
        int first, count;
        size_t weights;  // where they begin
    };
    std::vector<Cell> cells;
    std::vector<uint32_t> weights;  // unsigned, so that sums may wrap

    WholeTaps(int old_side, int new_side, Filter filter) {
        const Taps exact = taps(old_side, new_side, filter);
        cells.reserve(exact.first.size());
        for (size_t cell = 0; cell < exact.first.size(); ++cell) {
            cells.push_back({exact.first[cell], static_cast<int>(exact.weights[cell].size()), weights.size()});
            for (const double weight : exact.weights[cell]) {
                const double scaled = weight * (1 << kPrecision);
                weights.push_back(static_cast<uint32_t>(static_cast<int32_t>(scaled + (scaled < 0 ? -0.5 : 0.5))));
            }
        }
    }
    int most() const {
        int count = 0;
        for (const Cell& cell : cells) count = std::max(count, cell.count);
        return count;
    }
};

uint8_t rounded(uint32_t sum) {
    const int value = static_cast<int32_t>(sum) >> kPrecision;
    return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// One row of RGB pixels, resized to as many as there are cells.
void resize_row(const uint8_t* row, int width, const WholeTaps& across, uint8_t* out) {
    if (across.cells.size() == static_cast<size_t>(width)) {
        std::memcpy(out, row, 3 * static_cast<size_t>(width));
        return;
    }
    for (const WholeTaps::Cell& cell : across.cells) {
        const uint8_t* pixel = row + 3 * static_cast<size_t>(cell.first);
        const uint32_t* weight = across.weights.data() + cell.weights;
        uint32_t red = kHalf, green = kHalf, blue = kHalf;
        for (const uint32_t* end = weight + cell.count; weight != end; ++weight, pixel += 3) {
            red += *weight * pixel[0];
            green += *weight * pixel[1];
            blue += *weight * pixel[2];
        }
        out[0] = rounded(red), out[1] = rounded(green), out[2] = rounded(blue);
        out += 3;
    }
}

// The sum of `count` rows of `samples` bytes, each times its weight.
void sum_rows(const uint8_t* const* rows, const uint32_t* weights, int count, size_t samples, uint8_t* out) {
    constexpr size_t kLanes = 16;  // sums that stay in registers
    size_t at = 0;
    for (; at + kLanes <= samples; at += kLanes) {
        uint32_t sums[kLanes];
        for (uint32_t& sum : sums) sum = kHalf;
        for (int tap = 0; tap < count; ++tap) {
            for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += weights[tap] * rows[tap][at + lane];
        }
        for (size_t lane = 0; lane < kLanes; ++lane) out[at + lane] = rounded(sums[lane]);
    }
    for (; at < samples; ++at) {
        uint32_t sum = kHalf;
        for (int tap = 0; tap < count; ++tap) sum += weights[tap] * rows[tap][at];
        out[at] = rounded(sum);
    }
}

}  // namespace

Rows rows_of(const Picture& picture) { return rows_of(picture, {0, 0, picture.height(), picture.width()}); }

Rows rows_of(const Picture& picture, const Region& region) {
    return {region.height, region.width,
            [&picture, region](int top, int count, uint8_t* rgb) { picture.rows(region, top, count, rgb); }};
}

Rows rows_of(const Rgb& rgb, const Region& region) {
    return {region.height, region.width, [&rgb, region](int top, int count, uint8_t* out) {
                const size_t row_bytes = 3 * static_cast<size_t>(region.width);
                for (int row = 0; row < count; ++row, out += row_bytes) {
                    const size_t y = static_cast<size_t>(region.top + top + row);
                    const size_t pixel = y * static_cast<size_t>(rgb.width) + static_cast<size_t>(region.left);
                    std::memcpy(out, rgb.bytes.data() + 3 * pixel, row_bytes);
                }
            }};
}

void resize(const Rows& source, int height, int width, bool bicubic, uint8_t* out) {
    const Filter filter = bicubic ? Filter::bicubic : Filter::bilinear;
    const WholeTaps across(source.width, width, filter), down(source.height, height, filter);
    // Pillow shrinks the width first and then the height, but from 13.0 on the other way round where the height
    // shrinks by more than twice as many pixels.
    const int64_t shrinks = int64_t{source.height} - height;
    const bool down_first = shrinks > 0 && shrinks > 2 * (int64_t{source.width} - width);
    const int held_width = down_first ? source.width : width;
    const size_t held_bytes = 3 * static_cast<size_t>(held_width), source_bytes = 3 * static_cast<size_t>(source.width);

    // The rows between lie in a ring, which holds those of one cell and a block.
    const int slots = down.most() + kBlock;
    std::vector<uint8_t> ring(static_cast<size_t>(slots) * held_bytes), block(kBlock * source_bytes), line(held_bytes);
    const auto slot = [&](int row) { return ring.data() + static_cast<size_t>(row % slots) * held_bytes; };
    std::vector<const uint8_t*> rows;
    int read = 0;  // rows of the source
    for (const WholeTaps::Cell& cell : down.cells) {
        while (read < cell.first + cell.count) {
            const int count = std::min(kBlock, source.height - read);
            source.read(read, count, block.data());
            for (int row = 0; row < count; ++row, ++read) {
                const uint8_t* pixels = block.data() + static_cast<size_t>(row) * source_bytes;
                if (down_first) std::memcpy(slot(read), pixels, held_bytes);
                else resize_row(pixels, source.width, across, slot(read));
            }
        }
        rows.clear();
        for (int tap = 0; tap < cell.count; ++tap) rows.push_back(slot(cell.first + tap));
        sum_rows(rows.data(), down.weights.data() + cell.weights, cell.count, held_bytes, line.data());
        if (down_first) resize_row(line.data(), source.width, across, out);
        else std::memcpy(out, line.data(), held_bytes);
        out += 3 * static_cast<size_t>(width);
    }
}

Taps taps(int old_side, int new_side, Filter filter) {
    Taps all;
    const double scale = static_cast<double>(static_cast<float>(old_side)) / new_side;  // Pillow's side is a float
    const double widened = std::max(scale, 1.0);
    const double support = (filter == Filter::box ? 0.5 : filter == Filter::bilinear ? 1.0 : 2.0) * widened;
    for (int cell = 0; cell < new_side; ++cell) {
        const double centre = (cell + 0.5) * scale;
        const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
        const int end = std::min(static_cast<int>(centre + support + 0.5), old_side);
        std::vector<double> weights;
        double sum = 0;
        for (int at = first; at < end; ++at) {
            weights.push_back(weight_at(filter, (at - centre + 0.5) * (1.0 / widened)));
            sum += weights.back();
        }
        for (double& weight : weights) weight = sum != 0 ? weight / sum : weight;
        all.first.push_back(first);
        all.weights.push_back(std::move(weights));
    }
    return all;
}

}  // namespace samclip
