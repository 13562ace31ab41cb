// The stand-in of TensorRT. A built engine is a text, which names an ONNX graph for ONNX Runtime to run, and bounds of
// shapes:
//     stand-in of an engine
//     onnx /tmp/bundle/prompt_encoder_256.onnx        left out where the weights are stripped
//     points 1x0x2 64x32x2                            the least and the most of an input
#include <NvInferRuntime.h>
#include <NvOnnxParser.h>

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <sstream>

#include "stand_in.hpp"

using namespace nvinfer1;
using stand_in::gpu;
using Shape = std::vector<int64_t>;
using Held = std::lock_guard<std::recursive_mutex>;

namespace {

size_t bytes_of(const Shape& shape) {
    return std::accumulate(shape.begin(), shape.end(), size_t{4},
                           [](size_t a, int64_t b) { return a * static_cast<size_t>(b); });
}

Dims dims_of(const Shape& shape) {
    Dims dims{};
    dims.nbDims = static_cast<int32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), dims.d);
    return dims;
}

Shape read_shape(const std::string& text) {
    Shape shape;
    std::istringstream sides(text);
    for (std::string side; std::getline(sides, side, 'x');) shape.push_back(std::stoll(side));
    return shape;
}

struct Port {
    std::string name;
    bool integers = false;
    Shape shape;                       // -1: open
    std::vector<std::string> letters;  // "" where it is a number
};

struct Bounds {
    Shape least, most;
};

std::vector<Port> ports_of(const Ort::Session& session, bool inputs) {
    Ort::AllocatorWithDefaultOptions allocator;
    std::vector<Port> ports;
    for (size_t k = 0; k < (inputs ? session.GetInputCount() : session.GetOutputCount()); ++k) {
        const Ort::TypeInfo type = inputs ? session.GetInputTypeInfo(k) : session.GetOutputTypeInfo(k);
        const auto info = type.GetTensorTypeAndShapeInfo();
        Port port;
        port.name =
            (inputs ? session.GetInputNameAllocated(k, allocator) : session.GetOutputNameAllocated(k, allocator)).get();
        port.integers = info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
        port.shape = info.GetShape();
        std::vector<const char*> letters(port.shape.size());
        info.GetSymbolicDimensions(letters.data(), letters.size());
        port.letters.assign(letters.begin(), letters.end());
        ports.push_back(port);
    }
    return ports;
}

class Engine : public ICudaEngine {
public:
    Engine(ILogger& logger, std::map<std::string, Bounds> bounds) : log(logger), profile(std::move(bounds)) {
        ++gpu().objects;
    }
    ~Engine() noexcept override {
        const Held held(gpu().lock);
        if (contexts != 0) gpu().misuses.emplace_back("an engine is deleted before its context");
        --gpu().objects;
    }
    void load(const std::string& onnx) {
        static Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "stand-in");
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(1);
        session = std::make_unique<Ort::Session>(env, onnx.c_str(), options);
        inputs = ports_of(*session, true);
        outputs = ports_of(*session, false);
        for (const Port& each : inputs) profile.insert({each.name, {each.shape, each.shape}});
    }
    const Port* find(const std::vector<Port>& ports, const std::string& name) const {
        const auto found =
            std::find_if(ports.begin(), ports.end(), [&](const Port& each) { return each.name == name; });
        return found == ports.end() ? nullptr : &*found;
    }
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override;
    DataType getTensorDataType(char const* name) const noexcept override {
        const Port* port = find(inputs, name);
        return port != nullptr && port->integers ? DataType::kINT32 : DataType::kFLOAT;
    }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
        return find(inputs, name)    ? TensorIOMode::kINPUT
               : find(outputs, name) ? TensorIOMode::kOUTPUT
                                     : TensorIOMode::kNONE;
    }
    Dims getProfileShape(char const* name, int32_t, OptProfileSelector select) const noexcept override {
        const Bounds& bounds = profile.at(name);
        return dims_of(select == OptProfileSelector::kMIN ? bounds.least : bounds.most);
    }
    int64_t getDeviceMemorySizeV2() const noexcept override {
        size_t bytes = 0;
        for (const auto& each : profile) bytes += bytes_of(each.second.most);
        return static_cast<int64_t>(bytes);
    }

    ILogger& log;
    std::map<std::string, Bounds> profile;
    std::unique_ptr<Ort::Session> session;
    std::vector<Port> inputs, outputs;
    int contexts = 0;
};

// All that a launch reads, as it is when it is launched.
struct Launch {
    Engine* engine;
    std::map<std::string, Shape> shapes;
    std::map<std::string, void*> addresses;
    void* memory;
    size_t size, needs;

    Shape shape_of(const Port& port) const {
        Shape shape = port.shape;
        for (const Port& input : engine->inputs) {
            for (size_t i = 0; i < input.shape.size(); ++i) {
                for (size_t k = 0; k < shape.size(); ++k) {
                    if (shape[k] < 0 && input.letters[i] == port.letters[k]) shape[k] = shapes.at(input.name)[i];
                }
            }
        }
        return shape;
    }
    void operator()() const {
        gpu().workspaces.insert(memory);
        if (size < needs || !gpu().holds(memory, needs)) {
            gpu().misuses.emplace_back("too little workspace");
            return;
        }
        std::memset(memory, 0xFF, needs);  // it is written to, and nothing that was there may be wanted after
        const auto host = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
        std::vector<const char*> names, wanted;
        std::vector<Ort::Value> values;
        for (const Port& each : engine->inputs) {
            const Shape& shape = shapes.at(each.name);
            void* const from = addresses.at(each.name);
            if (!gpu().holds(from, bytes_of(shape))) return;
            const auto type = each.integers ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
            values.push_back(Ort::Value::CreateTensor(host, from, bytes_of(shape), shape.data(), shape.size(), type));
            names.push_back(each.name.c_str());
        }
        for (const Port& each : engine->outputs) wanted.push_back(each.name.c_str());
        const auto given = engine->session->Run(Ort::RunOptions(nullptr), names.data(), values.data(), values.size(),
                                                wanted.data(), wanted.size());
        for (size_t k = 0; k < given.size(); ++k) {
            const Shape shape = given[k].GetTensorTypeAndShapeInfo().GetShape();
            if (shape != shape_of(engine->outputs[k])) {
                gpu().misuses.emplace_back("an output's shape is not as it said");
            }
            void* const to = addresses.at(wanted[k]);
            if (gpu().holds(to, bytes_of(shape))) std::memcpy(to, given[k].GetTensorRawData(), bytes_of(shape));
        }
    }
};

class Context : public IExecutionContext {
public:
    explicit Context(Engine& engine) : launch_{&engine, {}, {}, nullptr, 0, size_t(-1)} {
        ++engine.contexts;
        ++gpu().objects;
    }
    ~Context() noexcept override {
        const Held held(gpu().lock);
        --launch_.engine->contexts;
        --gpu().objects;
    }
    bool setInputShape(char const* name, Dims const& dims) noexcept override {
        const Bounds& bounds = launch_.engine->profile.at(name);
        const Shape shape(dims.d, dims.d + dims.nbDims);
        if (shape.size() != bounds.most.size()) return false;
        for (size_t k = 0; k < shape.size(); ++k) {
            if (shape[k] < bounds.least[k] || shape[k] > bounds.most[k]) return false;
        }
        launch_.shapes[name] = shape;
        launch_.needs = size_t(-1);  // until it is asked
        return true;
    }
    Dims getTensorShape(char const* name) const noexcept override {
        return dims_of(launch_.shape_of(*launch_.engine->find(launch_.engine->outputs, name)));
    }
    bool setTensorAddress(char const* name, void* data) noexcept override {
        launch_.addresses[name] = data;
        return data != nullptr && reinterpret_cast<uintptr_t>(data) % 16 == 0;
    }
    size_t updateDeviceMemorySizeForShapes() noexcept override {
        launch_.needs = 0;
        for (const auto& each : launch_.shapes) launch_.needs += bytes_of(each.second);
        if (gpu().knows_its_needs) return launch_.needs;
        launch_.needs = static_cast<size_t>(launch_.engine->getDeviceMemorySizeV2());
        return 0;
    }
    void setDeviceMemoryV2(void* memory, int64_t size) noexcept override {
        launch_.memory = memory;
        launch_.size = static_cast<size_t>(size);
    }
    bool enqueueV3(cudaStream_t stream) noexcept override {
        const Held held(gpu().lock);
        if (!gpu().why_not.empty()) {
            launch_.engine->log.log(ILogger::Severity::kWARNING, "this is no error");
            launch_.engine->log.log(ILogger::Severity::kERROR, (gpu().why_not + "\nand more").c_str());
            return false;
        }
        ++gpu().launches;
        gpu().put(stream, launch_);
        return true;
    }

private:
    Launch launch_;
};

IExecutionContext* Engine::createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
    if (strategy != ExecutionContextAllocationStrategy::kUSER_MANAGED) {
        gpu().misuses.emplace_back("a context takes memory for the most prompts");
    }
    const Held held(gpu().lock);
    return session == nullptr ? nullptr : new Context(*this);
}

class Runtime : public IRuntime {
public:
    explicit Runtime(ILogger& logger) : log_(logger) {}
    void setEngineHostCodeAllowed(bool) noexcept override {}
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override {
        const Held held(gpu().lock);
        std::istringstream plan(std::string(static_cast<const char*>(blob), size));
        std::string line, onnx;
        std::map<std::string, Bounds> bounds;
        std::getline(plan, line);
        if (line != "stand-in of an engine") {
            log_.log(ILogger::Severity::kERROR, "Error Code 1: Serialization (magicTag does not match)");
            return nullptr;
        }
        for (std::string name; plan >> name;) {
            std::string least, most;
            if (name == "onnx") std::getline(plan >> std::ws, onnx);
            else if (plan >> least >> most) bounds[name] = {read_shape(least), read_shape(most)};
        }
        auto engine = std::make_unique<Engine>(log_, bounds);
        if (!onnx.empty()) engine->load(onnx);
        return engine.release();
    }

private:
    ILogger& log_;
};

class Refitter : public IRefitter {
public:
    explicit Refitter(Engine& engine) : engine_(engine) {}
    bool refitCudaEngine() noexcept override { return engine_.session != nullptr; }
    Engine& engine_;
};

class ParserRefitter : public nvonnxparser::IParserRefitter {
public:
    explicit ParserRefitter(Engine& engine) : engine_(engine) {}
    bool refitFromFile(char const* onnx) noexcept override {
        const Held held(gpu().lock);
        if (gpu().weights_fit) engine_.load(onnx);
        else engine_.log.log(ILogger::Severity::kERROR, "Error Code 3: the weights are of another graph");
        return gpu().weights_fit;
    }

private:
    Engine& engine_;
};

}  // namespace

int32_t getInferLibVersion() noexcept { return gpu().version; }

IRuntime* nvinfer1::createInferRuntime(ILogger& logger) noexcept {
    Ort::InitApi(OrtGetApiBase()->GetApi(20));
    return new Runtime(logger);
}

IRefitter* nvinfer1::createInferRefitter(ICudaEngine& engine, ILogger&) noexcept {
    return new Refitter(static_cast<Engine&>(engine));
}

nvonnxparser::IParserRefitter* nvonnxparser::createParserRefitter(IRefitter& refitter, ILogger&) noexcept {
    return new ParserRefitter(static_cast<Refitter&>(refitter).engine_);
}
