#include "engine/built_engine.hpp"

#include <algorithm>

#include "python_repr.hpp"

namespace samclip {

namespace {

std::string written(const Shape& shape) {
    std::vector<std::string> sides;
    for (const int64_t side : shape) sides.push_back(std::to_string(side));
    return python_tuple(sides);
}

Shape sides_of(const nvinfer1::Dims& dims) { return Shape(dims.d, dims.d + std::max(dims.nbDims, 0)); }

}  // namespace

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
            throw InputError(path_ + ": its " + ports[k].name +
                             " is not as the manifest says; build it again: sh build.sh");
        }
    }
}

std::vector<std::unique_ptr<GpuTensor>> BuiltEngine::run(void* const* inputs) {
    std::vector<const GpuTensor*> given;
    std::vector<Shape> shapes;
    for (size_t k = 0; k < inputs_.size(); ++k) {
        given.push_back(static_cast<const GpuTensor*>(inputs[k]));
        if (given[k]->type != inputs_[k].type) {
            throw Error(SAMCLIP_FAULT, path_ + ": " + inputs_[k].name + " has another type");
        }
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
    for (size_t k = 0; k < made.size(); ++k) {
        gpu_.copy(made[k]->block.address, outputs_[k].block.address, made[k]->bytes);
    }
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
            return written(sides_of(engine_->getProfileShape(name, 0, which)));
        };
        throw InputError(path_ + ": takes " + name + " of " + bound(nvinfer1::OptProfileSelector::kMIN) + " to " +
                         bound(nvinfer1::OptProfileSelector::kMAX) + ", not " + written(shapes[k]) +
                         "; give less at once");
    }
    // 0 may also mean an error: then take what is enough for any shapes. 1, because a workspace cannot be empty.
    needed_ = context_->updateDeviceMemorySizeForShapes();
    if (needed_ == 0) needed_ = static_cast<size_t>(std::max<int64_t>(engine_->getDeviceMemorySizeV2(), 1));
    shapes_ = shapes;
}

Shape BuiltEngine::shape_of(const Place& output) const {
    const nvinfer1::Dims dims = context_->getTensorShape(output.name.c_str());
    if (dims.nbDims < 0) throw Error(SAMCLIP_ENGINE, path_ + ": does not say the shape of its " + output.name);
    return sides_of(dims);
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

}  // namespace samclip
