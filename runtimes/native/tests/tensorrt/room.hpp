// What the tests of the engine for TensorRT share: a bundle of built engines for the stand-in, and handles that free
// themselves.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "samclip_edge.h"
#include "stand_in.hpp"

constexpr int kSize = 256;   // of the model's input
constexpr size_t kLow = 64;  // of a mask's logits

using Model = std::unique_ptr<samclip_model, void (*)(samclip_model*)>;
using Scene = std::unique_ptr<samclip_scene, void (*)(samclip_scene*)>;
using Boxes = std::vector<double>;

// A mask: whether each pixel is in it, and its predicted IoU.
struct Answer {
    std::vector<uint8_t> pixels;
    double predicted_iou;
    std::string label;
};
using Answers = std::vector<Answer>;

double iou(const Answer& a, const Answer& b);

// A GPU as it comes, and a folder with the bundle of SAMCLIP_EDGE_BUNDLE and a built engine for each graph. At the end
// it checks that the GPU was used well, and that all was given back.
class Room {
public:
    Room();
    ~Room();

    const std::string& folder() const { return folder_; }
    std::string build() const { return "build them here: sh " + folder_ + "/build.sh"; }
    std::string engine(const std::string& graph) const { return folder_ + "/" + graph + ".engine"; }
    // Write other things into the manifest.
    void change(const std::function<void(nlohmann::json&)>& edit) const;
    // Write another built engine of a graph, and record it.
    void write_engine(const std::string& graph, const std::string& plan) const;
    // The bundle of the folder, or the one for ONNX Runtime.
    Model load(const samclip_engine* engine = nullptr) const;
    Model load_onnx() const;

private:
    std::string folder_;
};

// A photo of 120 x 90 pixels. Which: 0 or 1.
Scene look(const Model& model, int which = 0);
std::vector<double> classify(const Scene& scene, const std::vector<const char*>& names);
Answers click(const Scene& scene, double x = 60, double y = 50);
Answers in_boxes(const Scene& scene, const Boxes& boxes);
Answers find(const Scene& scene, const std::vector<const char*>& names);
// The status of a call, whose line is then `samclip_error()`.
samclip_status try_look(const Model& model);
samclip_status try_points(const Scene& scene, size_t points);
samclip_status try_boxes(const Scene& scene, const Boxes& boxes);
// A number of boxes.
Boxes some_boxes(size_t count);
