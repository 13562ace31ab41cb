// A built engine on a GPU, and tensors in the GPU's memory. As `TensorRTSession` of
// `samclip_edge/runtimes/tensorrt/session.py`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda.hpp"
#include "engine/tensor.hpp"
#include "engine/tensorrt_library.hpp"

namespace samclip {

// A tensor in the GPU's memory. It may outlive its session.
struct GpuTensor {
    GpuTensor(std::shared_ptr<GpuMemory> from, samclip_type of, Shape sides)
        : memory(std::move(from)),
          type(of),
          shape(std::move(sides)),
          bytes(4 * count_of(shape)),
          block(memory->take(bytes)) {}
    ~GpuTensor() { memory->give(block); }
    GpuTensor(const GpuTensor&) = delete;

    const std::shared_ptr<GpuMemory> memory;
    const samclip_type type;
    const Shape shape;
    const size_t bytes;
    const Block block;
};

// An input or output of an engine, with its buffer, which is kept between calls: a capture holds its address.
struct Place {
    std::string name;
    samclip_type type;
    Block block = {};
};

// One built engine. The GPU's lock is held by who makes, runs or deletes it.
class BuiltEngine {
public:
    BuiltEngine(Gpu& gpu, const samclip_graph& graph, std::string path, std::unique_ptr<nvinfer1::ICudaEngine> engine);
    ~BuiltEngine();
    BuiltEngine(const BuiltEngine&) = delete;

    std::unique_ptr<GpuTensor> make(samclip_type type, Shape shape) const {
        return std::make_unique<GpuTensor>(memory_, type, std::move(shape));
    }
    // inputs: a GpuTensor for each, in the graph's order. Throws InputError for more prompts, points or texts than the
    // engine was built for.
    std::vector<std::unique_ptr<GpuTensor>> run(void* const* inputs);

private:
    void check_ports(const samclip_port* ports, size_t count, nvinfer1::TensorIOMode mode) const;
    void set_shapes(const std::vector<Shape>& shapes);
    Shape shape_of(const Place& output) const;
    void reserve(Place& place, size_t bytes);
    void launch(Block workspace);
    void execute();

    Gpu& gpu_;
    const std::shared_ptr<GpuMemory> memory_;
    const std::string path_;
    const std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::vector<Place> inputs_, outputs_;
    std::vector<Shape> shapes_;     // of the inputs in the last call
    size_t needed_ = 0;             // bytes of workspace for these shapes
    std::vector<void*> places_;     // the addresses of all inputs and outputs in the last call; empty: launch anew
    Block workspace_;               // in the last call
    std::optional<Capture> again_;  // replays the last call, once it is captured
};

}  // namespace samclip
