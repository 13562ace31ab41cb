#include "engine/engine_onnxruntime.hpp"

// The library is asked for the interface of 1.20, whatever headers this was compiled with. Its C++ wrapper keeps the interface in a
// global, which an app that is linked statically would share: so the wrapper gets a namespace of its own here.
#define Ort samclip_ort
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/device.hpp"
#include "engine/table.hpp"
#include "error.hpp"
#include "task.hpp"

namespace samclip {

namespace {

constexpr uint32_t kApi = 20;

Ort::Env& environment() {
    static Ort::Env* const env = [] {
        auto* made = new Ort::Env(ORT_LOGGING_LEVEL_FATAL, "samclip_edge");  // errors are told by status
        // One arena for all sessions, which run one after another: what one gives back the next one takes. It grows by what is asked for,
        // where by default it doubles.
        const Ort::MemoryInfo host = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        constexpr int kByRequest = 1, kDefault = -1;
        made->CreateAndRegisterAllocator(host, Ort::ArenaCfg(0, kByRequest, kDefault, kDefault));
        return made;
    }();
    return *env;
}

// Outputs that other graphs take, and nobody reads: they stay where the provider computes.
bool handed_on(const std::string& output) {
    static const std::vector<std::string> names = {"tokens", "embedding", "sparse", "dense"};
    return std::find(names.begin(), names.end(), output) != names.end();
}

struct OrtTensor {
    Ort::Value value;
    bool on_host;
};

struct OrtGraph {
    Ort::Session session{nullptr};
    std::string path, device;
    std::vector<std::string> inputs, outputs;
    std::unique_ptr<Ort::MemoryInfo> there;  // of a GPU that it computes on; null: the host
};

void on_the_cpu(Ort::SessionOptions& options, const samclip_graph& graph) {
    // Without these, tensors of one size share a buffer that is held from the first to the last of them, which at 1024 pixels is many
    // times what is in use at any time. Only the sequential mode shares; with one thread between operations the other computes the same.
    options.AddConfigEntry("session.use_env_allocators", "1");
    options.DisableMemPattern();
    options.SetExecutionMode(ORT_PARALLEL);
    options.SetInterOpNumThreads(1);
    // Pairs of QuantizeLinear and DequantizeLinear are for TensorRT; here they run as the graph says.
    options.AddConfigEntry("session.disable_quant_qdq", "1");
    // Packed weights are a second copy in memory; unpacked they stay pages of the file (docs/performance.md).
    if (std::strcmp(graph.precision, "int8") != 0 && !avx2_alone()) {
        options.AddConfigEntry("session.disable_prepacking", "1");
    }
}

void on_cuda(Ort::SessionOptions& options, const Provider& provider) {
    OrtCUDAProviderOptionsV2* given = nullptr;
    Ort::ThrowOnError(Ort::GetApi().CreateCUDAProviderOptions(&given));
    const std::unique_ptr<OrtCUDAProviderOptionsV2, void (*)(OrtCUDAProviderOptionsV2*)> owner(
        given, [](OrtCUDAProviderOptionsV2* each) { Ort::GetApi().ReleaseCUDAProviderOptions(each); });
    std::vector<const char*> keys, values;
    for (const auto& option : provider.options) keys.push_back(option.first.c_str()), values.push_back(option.second.c_str());
    Ort::ThrowOnError(Ort::GetApi().UpdateCUDAProviderOptions(given, keys.data(), values.data(), keys.size()));
    options.AppendExecutionProvider_CUDA_V2(*given);
}

void on_tensorrt(Ort::SessionOptions& options, const Provider& provider) {
    OrtTensorRTProviderOptionsV2* given = nullptr;
    Ort::ThrowOnError(Ort::GetApi().CreateTensorRTProviderOptions(&given));
    const std::unique_ptr<OrtTensorRTProviderOptionsV2, void (*)(OrtTensorRTProviderOptionsV2*)> owner(
        given, [](OrtTensorRTProviderOptionsV2* each) { Ort::GetApi().ReleaseTensorRTProviderOptions(each); });
    std::vector<const char*> keys, values;
    for (const auto& option : provider.options) keys.push_back(option.first.c_str()), values.push_back(option.second.c_str());
    Ort::ThrowOnError(Ort::GetApi().UpdateTensorRTProviderOptions(given, keys.data(), values.data(), keys.size()));
    options.AppendExecutionProvider_TensorRT_V2(*given);
}

// Put a provider into the options. Throws InputError where this build does not have it.
void add(Ort::SessionOptions& options, const Provider& provider, const std::string& device) {
    const std::vector<std::string> have = Ort::GetAvailableProviders();
    if (std::find(have.begin(), have.end(), provider.name) == have.end()) {
        std::string listed;
        for (const std::string& each : have) listed += (listed.empty() ? "" : ", ") + each;
        throw InputError("device " + device + ": onnxruntime " + OrtGetApiBase()->GetVersionString() + " here has no " +
                         provider.name + ", only " + listed + "; bring a build of ONNX Runtime with it");
    }
    if (provider.name == "CUDAExecutionProvider") return on_cuda(options, provider);
    if (provider.name == "TensorrtExecutionProvider") return on_tensorrt(options, provider);
    // The others are taken by their names without this ending, except those that are written otherwise.
    static const std::unordered_map<std::string, std::string> written = {
        {"XnnpackExecutionProvider", "XNNPACK"}, {"DmlExecutionProvider", "DML"}};
    const auto found = written.find(provider.name);
    const std::string name =
        found != written.end() ? found->second : provider.name.substr(0, provider.name.size() - 17);
    options.AppendExecutionProvider(name, {provider.options.begin(), provider.options.end()});
}

void open_session(OrtGraph& opened, const Ort::SessionOptions& options, const samclip_graph& graph) {
    const samclip_graph_file& first = graph.files[0];
    const bool on_disk = std::all_of(graph.files, graph.files + graph.file_count,
                                     [](const samclip_graph_file& each) { return each.whole != nullptr; });
    if (on_disk) {  // whose weights ONNX Runtime maps by itself
        opened.session = Ort::Session(environment(), first.whole, options);
        return;
    }
    std::vector<std::string> names;
    std::vector<char*> data;
    std::vector<size_t> bytes;
    static char nothing = 0;  // an empty file has no memory, and ONNX Runtime asks for some
    for (size_t index = 1; index < graph.file_count; ++index) {
        const samclip_graph_file& file = graph.files[index];
        names.emplace_back(file.path);
        data.push_back(file.bytes ? static_cast<char*>(const_cast<void*>(file.data)) : &nothing);  // it only reads
        bytes.push_back(file.bytes);
    }
    Ort::SessionOptions with = options.Clone();
    if (!names.empty()) with.AddExternalInitializersFromFilesInMemory(names, data, bytes);
    opened.session = Ort::Session(environment(), first.data, first.bytes, with);
}

// Throws InputError where the names of the session are not those of the manifest.
void compare_names(const OrtGraph& opened, const samclip_graph& graph) {
    Ort::AllocatorWithDefaultOptions allocator;
    std::vector<std::string> theirs, ours;
    for (size_t k = 0; k < opened.session.GetInputCount(); ++k) theirs.emplace_back(opened.session.GetInputNameAllocated(k, allocator).get());
    theirs.emplace_back("->");
    for (size_t k = 0; k < opened.session.GetOutputCount(); ++k) theirs.emplace_back(opened.session.GetOutputNameAllocated(k, allocator).get());
    for (size_t k = 0; k < graph.input_count; ++k) ours.emplace_back(graph.inputs[k].name);
    ours.emplace_back("->");
    for (size_t k = 0; k < graph.output_count; ++k) ours.emplace_back(graph.outputs[k].name);
    if (theirs == ours) return;
    const auto joined = [](const std::vector<std::string>& names) {
        return std::accumulate(names.begin(), names.end(), std::string(),
                               [](std::string all, const std::string& each) { return std::move(all) + (all.empty() ? "" : " ") + each; });
    };
    throw InputError(opened.path + ": takes and gives " + joined(theirs) + ", not " + joined(ours) +
                     " as the manifest says; export it again");
}

std::unique_ptr<OrtGraph> opened(const samclip_graph& graph) {
    auto made = std::make_unique<OrtGraph>();
    made->path = graph.files[0].whole != nullptr ? graph.files[0].whole : graph.files[0].path;
    made->device = graph.device;
    for (size_t k = 0; k < graph.input_count; ++k) made->inputs.emplace_back(graph.inputs[k].name);
    for (size_t k = 0; k < graph.output_count; ++k) made->outputs.emplace_back(graph.outputs[k].name);
    Ort::SessionOptions options;
    options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);
    options.SetIntraOpNumThreads(graph.threads);
    // Each session has threads of its own. By default they go on asking for work in a loop after a run, and take the cores from the
    // session that runs next.
    options.AddConfigEntry("session.intra_op.allow_spinning", "0");
    if (graph.one_photo) Ort::ThrowOnError(Ort::GetApi().AddFreeDimensionOverrideByName(options, "I", 1));
    const std::vector<Provider> providers = providers_of(made->device);
    const bool cpu = on_cpu(providers);
    if (cpu) on_the_cpu(options, graph);
    for (const Provider& each : providers) {
        if (each.name == "CPUExecutionProvider") continue;  // which comes last by itself
        add(options, each, made->device);
        if (each.name != "CUDAExecutionProvider") continue;
        const auto number = each.options.find("device_id");
        const int id = number == each.options.end() ? 0 : std::atoi(number->second.c_str());
        made->there = std::make_unique<Ort::MemoryInfo>("Cuda", OrtDeviceAllocator, id, OrtMemTypeDefault);
    }
    try {
        open_session(*made, options, graph);
    } catch (const Ort::Exception& error) {
        if (!cpu) {
            throw InputError("device " + made->device + ": refuses " + made->path + " or its options (" +
                             one_line(error.what()) + "); mend them, or leave the device out");
        }
        throw InputError(made->path + ": ONNX Runtime refuses it (" + one_line(error.what()) + "); export the bundle again");
    }
    compare_names(*made, graph);
    return made;
}

std::unique_ptr<OrtTensor> made_tensor(samclip_type type, size_t dimensions, const int64_t* shape) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto element = type == SAMCLIP_INT32 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    return std::make_unique<OrtTensor>(OrtTensor{Ort::Value::CreateTensor(allocator, shape, dimensions, element), true});
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
        binding.BindOutput(each.c_str(), stays ? static_cast<const OrtMemoryInfo*>(*graph.there) : static_cast<const OrtMemoryInfo*>(host));
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
        layout->type = info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 ? SAMCLIP_INT32 : SAMCLIP_FLOAT32;
        layout->dimensions = shape.size();
        int64_t stride = 1;
        for (size_t k = shape.size(); k-- > 0; stride *= shape[k]) layout->shape[k] = shape[k], layout->strides[k] = stride;
        layout->device = held.on_host ? "cpu" : "cuda";
        layout->host = held.on_host ? held.value.GetTensorMutableRawData() : nullptr;
    });
}

samclip_status fill_entry(void*, void* tensor, const void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        auto& held = *static_cast<OrtTensor*>(tensor);
        if (!held.on_host || bytes != bytes_of(held)) throw Error(SAMCLIP_ENGINE, "a tensor is filled with another size");
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
    return failed(error, status, graph.path + ": ONNX Runtime did not run it on " + graph.device + " (" + why +
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
        return samclip_engine{sizeof(samclip_engine), nullptr,      open_entry, close_entry, make_entry,
                              free_entry,             layout_entry, fill_entry, read_entry,  run_entry};
    }();
    return table;
}

}  // namespace samclip
