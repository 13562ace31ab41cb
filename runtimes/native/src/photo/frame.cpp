#include "photo/frame.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace samclip {

namespace {

constexpr int kLanes = 16;  // columns of a photo that are computed together

// Of each new place, the lower of the two old ones that it lies between, and how far it is from it (torch's
// `interpolate`, linear, without aligned corners). As `between` in resize.py.
struct Between {
    std::vector<int> low, high;
    std::vector<float> far;
};

Between between(int old_side, int new_side) {
    Between found;
    for (int k = 0; k < new_side; ++k) {
        const double at = (k + 0.5) * (static_cast<double>(old_side) / new_side) - 0.5;
        const double kept = std::min(std::max(at, 0.0), old_side - 1.0);
        const int low = static_cast<int>(std::floor(kept));
        found.low.push_back(low);
        found.high.push_back(std::min(low + 1, old_side - 1));
        found.far.push_back(static_cast<float>(kept - low));
    }
    return found;
}

// By way of the input: low-res to model pixels, cut off at the photo's end, and those to photo pixels.
std::shared_ptr<const WayBack> way_back(int low_res, int side, int scaled, int photo) {
    const Between up = between(low_res, side), back = between(scaled, photo);
    auto way = std::make_shared<WayBack>();
    for (int k = 0; k < photo; ++k) {
        const auto place = static_cast<size_t>(k);
        const int first = up.low[static_cast<size_t>(back.low[place])];
        std::array<float, WayBack::kReach> weights = {};
        const auto add = [&](int model, float weight) {
            const auto at = static_cast<size_t>(model);
            weights[static_cast<size_t>(up.low[at] - first)] += weight * (1 - up.far[at]);
            weights[static_cast<size_t>(up.high[at] - first)] += weight * up.far[at];
        };
        add(back.low[place], 1 - back.far[place]);
        add(back.high[place], back.far[place]);
        way->first.push_back(std::min(first, std::max(low_res - WayBack::kReach, 0)));
        // Where the reach would leave the mask, the weights move up.
        const int moved = first - way->first.back();
        std::array<float, WayBack::kReach> kept = {};
        for (int j = 0; j + moved < WayBack::kReach; ++j) {
            kept[static_cast<size_t>(j + moved)] = weights[static_cast<size_t>(j)];
        }
        way->weights.push_back(kept);
    }
    return way;
}

struct Range {
    int begin = 0, end = 0;
};

// The photo's rows (or columns) that marked low-res ones reach.
Range reached(const WayBack& way, const std::vector<uint8_t>& marked) {
    Range range;
    for (size_t k = 0; k < way.first.size(); ++k) {
        bool hit = false;
        for (size_t j = 0; j < WayBack::kReach; ++j) {
            const size_t low = static_cast<size_t>(way.first[k]) + j;
            hit |= low < marked.size() && marked[low] && way.weights[k][j] != 0;
        }
        if (!hit) continue;
        if (range.end == 0) range.begin = static_cast<int>(k);
        range.end = static_cast<int>(k) + 1;
    }
    return range;
}

// The photo's columns [x, x + kLanes) of low-res rows: (low_rows, kLanes). Columns past the photo repeat its last.
void columns_of(const float* logits, int low_rows, int low_columns, const WayBack& across, int x, float* strip) {
    const int last = static_cast<int>(across.first.size()) - 1;
    const int reach = std::min(low_columns, WayBack::kReach);
    for (int lane = 0; lane < kLanes; ++lane) {
        const auto column = static_cast<size_t>(std::min(x + lane, last));
        const auto& weights = across.weights[column];
        const float* from = logits + across.first[column];
        for (int r = 0; r < low_rows; ++r, from += low_columns) {
            float sum = 0;
            for (int j = 0; j < reach; ++j) sum += weights[static_cast<size_t>(j)] * from[j];
            strip[r * kLanes + lane] = sum;
        }
    }
}

// One photo row of a strip.
inline void row_of(const float* strip, int low_rows, const WayBack& down, int y, float* out) {
    const auto place = static_cast<size_t>(y);
    const float* from = strip + static_cast<size_t>(down.first[place]) * kLanes;
    const auto& weights = down.weights[place];
    const int reach = std::min(low_rows, WayBack::kReach);
    for (int lane = 0; lane < kLanes; ++lane) out[lane] = weights[0] * from[lane];
    for (int j = 1; j < reach; ++j) {
        const float weight = weights[static_cast<size_t>(j)];
        for (int lane = 0; lane < kLanes; ++lane) out[lane] += weight * from[j * kLanes + lane];
    }
}

}  // namespace

Frame::Frame(int height, int width, Size size) : height_(height), width_(width), size_(size) {
    const double scale = std::min(static_cast<double>(size.height) / height, static_cast<double>(size.width) / width);
    scaled_height_ = std::max(static_cast<int>(height * scale + 0.5), 1);
    scaled_width_ = std::max(static_cast<int>(width * scale + 0.5), 1);
    down_ = way_back(size.low_rows(), size.height, scaled_height_, height);
    across_ = way_back(size.low_columns(), size.width, scaled_width_, width);
}

void Frame::image(const Rows& photo, float* out) const {
    const auto wide = static_cast<size_t>(size_.width), plane = wide * static_cast<size_t>(size_.height);
    for (size_t channel = 0; channel < 3; ++channel) std::fill_n(out + channel * plane, plane, kPixelMean[channel]);
    const auto across = static_cast<size_t>(scaled_width_);
    std::vector<uint8_t> resized(across * static_cast<size_t>(scaled_height_) * 3);
    resize(photo, scaled_height_, scaled_width_, false, resized.data());
    for (size_t y = 0; y < static_cast<size_t>(scaled_height_); ++y) {
        const uint8_t* from = resized.data() + y * across * 3;
        for (size_t channel = 0; channel < 3; ++channel) {
            float* to = out + channel * plane + y * wide;
            for (size_t x = 0; x < across; ++x) to[x] = from[3 * x + channel];
        }
    }
}

std::array<float, 2> Frame::to_model(double x, double y) const {
    return {static_cast<float>(x * (static_cast<double>(scaled_width_) / width_)),
            static_cast<float>(y * (static_cast<double>(scaled_height_) / height_))};
}

Frame Frame::reduced() const { return scaled_height_ >= height_ ? *this : Frame(scaled_height_, scaled_width_, size_); }

Runs Frame::mask(const float* logits) const {
    const int low_rows = size_.low_rows(), low_columns = size_.low_columns();
    std::vector<uint8_t> rows(static_cast<size_t>(low_rows)), columns(static_cast<size_t>(low_columns));
    for (size_t r = 0; r < rows.size(); ++r) {
        for (size_t c = 0; c < columns.size(); ++c) {
            const uint8_t above = logits[r * columns.size() + c] > 0;
            rows[r] |= above;
            columns[c] |= above;
        }
    }
    const Range down = reached(*down_, rows), across = reached(*across_, columns);
    Runs runs{height_, width_, {}};
    if (down.end == 0 || across.end == 0) return runs;
    std::vector<float> strip(static_cast<size_t>(low_rows) * kLanes);
    std::array<std::vector<uint32_t>, kLanes> edges;
    for (int x = across.begin; x < across.end; x += kLanes) {
        columns_of(logits, low_rows, low_columns, *across_, x, strip.data());
        for (auto& each : edges) each.clear();
        std::array<uint8_t, kLanes> was = {}, is = {};
        for (int y = down.begin; y <= down.end; ++y) {  // below the last row nothing is inside
            std::array<float, kLanes> row = {};
            if (y < down.end) row_of(strip.data(), low_rows, *down_, y, row.data());
            for (size_t lane = 0; lane < kLanes; ++lane) is[lane] = row[lane] > 0;
            if (std::memcmp(was.data(), is.data(), kLanes) == 0) continue;
            for (size_t lane = 0; lane < kLanes; ++lane) {
                if (was[lane] != is[lane]) edges[lane].push_back(static_cast<uint32_t>(y));
            }
            was = is;
        }
        for (int lane = 0; lane < std::min(kLanes, across.end - x); ++lane) {
            const uint32_t base = static_cast<uint32_t>(x + lane) * static_cast<uint32_t>(height_);
            for (const uint32_t y : edges[static_cast<size_t>(lane)]) {
                // Where a mask leaves a column at its foot and is at the head of the next, it goes on.
                if (!runs.edges.empty() && runs.edges.back() == base + y) runs.edges.pop_back();
                else runs.edges.push_back(base + y);
            }
        }
    }
    return runs;
}

Measured Frame::measured(const float* logits, double offset) const {
    const int low_rows = size_.low_rows(), low_columns = size_.low_columns();
    const float high = static_cast<float>(offset), low = static_cast<float>(-offset);
    std::vector<float> strip(static_cast<size_t>(low_rows) * kLanes);
    int64_t above = 0, below = 0;
    int top = height_, bottom = 0, left = width_, right = 0;
    for (int x = 0; x < width_; x += kLanes) {
        columns_of(logits, low_rows, low_columns, *across_, x, strip.data());
        const int lanes = std::min(kLanes, width_ - x);
        std::array<int32_t, kLanes> more = {}, less = {}, any = {};
        for (int y = 0; y < height_; ++y) {
            std::array<float, kLanes> row = {};
            row_of(strip.data(), low_rows, *down_, y, row.data());
            int32_t inside = 0;
            for (size_t lane = 0; lane < kLanes; ++lane) {
                more[lane] += row[lane] > high;
                less[lane] += row[lane] > low;
                const int32_t is = row[lane] > 0;
                any[lane] |= is;
                inside |= is;
            }
            if (inside != 0) top = std::min(top, y), bottom = std::max(bottom, y + 1);
        }
        for (int lane = 0; lane < lanes; ++lane) {
            above += more[static_cast<size_t>(lane)];
            below += less[static_cast<size_t>(lane)];
            if (any[static_cast<size_t>(lane)] != 0) {
                left = std::min(left, x + lane), right = std::max(right, x + lane + 1);
            }
        }
    }
    const double stability = below != 0 ? static_cast<double>(above) / static_cast<double>(below) : 0.0;
    return {stability, right > left ? Box{left, top, right, bottom} : Box{0, 0, 0, 0}};
}

int Frame::cell(int map_rows) const { return kPatch * ((size_.rows() + map_rows - 1) / map_rows); }

std::array<int, 2> Frame::cells(int map_rows) const {
    const double side = cell(map_rows);
    return {std::max(static_cast<int>(scaled_height_ / side + 0.5), 1),
            std::max(static_cast<int>(scaled_width_ / side + 0.5), 1)};
}

Map Frame::enlarge(const Map& values) const {
    const int side = cell(values.rows) / kMaskStride;
    const Between down = between(values.rows, values.rows * side);
    const Between across = between(values.columns, values.columns * side);
    Map wide(values.rows, size_.low_columns()), large(size_.low_rows(), size_.low_columns());
    for (int y = 0; y < wide.rows; ++y) {
        for (int x = 0; x < wide.columns; ++x) {
            const auto at = static_cast<size_t>(x);
            wide.row(y)[x] =
                (1 - across.far[at]) * values.at(y, across.low[at]) + across.far[at] * values.at(y, across.high[at]);
        }
    }
    for (int y = 0; y < large.rows; ++y) {
        const auto at = static_cast<size_t>(y);
        const float *low = wide.row(down.low[at]), *high = wide.row(down.high[at]);
        for (int x = 0; x < large.columns; ++x) large.row(y)[x] = (1 - down.far[at]) * low[x] + down.far[at] * high[x];
    }
    return large;
}

}  // namespace samclip
