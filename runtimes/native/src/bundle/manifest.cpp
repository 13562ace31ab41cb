#include "bundle/manifest.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "bundle/contract.hpp"
#include "bundle/manifest_parts.hpp"
#include "error.hpp"
#include "python_repr.hpp"

namespace samclip {
namespace {

constexpr uint64_t kFormat = 2;  // the newest that this version reads

// What `_whole` of Python compares before a graph becomes a `Graph`.
struct GraphEntry {
    Graph graph;
    Signature signature;
};

std::string shown(GraphName name, const std::optional<Size>& size) {
    return python_tuple({python_repr(name_of(name)), size ? size_repr(*size) : "None"});
}

TensorSpec read_tensor(const Field& field) {
    TensorSpec tensor;
    Record record(field, "Tensor");
    tensor.name = record.required("name").text();
    tensor.integers = record.one_of("dtype", {"float32", "int32"}) == 1;
    for (const Field& side : record.required("shape").list()) {
        if (side.json().is_string()) tensor.shape.emplace_back(side.text());
        else tensor.shape.emplace_back(side.under("int").whole(-kMost, kMost));
    }
    record.close();
    return tensor;
}

std::vector<TensorSpec> read_tensors(const Field& field) {
    std::vector<TensorSpec> tensors;
    for (const Field& each : field.list()) tensors.push_back(read_tensor(each));
    return tensors;
}

Signature read_signature(const Field& field) {
    Record record(field, "Signature");
    Signature signature;
    signature.inputs = read_tensors(record.required("inputs"));
    signature.outputs = read_tensors(record.required("outputs"));
    record.close();
    return signature;
}

std::vector<LiteRtCall> read_calls(const Field& field) {
    std::vector<LiteRtCall> calls;
    for (const Field& each : field.list()) {
        Record record(each, "Call");
        LiteRtCall call;
        call.function = record.required("function").text();
        const Field sides = record.required("sides");
        for (const Field& side : sides.entries()) {
            call.sides[side.where().substr(side.where().rfind('.') + 1)] = side.whole(1);
        }
        record.close();
        calls.push_back(std::move(call));
    }
    return calls;
}

GraphEntry read_graph(const Field& field) {
    static const std::vector<std::string> names = {"image_encoder", "clip_head",    "prompt_encoder",
                                                   "mask_decoder",  "text_encoder", "clip_image_encoder"};
    GraphEntry entry;
    Graph& graph = entry.graph;
    Record record(field, "Graph");
    graph.name = static_cast<GraphName>(record.required("name").one_of(names));
    if (const auto size = record.nullable("size")) graph.size = read_size(*size);
    graph.files = read_files(record.required("files"), 1);
    const auto engine = record.nullable(record.has("engine") ? "engine" : "built_engine");
    if (engine) graph.built_engine = read_file(*engine);
    if (const auto function = record.given("function")) graph.function = function->text();
    record.truth("image", false);
    if (const auto points = record.nullable("points")) graph.points = static_cast<int>(points->whole(1, kMost));
    if (const auto calls = record.given("calls")) graph.calls = read_calls(*calls);
    if (const auto operators = record.given("operators")) {
        for (const Field& each : operators->entries()) each.whole();
    }
    if (const auto left = record.given("left_to_cpu")) {
        for (const Field& each : left->entries()) check_texts(each.list());
    }
    entry.signature = read_signature(record.required("signature"));
    check_parity(record.required("parity"), "Parity");
    check_references(record.required("reference"));
    if (const auto layers = record.given("in_float")) check_texts(layers->list());
    if (const auto moved = record.given("moved")) check_parity(*moved, "Moved");
    if (const auto steps = record.nullable("steps")) read_file(*steps);
    record.close();
    return entry;
}

std::vector<Port> ports(const std::vector<TensorSpec>& tensors) {
    std::vector<Port> found;
    for (const TensorSpec& tensor : tensors) {
        Port port{tensor.name, tensor.integers, {}};
        for (const TensorSpec::Dimension& side : tensor.shape) {
            const auto* letter = std::get_if<std::string>(&side);
            port.shape.push_back(letter ? Side{0, letter->at(0)} : Side{std::get<int64_t>(side), 0});
        }
        found.push_back(std::move(port));
    }
    return found;
}

// Hold a graph to the contract, and take from its signature what a call needs. whole: the manifest.
void keep_contract(GraphEntry& entry, const ModelSpec& spec, const Record& whole) {
    Graph& graph = entry.graph;
    try {
        const Signature contract = signature(spec, graph.name, graph.size.value_or(Size{}));
        for (const auto& [letter, stands] : fixed_sides(entry.signature, contract)) {
            if (const auto* number = std::get_if<int64_t>(&stands)) graph.fixed[letter[0]] = *number;
            else if (std::get<std::string>(stands) != letter) graph.own_masks = true;
        }
    } catch (const std::invalid_argument& error) {
        const std::string name = name_of(graph.name);
        whole.wrong("the signature of " + name + " is not the contract's (" + error.what() + ")");
    }
    graph.inputs = ports(entry.signature.inputs);
    graph.outputs = ports(entry.signature.outputs);
}

// The graphs are one each of those that the model has at the sizes of the bundle.
void check_graphs(const Manifest& manifest, const ModelSpec& spec, const std::vector<GraphEntry>& entries,
                  const Record& whole) {
    std::vector<std::string> have, want;
    for (const GraphEntry& each : entries) have.push_back(shown(each.graph.name, each.graph.size));
    for (const GraphName name : sized(spec)) {
        for (const Size& size : manifest.sizes) want.push_back(shown(name, size));
    }
    if (manifest.tokenizer) want.push_back(shown(GraphName::text_encoder, {}));
    if (manifest.side_by_side) want.push_back(shown(GraphName::clip_image_encoder, {}));
    std::sort(want.begin(), want.end());
    want.erase(std::unique(want.begin(), want.end()), want.end());  // a size may stand twice
    std::vector<std::string> sorted = have;
    std::sort(sorted.begin(), sorted.end());
    if (sorted != want) whole.wrong("the graphs " + python_list(have) + " are not one each of " + python_list(want));
}

// The rules that hold between fields (`Manifest._whole`).
void check_whole(Manifest& manifest, const ModelSpec& spec, std::vector<GraphEntry>& entries, bool engines,
                 const Record& whole) {
    const bool two = spec.clip_vision.has_value();
    if (manifest.side_by_side != two) {
        const std::string kinds[] = {"merged", "sam+clip"};
        whole.wrong("kind " + kinds[manifest.side_by_side] + " holds a spec of kind " + kinds[two]);
    }
    check_graphs(manifest, spec, entries, whole);
    for (GraphEntry& each : entries) {
        keep_contract(each, spec, whole);
        if (each.graph.built_engine.has_value() != engines) {
            const std::string name = name_of(each.graph.name);
            whole.wrong("`engine` of " + name + " and `engines` of the bundle must be given together");
        }
        manifest.graphs.push_back(std::move(each.graph));
    }
}

int read_format(const Field& field) {
    const Json& value = field.json();
    const bool number = value.is_number() || value.is_boolean();
    const double found = number ? field.number() : 0;
    if (found != 1 && found != 2) field.refuse("Input should be 1 or 2");
    return static_cast<int>(found);
}

Manifest read_manifest(const Json& json) {
    static const std::vector<std::string> precisions = {"fp32", "fp16", "int8", "palette8", "palette6"};
    Manifest manifest;
    Record record(Field(json, ""), "Manifest");
    if (const auto format = record.given("format")) manifest.format = read_format(*format);
    manifest.side_by_side = record.one_of("kind", {"merged", "sam+clip"}) == 1;
    manifest.target = record.required("target").choice({"onnx", "coreml", "tensorrt", "litert"});
    manifest.precision = record.required("precision").choice(precisions);
    const ModelSpec spec = read_spec(record.required("spec"));
    manifest.features = spec.features;
    manifest.guidance = spec.guidance;
    manifest.max_grid = spec.max_grid;
    manifest.text_spec = spec.text;
    manifest.clip_vision = spec.clip_vision;
    manifest.sizes = read_sizes(record.required("sizes"), 1);
    manifest.trained = record.required("trained").truth();
    if (const auto sizes = record.nullable("trained_at")) manifest.trained_at = read_sizes(*sizes, 0);
    record.required("origin").text();
    if (const auto weights = record.given("weights")) check_weights(*weights);
    record.required("producer").text();
    std::vector<GraphEntry> entries;
    for (const Field& each : record.required("graphs").list()) entries.push_back(read_graph(each));
    read_text(record.required("text"), manifest);
    if (const auto calibration = record.nullable("calibration")) manifest.calibration = read_calibration(*calibration);
    if (const auto vectors = record.given("vectors")) read_files(*vectors, 0);
    const auto engines = record.nullable(record.has("engines") ? "engines" : "built_engines");
    if (engines) manifest.built_engines = read_engines(*engines);
    if (const auto script = record.nullable("script")) read_file(*script);
    const auto quantisation = record.nullable("quantisation");
    const bool fixed_scales = quantisation && quantisation->choice({"dynamic", "qdq", "static", "weights"}) == "qdq";
    manifest.dynamic = manifest.target == "onnx" && manifest.precision == "int8" && !fixed_scales;
    if (const auto measured_on = record.nullable("measured_on")) measured_on->text();
    record.close();
    check_whole(manifest, spec, entries, engines.has_value(), record);
    return manifest;
}

// Python's name of the type of a JSON value that is no object.
const char* python_type(const Json& json) {
    if (json.is_null()) return "NoneType";
    if (json.is_boolean()) return "bool";
    if (json.is_string()) return "str";
    if (json.is_array()) return "list";
    return json.is_number_float() ? "float" : "int";
}

}  // namespace

const char* name_of(GraphName graph) {
    switch (graph) {
        case GraphName::image_encoder: return "image_encoder";
        case GraphName::clip_head: return "clip_head";
        case GraphName::prompt_encoder: return "prompt_encoder";
        case GraphName::mask_decoder: return "mask_decoder";
        case GraphName::text_encoder: return "text_encoder";
        case GraphName::clip_image_encoder: return "clip_image_encoder";
    }
    return "";
}

std::vector<int64_t> Graph::taken(const std::string& letter) const {
    if (letter == "N" && points) return {*points};
    std::set<int64_t> found;
    for (const LiteRtCall& call : calls) {
        const auto side = call.sides.find(letter);
        if (side != call.sides.end()) found.insert(side->second);
    }
    return {found.begin(), found.end()};
}

const Graph* Manifest::find(GraphName name, const std::optional<Size>& size) const {
    for (const Graph& graph : graphs) {
        if (graph.name == name && graph.size == size) return &graph;
    }
    return nullptr;
}

Size Manifest::names_size() const {
    const std::vector<Size>& at = trained && !trained_at.empty() ? trained_at : sizes;
    const auto among = [&at](const Size& size) { return std::find(at.begin(), at.end(), size) != at.end(); };
    const auto found = std::find_if(sizes.begin(), sizes.end(), among);
    return found == sizes.end() ? sizes.front() : *found;
}

Manifest parse_manifest(std::string_view text, const std::string& shown) {
    const auto no_manifest = [&shown](const std::string& reason) {
        return InputError(shown + ": not a manifest (" + reason + "); export the bundle again");
    };
    Json json;
    try {
        json = parse_json(text, false);
    } catch (const std::invalid_argument& error) {
        throw no_manifest(error.what());
    }
    if (!json.is_object()) throw no_manifest(std::string("'") + python_type(json) + "' object has no attribute 'get'");
    const auto format = json.find("format");
    if (format != json.end() && format->is_number_unsigned() && format->get<uint64_t>() > kFormat) {
        throw InputError(shown + ": format " + format->dump() + " is newer than " + std::to_string(kFormat) +
                         ", which this version reads; upgrade it");
    }
    try {
        return read_manifest(json);
    } catch (const FieldError& error) {
        throw InputError(shown + ": " + (error.where.empty() ? "manifest" : error.where) + ": " + error.reason +
                         "; export the bundle again");
    }
}

}  // namespace samclip
