// Any bytes as COCO's run lengths: whatever is taken is written again as it is, and drawn inside its photo.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "error.hpp"
#include "photo/frame.hpp"
#include "photo/runs.hpp"

namespace {

constexpr int64_t kDrawn = 1 << 14;  // pixels of a photo, at most, on which a mask is drawn

void need(bool holds) {
    if (!holds) std::abort();
}

// A mask whose runs have the lengths that the bytes say, as long as the photo has pixels.
samclip::Runs from_lengths(std::string_view lengths, int height, int width) {
    samclip::Runs runs{height, width, {}};
    const uint64_t pixels = static_cast<uint64_t>(height) * static_cast<uint64_t>(width);
    uint64_t at = 0;
    for (size_t k = 0; k + 1 < lengths.size(); k += 2) {
        const uint64_t low = static_cast<uint8_t>(lengths[k]), high = static_cast<uint8_t>(lengths[k + 1]);
        at += 1 + (low << (high % 24));
        if (at > pixels) break;
        runs.edges.push_back(static_cast<uint32_t>(at));
    }
    if (runs.edges.size() % 2 != 0) runs.edges.pop_back();
    return runs;
}

void check_drawn(const samclip::Runs& runs) {
    std::vector<uint8_t> pixels(static_cast<size_t>(runs.height) * static_cast<size_t>(runs.width));
    runs.draw(1, pixels.data(), static_cast<size_t>(runs.width));
    int64_t area = 0;
    for (const uint8_t each : pixels) area += each;
    need(area == runs.area());
    const samclip::Map cover = samclip::Frame(runs.height, runs.width, {64, 64}).coverage(runs, 4, 4);
    for (const float each : cover.values) need(each >= 0 && each <= 1.001f);
}

void check(const samclip::Runs& runs, const samclip::Runs& other) {
    need(samclip::decoded(runs.counts(), runs.height, runs.width).edges == runs.edges);
    need(samclip::without(runs, runs).empty());
    need(samclip::either(runs, runs).edges == runs.edges);
    const samclip::Runs both = samclip::either(runs, other), rest = samclip::without(runs, other);
    need(both.area() == rest.area() + other.area());
    const auto box = runs.box(), square = samclip::square_around(runs);
    need(box[0] >= 0 && box[1] >= 0 && box[2] <= runs.width && box[3] <= runs.height);
    need(square[0] >= 0 && square[1] >= 0 && square[0] + square[2] <= runs.height && square[1] + square[3] <= runs.width);
    if (!runs.empty()) {
        const auto middle = runs.middle();
        need(middle[0] >= box[0] && middle[0] < box[2] && middle[1] >= box[1] && middle[1] < box[3]);
    }
    if (int64_t{runs.height} * runs.width <= kDrawn) check_drawn(runs);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 4) return 0;
    const int height = 1 + (data[0] | data[1] << 8), width = 1 + (data[2] | data[3] << 8);
    if (int64_t{height} * width > 178956970) return 0;  // no photo is as large
    const std::string_view text(reinterpret_cast<const char*>(data) + 4, size - 4);
    const samclip::Runs other = from_lengths(text, height, width);
    check(other, other);
    try {
        check(samclip::decoded(text, height, width), other);
    } catch (const samclip::InputError&) {
    }
    return 0;
}
