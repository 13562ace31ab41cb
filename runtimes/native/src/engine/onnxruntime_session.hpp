// A graph that is opened in ONNX Runtime, on the device that it is for. As `samclip_edge/bundle/sessions.py`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/onnxruntime_api.hpp"
#include "samclip_edge_engine.h"

namespace samclip {

struct OrtGraph {
    Ort::Session session{nullptr};
    std::string path, device;
    std::vector<std::string> inputs, outputs;
    std::unique_ptr<Ort::MemoryInfo> there;  // of a GPU that it computes on; null: the host
};

// Throws InputError where this build of ONNX Runtime does not have the device, where it refuses the graph, or where the
// graph's names are not those of the manifest.
std::unique_ptr<OrtGraph> opened(const samclip_graph& graph);

}  // namespace samclip
