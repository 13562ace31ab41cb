#include "engine/tensorrt_library.hpp"

#include <NvOnnxParser.h>

#include <algorithm>
#include <mutex>

#include "engine/table.hpp"
#include "error.hpp"

namespace samclip {

namespace {

// Remembers the first error, and prints nothing.
class Log : public nvinfer1::ILogger {
public:
    void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override {
        if (severity > Severity::kERROR) return;
        try {
            const std::lock_guard<std::mutex> held(lock_);
            if (first_.empty()) first_ = one_line(message);
        } catch (const std::exception&) {  // then the line does not say why
        }
    }
    std::string first() {
        const std::lock_guard<std::mutex> held(lock_);
        return first_.empty() ? "and does not say why" : first_;
    }
    void forget() {
        const std::lock_guard<std::mutex> held(lock_);
        first_.clear();
    }

private:
    std::mutex lock_;
    std::string first_;
};

// All objects of TensorRT share it, for it heeds only the first one of a process; and it is to outlive them all.
Log& the_log() {
    static Log& log = *new Log;
    return log;
}

// Made once in a process. It is never deleted: at the end of a process the GPU's driver may be gone before it.
nvinfer1::IRuntime& the_runtime() {
    static nvinfer1::IRuntime* const runtime = nvinfer1::createInferRuntime(the_log());
    if (runtime == nullptr) throw Error(SAMCLIP_ENGINE, "TensorRT: does not start (" + first_error() + ")");
    return *runtime;
}

// The version that runs here: "10.3.0".
std::string version() {
    const int32_t number = getInferLibVersion();
    return std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
           std::to_string(number % 100);
}

// "10.13.3" of "10.13.3.9": TensorRT itself heeds the fourth number.
std::string three_numbers(const std::string& text) {
    size_t end = 0;
    for (int k = 0; k < 3 && end != text.npos; ++k) end = text.find('.', end == 0 ? 0 : end + 1);
    return text.substr(0, end);
}

void check_engines(const samclip_graph& graph, const std::string& capability) {
    const std::string folder = graph.bundle, mend = "build them here: sh " + folder + "/build.sh";
    if (graph.built_engines == nullptr) throw InputError(folder + ": has no engines yet; " + mend);
    const samclip_built_engines& built = *graph.built_engines;
    std::string made_for;
    bool found = false;
    for (size_t k = 0; k < built.capability_count; ++k) {
        made_for += (k == 0 ? "" : ", ") + std::string(built.capabilities[k]);
        found = found || built.capabilities[k] == capability;
    }
    if (!found) {
        throw InputError(folder + ": engines for compute capability " + made_for + "; this GPU is " + capability +
                         "; " + mend);
    }
    const std::string builder = built.builder, here = version();
    if (builder != "tensorrt") {
        throw InputError(folder + ": engines of " + builder + " " + built.version + "; here is tensorrt " + here +
                         "; " + mend);
    }
    if (three_numbers(built.version) != here && built.portable == 0) {
        throw InputError(folder + ": engines of " + builder + " " + built.version + "; here is " + here + "; " + mend);
    }
}

// Give an engine without weights those of its ONNX graph. Returns whether they fit.
bool refit(nvinfer1::ICudaEngine& engine, const samclip_graph& graph) {
    const char* onnx = graph.file_count > 1 ? graph.files[1].whole : nullptr;
    if (onnx == nullptr) return false;
    const std::unique_ptr<nvinfer1::IRefitter> refitter(nvinfer1::createInferRefitter(engine, the_log()));
    if (refitter == nullptr) return false;
    const std::unique_ptr<nvonnxparser::IParserRefitter> parser(
        nvonnxparser::createParserRefitter(*refitter, the_log()));
    return parser != nullptr && parser->refitFromFile(onnx) && refitter->refitCudaEngine();
}

}  // namespace

std::string first_error() { return the_log().first(); }

void forget_errors() { the_log().forget(); }

std::unique_ptr<nvinfer1::ICudaEngine> read_engine(const samclip_graph& graph, const std::string& path,
                                                   const std::string& capability) {
    if (std::string(graph.target) != "tensorrt") {
        throw InputError(std::string(graph.bundle) + ": is for target " + graph.target +
                         "; export the bundle for target tensorrt");
    }
    check_engines(graph, capability);
    static std::mutex opening;  // of the runtime's setting, and of the first error
    const std::lock_guard<std::mutex> held(opening);
    forget_errors();
    nvinfer1::IRuntime& runtime = the_runtime();
    runtime.setEngineHostCodeAllowed(graph.built_engines->portable != 0);  // code of the file, which was checked
    std::unique_ptr<nvinfer1::ICudaEngine> engine(
        runtime.deserializeCudaEngine(graph.files[0].data, graph.files[0].bytes));
    if (engine == nullptr) {
        throw InputError(path + ": tensorrt refuses it (" + first_error() + "); build it again: sh build.sh");
    }
    if (graph.built_engines->stripped != 0 && !refit(*engine, graph)) {
        throw InputError(path + ": its weights do not fit (" + first_error() + "); build it again: sh build.sh");
    }
    return engine;
}

}  // namespace samclip
