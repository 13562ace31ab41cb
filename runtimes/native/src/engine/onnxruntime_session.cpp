#include "engine/onnxruntime_session.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "engine/device.hpp"
#include "engine/engine_onnxruntime.hpp"
#include "error.hpp"
#include "python_repr.hpp"

namespace samclip {

namespace {

Ort::Env& environment() {
    static Ort::Env* const env = [] {
        auto* made = new Ort::Env(ORT_LOGGING_LEVEL_FATAL, "samclip_edge");  // errors are told by status
        // One arena for all sessions, which run one after another: what one gives back the next one takes.
        const Ort::MemoryInfo host = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        made->CreateAndRegisterAllocator(host, Ort::ArenaCfg(0, -1, -1, -1));
        return made;
    }();
    return *env;
}

void on_the_cpu(Ort::SessionOptions& options, const samclip_graph& graph) {
    options.AddConfigEntry("session.use_env_allocators", "1");
    // Tensors of one known shape share a buffer, which is held from the first to the last of them. At 1024 pixels that
    // is many times what is in use at any time. Python switches that off, for which C has no call: so the number of
    // photos stays unknown here (`I`), and with it the shapes, and memory is freed at once.
    options.DisableMemPattern();
    // Pairs of QuantizeLinear and DequantizeLinear are for TensorRT; here they run as the graph says.
    options.AddConfigEntry("session.disable_quant_qdq", "1");
    // Packed weights are a second copy in memory; unpacked they stay pages of the file (docs/performance.md).
    if (std::strcmp(graph.precision, "int8") != 0 && !avx2_alone()) {
        options.AddConfigEntry("session.disable_prepacking", "1");
    }
}

// Append a provider whose options have a type of their own, by the functions that the interface has for this type.
template <typename Options>
void append(Ort::SessionOptions& options, const Provider& provider, OrtStatus* (*make)(Options**),
            OrtStatus* (*set)(Options*, const char* const*, const char* const*, size_t), void (*release)(Options*),
            OrtStatus* (*add)(OrtSessionOptions*, const Options*)) {
    Options* given = nullptr;
    Ort::ThrowOnError(make(&given));
    const std::unique_ptr<Options, void (*)(Options*)> owner(given, release);
    std::vector<const char*> keys, values;
    for (const auto& [key, value] : provider.options) keys.push_back(key.c_str()), values.push_back(value.c_str());
    Ort::ThrowOnError(set(given, keys.data(), values.data(), keys.size()));
    Ort::ThrowOnError(add(options, given));
}

// Put a provider into the options. Throws InputError where this build does not have it.
void add(Ort::SessionOptions& options, const Provider& provider, const std::string& device) {
    const std::vector<std::string> have = Ort::GetAvailableProviders();
    if (std::find(have.begin(), have.end(), provider.name) == have.end()) {
        throw InputError("device " + device + ": onnxruntime " + OrtGetApiBase()->GetVersionString() + " here has no " +
                         provider.name + ", only " + joined(have) + "; bring a build of ONNX Runtime with it");
    }
    const OrtApi& api = Ort::GetApi();
    if (provider.name == "CUDAExecutionProvider") {
        return append(options, provider, api.CreateCUDAProviderOptions, api.UpdateCUDAProviderOptions,
                      api.ReleaseCUDAProviderOptions, api.SessionOptionsAppendExecutionProvider_CUDA_V2);
    }
    if (provider.name == "TensorrtExecutionProvider") {
        return append(options, provider, api.CreateTensorRTProviderOptions, api.UpdateTensorRTProviderOptions,
                      api.ReleaseTensorRTProviderOptions, api.SessionOptionsAppendExecutionProvider_TensorRT_V2);
    }
    // The others are taken by their names without this ending, except those that are written otherwise.
    static const std::unordered_map<std::string, std::string> written = {{"XnnpackExecutionProvider", "XNNPACK"},
                                                                         {"DmlExecutionProvider", "DML"}};
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
    for (size_t k = 0; k < opened.session.GetInputCount(); ++k) {
        theirs.emplace_back(opened.session.GetInputNameAllocated(k, allocator).get());
    }
    theirs.emplace_back("->");
    for (size_t k = 0; k < opened.session.GetOutputCount(); ++k) {
        theirs.emplace_back(opened.session.GetOutputNameAllocated(k, allocator).get());
    }
    for (size_t k = 0; k < graph.input_count; ++k) ours.emplace_back(graph.inputs[k].name);
    ours.emplace_back("->");
    for (size_t k = 0; k < graph.output_count; ++k) ours.emplace_back(graph.outputs[k].name);
    if (theirs == ours) return;
    throw InputError(opened.path + ": takes and gives " + joined(theirs, " ") + ", not " + joined(ours, " ") +
                     " as the manifest says; export it again");
}

}  // namespace

void start_onnxruntime() { environment(); }

std::unique_ptr<OrtGraph> opened(const samclip_graph& graph) {
    auto made = std::make_unique<OrtGraph>();
    made->path = graph.files[0].whole != nullptr ? graph.files[0].whole : graph.files[0].path;
    made->device = graph.device;
    for (size_t k = 0; k < graph.input_count; ++k) made->inputs.emplace_back(graph.inputs[k].name);
    for (size_t k = 0; k < graph.output_count; ++k) made->outputs.emplace_back(graph.outputs[k].name);
    Ort::SessionOptions options;
    options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);
    options.SetIntraOpNumThreads(graph.threads);
    // Each session has threads of its own. By default they go on asking for work in a loop after a run, and take the
    // cores from the session that runs next.
    options.AddConfigEntry("session.intra_op.allow_spinning", "0");
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
        if (std::strstr(error.what(), "bad_alloc") != nullptr) throw std::bad_alloc();
        if (!cpu) {
            throw InputError("device " + made->device + ": refuses " + made->path + " or its options (" +
                             one_line(error.what()) + "); mend them, or leave the device out");
        }
        throw InputError(made->path + ": ONNX Runtime refuses it (" + one_line(error.what()) +
                         "); export the bundle again");
    }
    compare_names(*made, graph);
    return made;
}

}  // namespace samclip
