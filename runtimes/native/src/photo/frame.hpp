// The frame: how one photo lies in the model's input, and how points, maps and masks go from one to the other. As
// `samclip_edge/photo/frame.py`. Photo pixels are those of the upright photo; model pixels are those of the input,
// whose top-left corner the resized photo fills.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "bundle/sizes.hpp"
#include "photo/resize.hpp"
#include "photo/runs.hpp"

namespace samclip {

constexpr std::array<float, 3> kPixelMean = {123.675f, 116.28f, 103.53f};  // RGB, SAM's; also the padding

// A map of floats (rows,columns).
struct Map {
    int rows = 0, columns = 0;
    std::vector<float> values;

    Map() = default;
    Map(int down, int across)
        : rows(down), columns(across), values(static_cast<size_t>(down) * static_cast<size_t>(across)) {}
    float* row(int at) { return values.data() + static_cast<size_t>(at) * static_cast<size_t>(columns); }
    const float* row(int at) const { return values.data() + static_cast<size_t>(at) * static_cast<size_t>(columns); }
    float at(int y, int x) const { return row(y)[x]; }
};

// The way from one side of a low-res mask to that of the photo: each photo pixel is a weighted mean of `kReach` low-res
// ones in a row.
struct WayBack {
    static constexpr int kReach = 4;
    std::vector<int> first;
    std::vector<std::array<float, kReach>> weights;
};

// What `everything` asks of a mask before it is drawn.
struct Measured {
    double stability;  // IoU of the masks cut above and below 0 (SAM's `calculate_stability_score`)
    Box box;
};

class Frame {
public:
    // Sides of the photo in pixels, and the input's size.
    Frame(int height, int width, Size size);

    int height() const { return height_; }
    int width() const { return width_; }
    const Size& size() const { return size_; }
    int scaled_height() const { return scaled_height_; }  // of the photo inside the input
    int scaled_width() const { return scaled_width_; }
    // Write the photo as the `image` input: (3,H,W) RGB, 0..255, padded with the pixel mean at the right and bottom.
    void image(const Rows& photo, float* out) const;
    // Photo coordinates to model coordinates.
    std::array<float, 2> to_model(double x, double y) const;
    // The frame of the same photo made no larger than it lies in the input.
    Frame reduced() const;
    // Where low-res logits (H/4,W/4) are above 0 over the photo's own pixels (SAM's `postprocess_masks`).
    Runs mask(const float* logits) const;
    // The stability at an offset, and the box, over the photo's own pixels.
    Measured measured(const float* logits, double offset) const;
    // Model pixels along the side of a cell of a map (h',w') over the input.
    int cell(int map_rows) const;
    // Rows and columns of such a map whose centres the photo reaches (at least one each).
    std::array<int, 2> cells(int map_rows) const;
    // How much of each cell of a map (h',w') a mask covers, 0..1 (`Frame.coverage`).
    Map coverage(const Runs& mask, int rows, int columns) const;
    // A map (h',w') over the input as low-res logits (H/4,W/4), linearly.
    Map enlarge(const Map& values) const;

private:
    int height_, width_;
    Size size_;
    int scaled_height_, scaled_width_;
    std::shared_ptr<const WayBack> down_, across_;
};

}  // namespace samclip
