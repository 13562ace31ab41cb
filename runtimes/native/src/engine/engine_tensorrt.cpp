#include "engine/engine_tensorrt.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda.hpp"
#include "engine/table.hpp"
#include "engine/tensor.hpp"
#include "engine/tensorrt_library.hpp"
#include "python_repr.hpp"
#include "samclip_edge_tensorrt.h"

namespace samclip {

namespace {

// A tensor in the GPU's memory. It may outlive its session.
struct GpuTensor {
    GpuTensor(std::shared_ptr<GpuMemory> from, samclip_type of, Shape sides)
        : memory(std::move(from)), type(of), shape(std::move(sides)), bytes(4 * count_of(shape)), block(memory->take(bytes)) {}
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
    // Throws InputError for more prompts, points or texts than the engine was built for.
    // inputs: a GpuTensor for each, in the graph's order.
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
    std::vector<Shape> shapes_;      // of the inputs in the last call
    size_t needed_ = 0;              // bytes of workspace for these shapes
    std::vector<void*> places_;      // the addresses of all inputs and outputs in the last call; empty: launch anew
    Block workspace_;                // in the last call
    std::optional<Capture> again_;   // replays the last call, once it is captured
};

std::string written(const Shape& shape) {
    std::vector<std::string> sides;
    for (const int64_t side : shape) sides.push_back(std::to_string(side));
    return python_tuple(sides);
}

Shape shape_of(const nvinfer1::Dims& dims) { return Shape(dims.d, dims.d + std::max(dims.nbDims, 0)); }

BuiltEngine::BuiltEngine(Gpu& gpu, const samclip_graph& graph, std::string path,
                         std::unique_ptr<nvinfer1::ICudaEngine> engine)
    : gpu_(gpu), memory_(gpu.memory()), path_(std::move(path)), engine_(std::move(engine)) {
    check_ports(graph.inputs, graph.input_count, nvinfer1::TensorIOMode::kINPUT);
    check_ports(graph.outputs, graph.output_count, nvinfer1::TensorIOMode::kOUTPUT);
    for (size_t k = 0; k < graph.input_count; ++k) inputs_.push_back({graph.inputs[k].name, graph.inputs[k].type});
    for (size_t k = 0; k < graph.output_count; ++k) outputs_.push_back({graph.outputs[k].name, graph.outputs[k].type});
    forget_errors();
    // Otherwise it takes memory for the most prompts.
    context_.reset(engine_->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
    if (context_ == nullptr) {
        throw InputError(path_ + ": tensorrt cannot run it (" + first_error() + "); free memory on the GPU");
    }
}

BuiltEngine::~BuiltEngine() {
    for (const Place& each : inputs_) memory_->give(each.block);
    for (const Place& each : outputs_) memory_->give(each.block);
}

void BuiltEngine::check_ports(const samclip_port* ports, size_t count, nvinfer1::TensorIOMode mode) const {
    for (size_t k = 0; k < count; ++k) {
        const auto type = ports[k].type == SAMCLIP_INT32 ? nvinfer1::DataType::kINT32 : nvinfer1::DataType::kFLOAT;
        if (engine_->getTensorIOMode(ports[k].name) != mode || engine_->getTensorDataType(ports[k].name) != type) {
            throw InputError(path_ + ": its " + ports[k].name + " is not as the manifest says; build it again: sh build.sh");
        }
    }
}

std::vector<std::unique_ptr<GpuTensor>> BuiltEngine::run(void* const* inputs) {
    std::vector<const GpuTensor*> given;
    std::vector<Shape> shapes;
    for (size_t k = 0; k < inputs_.size(); ++k) {
        given.push_back(static_cast<const GpuTensor*>(inputs[k]));
        if (given[k]->type != inputs_[k].type) throw Error(SAMCLIP_FAULT, path_ + ": " + inputs_[k].name + " has another type");
        shapes.push_back(given[k]->shape);
    }
    if (shapes != shapes_) set_shapes(shapes);
    for (size_t k = 0; k < inputs_.size(); ++k) {
        reserve(inputs_[k], given[k]->bytes);
        gpu_.copy(inputs_[k].block.address, given[k]->block.address, given[k]->bytes);
    }
    std::vector<std::unique_ptr<GpuTensor>> made;
    for (Place& each : outputs_) {
        made.push_back(make(each.type, shape_of(each)));
        reserve(each, made.back()->bytes);
    }
    launch(memory_->workspace(needed_));
    for (size_t k = 0; k < made.size(); ++k) gpu_.copy(made[k]->block.address, outputs_[k].block.address, made[k]->bytes);
    gpu_.wait();
    return made;
}

// Set the shapes of the inputs, all of which must be within the engine's profile.
void BuiltEngine::set_shapes(const std::vector<Shape>& shapes) {
    shapes_.clear();
    places_.clear();
    for (size_t k = 0; k < inputs_.size(); ++k) {
        const char* name = inputs_[k].name.c_str();
        nvinfer1::Dims dims{};
        const bool fits = shapes[k].size() <= static_cast<size_t>(nvinfer1::Dims::MAX_DIMS);
        if (fits) {
            dims.nbDims = static_cast<int32_t>(shapes[k].size());
            std::copy(shapes[k].begin(), shapes[k].end(), dims.d);
        }
        if (fits && context_->setInputShape(name, dims)) continue;
        const auto bound = [&](nvinfer1::OptProfileSelector which) {
            return written(samclip::shape_of(engine_->getProfileShape(name, 0, which)));
        };
        throw InputError(path_ + ": takes " + name + " of " + bound(nvinfer1::OptProfileSelector::kMIN) + " to " +
                         bound(nvinfer1::OptProfileSelector::kMAX) + ", not " + written(shapes[k]) + "; give less at once");
    }
    // 0 may also mean an error: then take what is enough for any shapes. 1, because a workspace cannot be empty.
    needed_ = context_->updateDeviceMemorySizeForShapes();
    if (needed_ == 0) needed_ = static_cast<size_t>(std::max<int64_t>(engine_->getDeviceMemorySizeV2(), 1));
    shapes_ = shapes;
}

Shape BuiltEngine::shape_of(const Place& output) const {
    const nvinfer1::Dims dims = context_->getTensorShape(output.name.c_str());
    if (dims.nbDims < 0) throw Error(SAMCLIP_ENGINE, path_ + ": does not say the shape of its " + output.name);
    return samclip::shape_of(dims);
}

void BuiltEngine::reserve(Place& place, size_t bytes) {
    if (place.block.address != nullptr && place.block.bytes >= bytes) return;
    const Block larger = memory_->take(bytes);
    memory_->give(place.block);
    place.block = larger;
}

// Run the engine. The second call with the same shapes and addresses is captured as a CUDA graph and replayed.
void BuiltEngine::launch(Block workspace) {
    std::vector<void*> places;
    for (const Place& each : inputs_) places.push_back(each.block.address);
    for (const Place& each : outputs_) places.push_back(each.block.address);
    if (places == places_ && workspace == workspace_) {
        if (!again_) again_.emplace(gpu_, [this] { execute(); });
        return again_->launch();
    }
    places_.clear();
    again_.reset();
    context_->setDeviceMemoryV2(workspace.address, static_cast<int64_t>(workspace.bytes));
    for (const Place& each : inputs_) context_->setTensorAddress(each.name.c_str(), each.block.address);
    for (const Place& each : outputs_) context_->setTensorAddress(each.name.c_str(), each.block.address);
    execute();
    places_ = std::move(places);
    workspace_ = workspace;
}

void BuiltEngine::execute() {
    forget_errors();
    if (context_->enqueueV3(gpu_.stream())) return;
    throw Error(SAMCLIP_ENGINE, path_ + ": did not run (" + first_error() + "); free memory on the GPU");
}

Gpu& gpu_of(void* context) { return *static_cast<Gpu*>(context); }

samclip_status open_entry(void* context, const samclip_graph* graph, void** session, samclip_error_text* error) {
    return guarded(error, [&] {
        Gpu& gpu = gpu_of(context);
        const std::string path = graph->files[0].whole != nullptr ? graph->files[0].whole : graph->files[0].path;
        std::unique_lock<std::mutex> held(gpu.lock);
        gpu.start();
        const std::string capability = gpu.capability();
        held.unlock();  // reading takes long, and other graphs run meanwhile
        auto engine = read_engine(*graph, path, capability);
        held.lock();
        *session = new BuiltEngine(gpu, *graph, path, std::move(engine));
    });
}

void close_entry(void* context, void* session) {
    const std::lock_guard<std::mutex> held(gpu_of(context).lock);
    delete static_cast<BuiltEngine*>(session);
}

samclip_status make_entry(void* context, void* session, samclip_type type, size_t dimensions, const int64_t* shape,
                          void** tensor, samclip_error_text* error) {
    return guarded(error, [&] {
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        *tensor = static_cast<BuiltEngine*>(session)->make(type, Shape(shape, shape + dimensions)).release();
    });
}

void free_entry(void* context, void* tensor) {
    const std::lock_guard<std::mutex> held(gpu_of(context).lock);
    delete static_cast<GpuTensor*>(tensor);
}

samclip_status layout_entry(void*, const void* tensor, samclip_layout* layout, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& held = *static_cast<const GpuTensor*>(tensor);
        if (held.shape.size() > SAMCLIP_MOST_DIMENSIONS) throw Error(SAMCLIP_ENGINE, "a tensor has too many dimensions");
        layout->type = held.type;
        layout->dimensions = held.shape.size();
        int64_t stride = 1;
        for (size_t k = held.shape.size(); k-- > 0; stride *= held.shape[k]) {
            layout->shape[k] = held.shape[k];
            layout->strides[k] = stride;
        }
        layout->device = "cuda:0";
        layout->host = nullptr;
    });
}

samclip_status fill_entry(void* context, void* tensor, const void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& into = *static_cast<const GpuTensor*>(tensor);
        if (bytes != into.bytes) throw Error(SAMCLIP_ENGINE, "a tensor is filled with another size");
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        gpu_of(context).upload(data, into.block.address, bytes);
    });
}

samclip_status read_entry(void* context, const void* tensor, void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& from = *static_cast<const GpuTensor*>(tensor);
        if (bytes != from.bytes) throw Error(SAMCLIP_ENGINE, "a tensor is read with another size");
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        gpu_of(context).download(from.block.address, data, bytes);
    });
}

samclip_status run_entry(void* context, void* session, void* const* inputs, void** outputs, samclip_task* task,
                         samclip_error_text* error) {
    return guarded(error, [&] {
        auto& engine = *static_cast<BuiltEngine*>(session);
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        if (samclip_cancelled(task)) throw Error(SAMCLIP_CANCELLED, "the call was cancelled");
        auto made = engine.run(inputs);
        for (size_t k = 0; k < made.size(); ++k) outputs[k] = made[k].release();
    });
}

// A stream's GPU, and the table whose context it is.
struct Streamed {
    explicit Streamed(void* stream)
        : gpu(static_cast<cudaStream_t>(stream)),
          table{sizeof(samclip_engine), &gpu,        open_entry, close_entry, make_entry,
                free_entry,             layout_entry, fill_entry, read_entry,  run_entry} {}
    Gpu gpu;
    const samclip_engine table;
};

}  // namespace

const samclip_engine& tensorrt_engine(void* cuda_stream) {
    // Never deleted: models may be closed at the very end of a process.
    static std::mutex& lock = *new std::mutex;
    static auto& streams = *new std::map<void*, std::unique_ptr<Streamed>>;
    const std::lock_guard<std::mutex> held(lock);
    std::unique_ptr<Streamed>& found = streams[cuda_stream];
    if (found == nullptr) found = std::make_unique<Streamed>(cuda_stream);
    return found->table;
}

}  // namespace samclip

const samclip_engine* samclip_tensorrt_engine(void* cuda_stream) {
    try {
        return &samclip::tensorrt_engine(cuda_stream);
    } catch (const std::exception&) {
        return nullptr;
    }
}
