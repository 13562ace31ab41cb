// How much of each cell of a map a mask covers, from its runs: what `Frame.coverage` has of Pillow's `resize` with BOX.
#include <algorithm>
#include <cmath>

#include "photo/frame.hpp"

namespace samclip {

namespace {

// Which new rows an old row counts for is a range, since the box filter's ranges rise.
struct Band {
    int begin, end;  // old rows [begin, end) that a new one is the mean of
    double weight;   // of each
};

std::vector<Band> bands(int old_side, int new_side) {
    const Taps found = taps(old_side, new_side, Filter::box);
    std::vector<Band> made;
    for (size_t k = 0; k < found.first.size(); ++k) {
        // Weights at the ends may be 0: those rows do not count.
        int begin = found.first[k], end = begin + static_cast<int>(found.weights[k].size());
        const auto& weights = found.weights[k];
        size_t from = 0, to = weights.size();
        while (from < to && weights[from] == 0) ++from, ++begin;
        while (to > from && weights[to - 1] == 0) --to, --end;
        made.push_back({begin, end, to > from ? weights[from] : 0});
    }
    return made;
}

// Add what a run of a column, rows [top, bottom), gives to a column of the map.
void add_run(Map& shares, const std::vector<Band>& down, int top, int bottom, int column, double weight) {
    auto first = std::partition_point(down.begin(), down.end(), [top](const Band& band) { return band.end <= top; });
    for (; first != down.end() && first->begin < bottom; ++first) {
        const int inside = std::min(bottom, first->end) - std::max(top, first->begin);
        if (inside <= 0) continue;
        const auto row = static_cast<int>(first - down.begin());
        shares.row(row)[column] += static_cast<float>(weight * first->weight * inside);
    }
}

}  // namespace

Map Frame::coverage(const Runs& mask, int rows, int columns) const {
    const int side = cell(rows);
    const auto eighths = [side](int scaled) {
        return std::max(static_cast<int>(std::nearbyint(scaled * 8.0 / side)), 1);
    };
    const int height = eighths(scaled_height_), width = eighths(scaled_width_);
    const std::vector<Band> down = bands(height_, height), across = bands(width_, width);
    Map shares(height, width), cover(rows, columns);
    for (size_t k = 0; k + 1 < mask.edges.size(); k += 2) {
        for (uint32_t from = mask.edges[k]; from < mask.edges[k + 1];) {  // column by column
            const auto tall = static_cast<uint32_t>(height_), x = from / tall;
            const uint32_t to = std::min(mask.edges[k + 1], (x + 1) * tall);
            const int at = static_cast<int>(x);
            auto band =
                std::partition_point(across.begin(), across.end(), [at](const Band& each) { return each.end <= at; });
            for (; band != across.end() && band->begin <= at; ++band) {
                const auto column = static_cast<int>(band - across.begin());
                add_run(shares, down, static_cast<int>(from % tall), static_cast<int>(to - x * tall), column,
                        band->weight);
            }
            from = to;
        }
    }
    float highest = 0;
    for (int y = 0; y < std::min(height, 8 * rows); ++y) {
        for (int x = 0; x < std::min(width, 8 * columns); ++x) cover.row(y / 8)[x / 8] += shares.at(y, x) / 64;
    }
    for (const float each : cover.values) highest = std::max(highest, each);
    if (!mask.empty() && highest < 0.01f) {  // too small for any cell: it falls wholly on that of its centre
        const auto middle = mask.middle();
        const auto place = to_model(middle[0], middle[1]);
        const auto column = static_cast<int>(place[0] / static_cast<float>(side));
        const auto row = static_cast<int>(place[1] / static_cast<float>(side));
        cover.row(std::min(row, rows - 1))[std::min(column, columns - 1)] = 1;
    }
    return cover;
}

}  // namespace samclip
