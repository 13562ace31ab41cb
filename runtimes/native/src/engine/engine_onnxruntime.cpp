#include "engine/engine_onnxruntime.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/onnxruntime_session.hpp"
#include "engine/table.hpp"
#include "error.hpp"
#include "task.hpp"

namespace samclip {

namespace {

constexpr uint32_t kApi = 20;

// Outputs that other graphs take, and nobody reads: they stay where the provider computes.
bool handed_on(const std::string& output) {
    static const std::vector<std::string> names = {"tokens", "embedding", "sparse", "dense"};
    return std::find(names.begin(), names.end(), output) != names.end();
}

struct OrtTensor {
    Ort::Value value;
    bool on_host;
};

std::unique_ptr<OrtTensor> made_tensor(samclip_type type, size_t dimensions, const int64_t* shape) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto element =
        type == SAMCLIP_INT32 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    return std::make_unique<OrtTensor>(
        OrtTensor{Ort::Value::CreateTensor(allocator, shape, dimensions, element), true});
}

void run_graph(OrtGraph& graph, void* const* inputs, void** outputs, samclip_task* task) {
    Ort::RunOptions how;
    const samclip_on_cancel on_cancel(task, [&how] { how.SetTerminate(); });
    const Ort::MemoryInfo host = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    Ort::IoBinding binding(graph.session);
    for (size_t k = 0; k < graph.inputs.size(); ++k) {
        binding.BindInput(graph.inputs[k].c_str(), static_cast<OrtTensor*>(inputs[k])->value);
    }
    for (const std::string& each : graph.outputs) {
        const bool stays = graph.there != nullptr && handed_on(each);
        binding.BindOutput(each.c_str(), stays ? static_cast<const OrtMemoryInfo*>(*graph.there)
                                               : static_cast<const OrtMemoryInfo*>(host));
    }
    graph.session.Run(how, binding);
    std::vector<Ort::Value> values = binding.GetOutputValues();
    std::vector<std::unique_ptr<OrtTensor>> made;
    for (size_t k = 0; k < values.size(); ++k) {
        made.push_back(std::make_unique<OrtTensor>(
            OrtTensor{std::move(values[k]), graph.there == nullptr || !handed_on(graph.outputs[k])}));
    }
    for (size_t k = 0; k < made.size(); ++k) outputs[k] = made[k].release();
}

size_t bytes_of(const OrtTensor& tensor) { return tensor.value.GetTensorTypeAndShapeInfo().GetElementCount() * 4; }

samclip_status open_entry(void*, const samclip_graph* graph, void** session, samclip_error_text* error) {
    return guarded(error, [&] { *session = opened(*graph).release(); });
}

void close_entry(void*, void* session) { delete static_cast<OrtGraph*>(session); }

samclip_status make_entry(void*, void*, samclip_type type, size_t dimensions, const int64_t* shape, void** tensor,
                          samclip_error_text* error) {
    return guarded(error, [&] { *tensor = made_tensor(type, dimensions, shape).release(); });
}

void free_entry(void*, void* tensor) { delete static_cast<OrtTensor*>(tensor); }

samclip_status layout_entry(void*, const void* tensor, samclip_layout* layout, samclip_error_text* error) {
    return guarded(error, [&] {
        auto& held = *static_cast<OrtTensor*>(const_cast<void*>(tensor));
        const auto info = held.value.GetTensorTypeAndShapeInfo();
        const std::vector<int64_t> shape = info.GetShape();
        if (shape.size() > SAMCLIP_MOST_DIMENSIONS) throw Error(SAMCLIP_ENGINE, "a tensor has too many dimensions");
        const auto element = info.GetElementType();
        if (element != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT && element != ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32) {
            throw Error(SAMCLIP_ENGINE, "a tensor is neither float32 nor int32");
        }
        layout->type = element == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 ? SAMCLIP_INT32 : SAMCLIP_FLOAT32;
        layout->dimensions = shape.size();
        int64_t stride = 1;
        for (size_t k = shape.size(); k-- > 0; stride *= shape[k]) {
            layout->shape[k] = shape[k], layout->strides[k] = stride;
        }
        layout->device = held.on_host ? "cpu" : "cuda";
        layout->host = held.on_host ? held.value.GetTensorMutableRawData() : nullptr;
    });
}

samclip_status fill_entry(void*, void* tensor, const void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        auto& held = *static_cast<OrtTensor*>(tensor);
        if (!held.on_host || bytes != bytes_of(held)) {
            throw Error(SAMCLIP_ENGINE, "a tensor is filled with another size");
        }
        if (bytes != 0) std::memcpy(held.value.GetTensorMutableRawData(), data, bytes);
    });
}

samclip_status read_entry(void*, const void* tensor, void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& held = *static_cast<const OrtTensor*>(tensor);
        if (!held.on_host) throw Error(SAMCLIP_ENGINE, "a tensor of the GPU is handed on, and not read");
        if (bytes != bytes_of(held)) throw Error(SAMCLIP_ENGINE, "a tensor is read with another size");
        if (bytes != 0) std::memcpy(data, held.value.GetTensorRawData(), bytes);
    });
}

samclip_status run_entry(void*, void* session, void* const* inputs, void** outputs, samclip_task* task,
                         samclip_error_text* error) {
    auto& graph = *static_cast<OrtGraph*>(session);
    const samclip_status status = guarded(error, [&] { run_graph(graph, inputs, outputs, task); });
    if (status != SAMCLIP_ENGINE) return status;
    if (samclip_cancelled(task)) return failed(error, SAMCLIP_CANCELLED, "the call was cancelled");
    const std::string why = error->line;
    return failed(error, status,
                  graph.path + ": ONNX Runtime did not run it on " + graph.device + " (" + why +
                      "); free memory, or ask for less at once");
}

}  // namespace

const samclip_engine& onnxruntime_engine() {
    static const samclip_engine table = [] {
        const OrtApi* api = OrtGetApiBase()->GetApi(kApi);
        if (api == nullptr) {
            throw Error(SAMCLIP_ENGINE, std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() +
                                            " is older than 1.20; bring a newer one");
        }
        Ort::InitApi(api);
        return samclip_engine{sizeof(samclip_engine), nullptr,    open_entry, close_entry, make_entry, free_entry,
                              layout_entry,           fill_entry, read_entry, run_entry};
    }();
    return table;
}

}  // namespace samclip
