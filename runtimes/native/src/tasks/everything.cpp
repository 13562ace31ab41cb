// Every mask in a photo: a grid of clicks, SAM's filters, and non-maximum suppression. Source:
// `automatic_mask_generator.py` of segment_anything with one crop.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "parallel.hpp"
#include "task.hpp"
#include "tasks/tasks.hpp"

namespace samclip {

namespace {

// A mask that passed the filters, before suppression.
struct Candidate {
    Floats logits;
    double predicted_iou;
    std::array<double, 2> point;  // in photo pixels
    Box box;                      // over the reduced photo
};

void check_number(const char* name, double value) {
    if (!std::isfinite(value)) throw InputError(std::string(name) + " " + std::to_string(value) + ": give a number");
}

// The masks of some clicks (x, y by turns) that pass the filters.
std::vector<Candidate> candidates(Encoded& encoded, const Frame& reduced, const Grid& grid,
                                  const std::vector<double>& clicks, bool alone, samclip_task* task) {
    samclip_prompts asked = {};
    asked.prompts = clicks.size() / 2;
    asked.points_each = 1;
    asked.points = clicks.data();
    std::vector<Candidate> found;
    const Decoded decoded = encoded.decode(prepared(encoded.frame(), asked), task, alone);
    for (size_t click = 0; click < decoded.prompts; ++click) {
        for (size_t which = 1; which < 4; ++which) {
            const double predicted_iou = static_cast<double>(decoded.predicted_iou(click, which));
            if (!(predicted_iou > grid.predicted_iou)) continue;
            const float* logits = decoded.mask(click, which);
            const Measured measured = reduced.measured(logits, grid.offset);
            if (measured.stability < grid.stability) continue;
            found.push_back({Floats(logits, logits + decoded.mask_size),
                             predicted_iou,
                             {clicks[2 * click], clicks[2 * click + 1]},
                             measured.box});
        }
    }
    return found;
}

// Those of all clicks of the grid, row by row, in order. Several parts of it are decoded at once, each in one thread:
// the decoder's products are too small to be shared well.
std::vector<Candidate> clicked(Encoded& encoded, const Grid& grid, samclip_task* task) {
    const Frame& frame = encoded.frame();
    const Frame reduced = frame.reduced();
    const auto side = static_cast<size_t>(grid.points_per_side), clicks = side * side;
    const size_t parts = (clicks + Encoded::kMost - 1) / Encoded::kMost, workers = encoded.sessions().workers();
    std::vector<std::vector<Candidate>> by_part(parts);
    const auto part = [&](size_t index) {
        std::vector<double> points;
        for (size_t k = index * Encoded::kMost; k < std::min((index + 1) * Encoded::kMost, clicks); ++k) {
            points.push_back((static_cast<double>(k % side) + 0.5) / static_cast<double>(side) * frame.width());
            points.push_back((static_cast<double>(k / side) + 0.5) / static_cast<double>(side) * frame.height());
        }
        by_part[index] = candidates(encoded, reduced, grid, points, workers == 1, task);
    };
    const auto tell = [&](size_t done) {
        if (task != nullptr) task->tell("clicking everywhere", done, parts);
    };
    in_parallel(workers, parts, part, tell);
    tell(parts);
    std::vector<Candidate> found;
    for (auto& each : by_part) std::move(each.begin(), each.end(), std::back_inserter(found));
    return found;
}

}  // namespace

Grid Grid::of(const samclip_grid* given) {
    Grid grid;
    if (given == nullptr) return grid;
    if (given->points_per_side != 0) grid.points_per_side = given->points_per_side;
    if (given->predicted_iou != 0) grid.predicted_iou = given->predicted_iou;
    if (given->stability != 0) grid.stability = given->stability;
    if (given->offset != 0) grid.offset = given->offset;
    if (given->overlap != 0) grid.overlap = given->overlap;
    if (grid.points_per_side < 1 || grid.points_per_side > 256) {
        throw InputError("points_per_side " + std::to_string(grid.points_per_side) +
                         ": give 1 to 256 clicks a side, a whole number");
    }
    check_number("predicted_iou", grid.predicted_iou);
    check_number("stability", grid.stability);
    check_number("offset", grid.offset);
    check_number("overlap", grid.overlap);
    return grid;
}

// SAM measures stability and boxes over the photo's own pixels. Here a photo that is larger than it lies in the input
// is made that small first, and only masks that are kept are drawn over its own pixels.
Masks everything(Encoded& encoded, const Grid& grid, samclip_task* task) {
    const Frame& frame = encoded.frame();
    const Frame reduced = frame.reduced();
    std::vector<Candidate> found = clicked(encoded, grid, task);
    const double across = static_cast<double>(frame.width()) / reduced.width();
    const double down = static_cast<double>(frame.height()) / reduced.height();
    std::vector<std::array<double, 4>> corners;
    std::vector<double> quality;
    for (const Candidate& each : found) {
        // SAM's boxes end on the last pixel, not past it, and the overlap of small ones depends on that.
        corners.push_back({each.box[0] * across, each.box[1] * down, each.box[2] * across - 1, each.box[3] * down - 1});
        quality.push_back(each.predicted_iou);
    }
    Masks masks;
    for (const size_t place : suppress(corners, quality, grid.overlap)) {
        Candidate& each = found[place];
        Mask mask;
        mask.runs = frame.mask(each.logits.data());
        mask.predicted_iou = each.predicted_iou;
        mask.logits = std::move(each.logits);
        mask.point = each.point;
        masks.push_back(std::move(mask));
    }
    return masks;
}

std::vector<size_t> suppress(const std::vector<std::array<double, 4>>& boxes, const std::vector<double>& quality,
                             double threshold) {
    std::vector<size_t> order(boxes.size()), kept;
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return quality[a] > quality[b]; });
    const auto area = [](const std::array<double, 4>& box) { return (box[2] - box[0]) * (box[3] - box[1]); };
    const auto overlaps = [&](size_t one, size_t other) {
        const auto &a = boxes[one], &b = boxes[other];
        const double wide = std::max(std::min(a[2], b[2]) - std::max(a[0], b[0]), 0.0);
        const double tall = std::max(std::min(a[3], b[3]) - std::max(a[1], b[1]), 0.0);
        return wide * tall / (area(a) + area(b) - wide * tall) > threshold;  // 0 / 0 suppresses nothing
    };
    for (const size_t place : order) {
        if (std::none_of(kept.begin(), kept.end(), [&](size_t better) { return overlaps(better, place); })) {
            kept.push_back(place);
        }
    }
    return kept;
}

}  // namespace samclip
