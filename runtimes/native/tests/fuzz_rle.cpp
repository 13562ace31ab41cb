// Fuzzes COCO's run lengths: whatever is taken is written again as it is, and drawn inside its photo.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "error.hpp"
#include "photo/frame.hpp"
#include "photo/runs.hpp"

namespace {

void need(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const int height = 1 + data[0] % 40, width = 1 + data[1] % 40;
    const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
    samclip::Runs runs;
    try {
        runs = samclip::decoded(text, height, width);
    } catch (const samclip::InputError&) {
        return 0;
    }
    const samclip::Runs again = samclip::decoded(runs.counts(), height, width);
    need(again.edges == runs.edges);
    std::vector<uint8_t> pixels(static_cast<size_t>(height) * static_cast<size_t>(width));
    runs.draw(1, pixels.data(), static_cast<size_t>(width));
    int64_t area = 0;
    for (const uint8_t each : pixels) area += each;
    need(area == runs.area());
    need(samclip::without(runs, runs).empty());
    need(samclip::either(runs, runs).edges == runs.edges);
    const auto box = runs.box();
    need(box[2] <= width && box[3] <= height);
    const auto square = samclip::square_around(runs);
    need(square[0] >= 0 && square[1] >= 0 && square[0] + square[2] <= height && square[1] + square[3] <= width);
    const samclip::Map cover = samclip::Frame(height, width, {64, 64}).coverage(runs, 4, 4);
    for (const float each : cover.values) need(each >= 0 && each <= 1.001f);
    return 0;
}
