#include "engine/sessions.hpp"

#include <algorithm>

#include "engine/device.hpp"
#include "engine/engine_litert.hpp"
#include "engine/engine_onnxruntime.hpp"
#ifdef SAMCLIP_EDGE_TENSORRT
#include "engine/engine_tensorrt.hpp"
#endif

namespace samclip {

namespace {

std::vector<samclip_port> ports_of(const std::vector<Port>& ports) {
    std::vector<samclip_port> made;
    for (const Port& port : ports) {
        samclip_port each = {};
        each.name = port.name.c_str();
        each.type = port.integers ? SAMCLIP_INT32 : SAMCLIP_FLOAT32;
        each.dimensions = std::min<size_t>(port.shape.size(), SAMCLIP_MOST_DIMENSIONS);
        for (size_t k = 0; k < each.dimensions; ++k) each.shape[k] = port.shape[k].open() ? -1 : port.shape[k].number;
        made.push_back(each);
    }
    return made;
}

// capabilities: takes what the answer points to.
samclip_built_engines told_of(const BuiltEngines& built, std::vector<const char*>& capabilities) {
    for (const std::string& each : built.capabilities) capabilities.push_back(each.c_str());
    return {built.builder.c_str(), built.version.c_str(), capabilities.data(),
            capabilities.size(),   built.portable,        built.stripped};
}

}  // namespace

Sessions::Sessions(std::unique_ptr<Files> files, Manifest manifest, const samclip_options& options)
    : files_(std::move(files)),
      manifest_(std::move(manifest)),
      threads_(std::max(options.threads, 0)),
      device_(options.device == nullptr ? "cpu" : options.device) {
    if (options.engine != nullptr) {
        if (options.engine->size < sizeof(samclip_engine)) {
            throw InputError("engine: its table is too small; set its size");
        }
        engine_ = std::make_shared<const samclip_engine>(*options.engine);
        if (!engine_->open || !engine_->close || !engine_->make || !engine_->free || !engine_->layout ||
            !engine_->fill || !engine_->read || !engine_->run) {
            throw InputError("engine: its table lacks a function; set them all");
        }
        return;
    }
#ifdef SAMCLIP_EDGE_TENSORRT
    if (manifest_.target == "tensorrt") {
        if (device_ != "tensorrt" && !on_cpu(providers_of(device_))) {
            throw InputError("device " + device_ + ": " + folder() +
                             " is for target tensorrt; leave the device out, or export the bundle for target onnx");
        }
        engine_ = std::make_shared<const samclip_engine>(tensorrt_engine(nullptr));
        return;
    }
#endif
    if (manifest_.target == "litert") {
        if (!on_cpu(providers_of(device_))) {
            throw InputError("device " + device_ + ": " + folder() +
                             " is for target litert; leave the device out, or export the bundle for target onnx");
        }
        engine_ = std::make_shared<const samclip_engine>(litert_engine());
        return;
    }
    if (manifest_.target != "onnx") {
        throw InputError(files_->given() + ": is for target " + manifest_.target +
                         ", whose engine is not built in; hand one in, or export the bundle for target onnx");
    }
    providers_of(device_);  // throws for what is none
    engine_ = std::make_shared<const samclip_engine>(onnxruntime_engine());
    builtin_ = true;
}

Sessions::~Sessions() {
    for (std::thread& each : preparing_) each.join();
}

const std::string& Sessions::folder() const { return files_->folder().empty() ? files_->given() : files_->folder(); }

const Graph& Sessions::graph(GraphName name, const std::optional<Size>& size) const {
    const Graph* found = manifest_.find(name, size);
    if (found != nullptr) return *found;
    throw InputError(files_->given() + ": has no " + name_of(name) + " at size " + (size ? size->text() : "None"));
}

size_t Sessions::workers() const {
    if (!builtin_ || !on_cpu(providers_of(device_))) return 1;
    return threads_ > 0 ? static_cast<size_t>(threads_) : std::max(std::thread::hardware_concurrency(), 1u);
}

const Session& Sessions::open(GraphName name, const std::optional<Size>& size, bool serial) {
    const Graph& wanted = graph(name, size);
    Entry* entry = nullptr;
    {
        const std::lock_guard<std::mutex> held(lock_);
        auto& place = entries_[{name, size, serial}];
        if (place == nullptr) place = std::make_unique<Entry>();
        entry = place.get();
    }
    const std::lock_guard<std::mutex> held(entry->opening);
    if (entry->session == nullptr) open_entry(*entry, wanted, serial ? 1 : threads_);
    return *entry->session;
}

void Sessions::open_entry(Entry& entry, const Graph& graph, int threads) {
    const bool has_engines = manifest_.target == "tensorrt" && manifest_.built_engines;
    const BuiltEngines* built = has_engines ? &*manifest_.built_engines : nullptr;
    std::vector<File> needed;
    std::vector<std::string> paths;  // empty where an engine is to read the bytes
    const auto need = [&](const std::vector<File>& together) {
        const auto found = files_->paths(together);
        for (size_t k = 0; k < together.size(); ++k) {
            needed.push_back(together[k]);
            paths.push_back(found ? (*found)[k] : "");
        }
    };
    if (built != nullptr) need({*graph.built_engine});
    if (built == nullptr || built->stripped) need(graph.files);
    entry.mapped.clear();
    for (const File& file : needed) entry.mapped.push_back(files_->checked(file));
    std::vector<samclip_graph_file> given;
    for (size_t k = 0; k < needed.size(); ++k) {
        const Mapping& bytes = *entry.mapped[k];
        const char* whole = paths[k].empty() ? nullptr : paths[k].c_str();
        given.push_back({needed[k].path.c_str(), whole, bytes.data(), bytes.size()});
    }
    const std::vector<samclip_port> inputs = ports_of(graph.inputs), outputs = ports_of(graph.outputs);
    samclip_graph told = {};
    told.size = sizeof told;
    told.name = name_of(graph.name);
    told.target = manifest_.target.c_str();
    told.precision = manifest_.precision.c_str();
    told.function = graph.function.c_str();
    told.files = given.data();
    told.file_count = given.size();
    told.inputs = inputs.data();
    told.input_count = inputs.size();
    told.outputs = outputs.data();
    told.output_count = outputs.size();
    told.threads = threads;
    told.device = device_.c_str();
    told.bundle = folder().c_str();
    std::vector<const char*> capabilities;
    const samclip_built_engines engines = has_engines ? told_of(*built, capabilities) : samclip_built_engines{};
    told.built_engines = has_engines ? &engines : nullptr;
    entry.session = std::make_unique<Session>(engine_, told);
}

void Sessions::prepare(const Size& size) {
    const auto begin = [this, size](const std::vector<GraphName>& names, bool starts_engine) {
        try {
            if (starts_engine && builtin_) start_onnxruntime();
            for (const GraphName name : names) open(name, size);
        } catch (const std::exception&) {  // thrown again where the graph is asked for
        }
    };
    // While the first thread reads and hashes the weights, the second starts the engine.
    const std::lock_guard<std::mutex> held(lock_);
    if (!prepared_.insert(size).second) return;  // begun before
    preparing_.emplace_back(begin, std::vector<GraphName>{GraphName::image_encoder}, false);
    preparing_.emplace_back(begin, std::vector<GraphName>{GraphName::mask_decoder, GraphName::prompt_encoder}, true);
}

}  // namespace samclip
