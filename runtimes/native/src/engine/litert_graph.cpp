#include "engine/litert_graph.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "error.hpp"

namespace samclip {

namespace {

// How many prompts or texts a call has: what stands in the first place of an input whose first dimension is open.
int64_t batch_of(const std::vector<samclip_port>& ports, const std::vector<const HostTensor*>& inputs) {
    for (size_t k = 0; k < ports.size(); ++k) {
        if (ports[k].dimensions > 0 && ports[k].shape[0] < 0) return inputs[k]->shape[0];
    }
    return 1;
}

// Those of XNNPACK (`xnnpack_delegate.h`): for signed and unsigned int8, as LiteRT sets them by itself; and with large
// images for convolutions that look up in each run which pixels they read, where each would keep a table of them.
unsigned flags(const std::vector<samclip_port>& ports) {
    constexpr unsigned kInt8 = 0x01 | 0x02, kNoTables = 0x20;
    constexpr int64_t kLarge = 512 * 512;
    const bool large = std::any_of(ports.begin(), ports.end(), [](const samclip_port& port) {
        return port.dimensions == 4 && port.shape[2] * port.shape[3] > kLarge;
    });
    return large ? kInt8 | kNoTables : kInt8;
}

// A text may be filled up with 0: what stands after its end changes nothing.
bool may_grow(const samclip_port& port, size_t axis) { return port.type == SAMCLIP_INT32 && axis == 1; }

}  // namespace

LiteRtGraph::LiteRtGraph(const samclip_graph& graph)
    : api_(litert()),
      path_(graph.files[0].whole != nullptr ? graph.files[0].whole : graph.files[0].path),
      input_ports_(graph.inputs, graph.inputs + graph.input_count),
      output_ports_(graph.outputs, graph.outputs + graph.output_count),
      model_(nullptr, api_.DestroyModel),
      compiled_(nullptr, api_.DestroyCompiledModel) {
    for (const auto* ports : {&input_ports_, &output_ports_}) {
        for (const samclip_port& port : *ports) names_.emplace_back(port.name);
    }
    for (size_t k = 0; k < names_.size(); ++k) {
        (k < input_ports_.size() ? input_ports_[k] : output_ports_[k - input_ports_.size()]).name = names_[k].c_str();
    }
    const samclip_graph_file& file = graph.files[0];
    LiteRtObject model = nullptr, options = nullptr, own = nullptr, compiled = nullptr;
    if (api_.CreateModelFromBuffer(api_.environment, file.data, file.bytes, &model) != 0) {
        throw InputError(path_ + ": LiteRT refuses it; export the bundle again");
    }
    model_.reset(model);
    const unsigned threads =
        graph.threads > 0 ? static_cast<unsigned>(graph.threads) : std::max(std::thread::hardware_concurrency(), 1u);
    // XNNPACK then lays out weights once for all signatures, in memory.
    const std::string told = "num_threads = " + std::to_string(threads) +
                             "\nflags = " + std::to_string(flags(input_ports_)) +
                             "\nweight_cache_file_path = \":memory\"\n";
    bool made = api_.CreateOptions(&options) == 0;
    made = made && api_.SetOptionsHardwareAccelerators(options, kLiteRtCpu) == 0;
    made = made && api_.CreateOpaqueOptions("xnnpack", strdup(told.c_str()), std::free, &own) == 0;
    made = made && api_.AddOpaqueOptions(options, own) == 0;
    made = made && api_.CreateCompiledModel(api_.environment, model, options, &compiled) == 0;
    if (options != nullptr) api_.DestroyOptions(options);
    if (!made) throw InputError(path_ + ": LiteRT refuses it; export the bundle again");
    compiled_.reset(compiled);
    find_signatures(model);
    if (signatures_.empty()) {
        throw InputError(path_ + ": has no signature for " + graph.name + " as the manifest says; export it again");
    }
}

LiteRtGraph::~LiteRtGraph() {
    for (Signature& signature : signatures_) {
        for (auto* places : {&signature.inputs, &signature.outputs}) {
            for (Place& place : *places) {
                if (place.buffer != nullptr) api_.DestroyTensorBuffer(place.buffer);
            }
        }
    }
}

void LiteRtGraph::check(int status, const char* what) const {
    if (status != 0) {
        throw Error(SAMCLIP_ENGINE, path_ + ": LiteRT does not " + what + " (status " + std::to_string(status) +
                                        "); free memory, or export the bundle again");
    }
}

void LiteRtGraph::find_signatures(LiteRtObject model) {
    size_t count = 0;
    check(api_.GetNumModelSignatures(model, &count), "list its signatures");
    for (size_t index = 0; index < count; ++index) {
        LiteRtObject signature = nullptr;
        check(api_.GetModelSignature(model, index, &signature), "list its signatures");
        Signature found{index, {}, {}};
        if (read(signature, true, found.inputs) && read(signature, false, found.outputs)) {
            signatures_.push_back(std::move(found));
        }
    }
}

// The inputs or outputs of a signature, in the graph's order. Returns false where it is for another size.
bool LiteRtGraph::read(LiteRtObject signature, bool inputs, std::vector<Place>& places) const {
    const std::vector<samclip_port>& ports = inputs ? input_ports_ : output_ports_;
    const auto count_places = inputs ? api_.GetNumSignatureInputs : api_.GetNumSignatureOutputs;
    const auto name_of_place = inputs ? api_.GetSignatureInputName : api_.GetSignatureOutputName;
    const auto tensor_of = inputs ? api_.GetSignatureInputTensorByIndex : api_.GetSignatureOutputTensorByIndex;
    size_t count = 0;
    check(count_places(signature, &count), "list its tensors");
    if (count != ports.size()) return false;
    for (const samclip_port& port : ports) {
        bool known = false;
        for (size_t index = 0; index < count && !known; ++index) {
            const char* name = nullptr;
            check(name_of_place(signature, index, &name), "list its tensors");
            if (std::strcmp(name, port.name) != 0) continue;
            known = true;
            LiteRtObject tensor = nullptr;
            Place place{index, {}, {}, nullptr};
            check(tensor_of(signature, index, &tensor), "list its tensors");
            check(api_.GetRankedTensorType(tensor, &place.type), "tell a tensor's shape");
            if (place.type.rank != port.dimensions || place.type.rank > SAMCLIP_MOST_DIMENSIONS) return false;
            place.shape.assign(place.type.dimensions, place.type.dimensions + place.type.rank);
            const int element = port.type == SAMCLIP_INT32 ? kLiteRtInt32 : kLiteRtFloat32;
            if (place.type.element != element) return false;
            for (size_t axis = 0; axis < port.dimensions; ++axis) {
                if (place.shape[axis] < 1) return false;
                if (port.shape[axis] >= 0 && port.shape[axis] != place.shape[axis]) return false;
            }
            places.push_back(std::move(place));
        }
        if (!known) return false;
    }
    return true;
}

// The signature of the most prompts, up to `most`, that takes such inputs; of texts, the shortest that holds them.
LiteRtGraph::Signature* LiteRtGraph::fitting(const std::vector<const HostTensor*>& inputs, int64_t most) {
    Signature* best = nullptr;
    int64_t batch = 0, spare = 0;
    for (Signature& signature : signatures_) {
        bool fits = true;
        int64_t own = 0, grown = 0;  // prompts, or texts; 0 where no input has such a dimension
        for (size_t k = 0; k < inputs.size(); ++k) {
            const Shape &has = signature.inputs[k].shape, &wants = inputs[k]->shape;
            for (size_t axis = 0; axis < has.size(); ++axis) {
                if (axis == 0 && input_ports_[k].shape[0] < 0) {
                    fits = fits && (own == 0 || own == has[0]) && wants[0] == batch_of(input_ports_, inputs);
                    own = has[0];
                } else if (may_grow(input_ports_[k], axis) && has[axis] > wants[axis]) {
                    grown += has[axis] - wants[axis];
                } else if (has[axis] != wants[axis]) {
                    fits = false;
                }
            }
        }
        own = std::max<int64_t>(own, 1);
        for (size_t k = 0; k < output_ports_.size() && fits; ++k) {
            fits = output_ports_[k].shape[0] >= 0 || signature.outputs[k].shape[0] == own;
        }
        if (!fits || own > most) continue;
        if (best == nullptr || own > batch || (own == batch && grown < spare)) {
            best = &signature;
            batch = own;
            spare = grown;
        }
    }
    return best;
}

std::vector<std::unique_ptr<HostTensor>> LiteRtGraph::run(void* const* given) {
    std::vector<const HostTensor*> inputs;
    for (size_t k = 0; k < input_ports_.size(); ++k) {
        inputs.push_back(static_cast<const HostTensor*>(given[k]));
        if (inputs[k]->shape.size() != input_ports_[k].dimensions) {
            throw Error(SAMCLIP_ENGINE, path_ + ": is given a tensor of another shape");
        }
    }
    const std::lock_guard<std::mutex> held(lock_);
    const int64_t batch = batch_of(input_ports_, inputs);
    std::vector<std::unique_ptr<HostTensor>> outputs;
    for (int64_t from = 0; from < batch;) {
        Signature* signature = fitting(inputs, batch - from);
        if (signature == nullptr) {
            throw InputError(path_ + ": has no signature for a call of these numbers; export it with one");
        }
        if (outputs.empty()) {
            for (size_t k = 0; k < output_ports_.size(); ++k) {
                Shape shape = signature->outputs[k].shape;
                if (output_ports_[k].shape[0] < 0) shape[0] = batch;
                outputs.push_back(std::make_unique<HostTensor>(output_ports_[k].type, std::move(shape)));
            }
        }
        run_part(*signature, inputs, from, outputs);
        int64_t own = 1;
        for (size_t k = 0; k < inputs.size(); ++k) {
            if (input_ports_[k].shape[0] < 0) own = signature->inputs[k].shape[0];
        }
        from += own;
    }
    return outputs;
}

void LiteRtGraph::make_buffers(Signature& signature) {
    for (const bool inputs : {true, false}) {
        const auto requirements_of =
            inputs ? api_.GetCompiledModelInputBufferRequirements : api_.GetCompiledModelOutputBufferRequirements;
        for (Place& place : inputs ? signature.inputs : signature.outputs) {
            if (place.buffer != nullptr) continue;
            LiteRtObject needed = nullptr;
            check(requirements_of(compiled_.get(), signature.index, place.index, &needed), "tell what a buffer needs");
            check(api_.CreateManagedTensorBufferFromRequirements(api_.environment, &place.type, needed, &place.buffer),
                  "make a buffer");
        }
    }
}

void LiteRtGraph::run_part(Signature& signature, const std::vector<const HostTensor*>& inputs, int64_t from,
                           std::vector<std::unique_ptr<HostTensor>>& outputs) {
    make_buffers(signature);
    std::vector<LiteRtObject> in(signature.inputs.size()), out(signature.outputs.size());
    for (size_t k = 0; k < inputs.size(); ++k) {
        const Place& place = signature.inputs[k];
        in[place.index] = place.buffer;
        void* memory = nullptr;
        check(api_.LockTensorBuffer(place.buffer, &memory, kLiteRtWrite), "give its buffer");
        auto* into = static_cast<uint32_t*>(memory);
        const bool cut = input_ports_[k].shape[0] < 0;
        const size_t rows = static_cast<size_t>(cut ? place.shape[0] : 1), first = cut ? static_cast<size_t>(from) : 0;
        const size_t own = inputs[k]->values.size() / static_cast<size_t>(cut ? inputs[k]->shape[0] : 1);
        const size_t width = count_of(place.shape) / rows;  // wider than `own` where a text is filled up
        for (size_t row = 0; row < rows; ++row) {
            std::memcpy(into + row * width, inputs[k]->values.data() + (first + row) * own, own * 4);
            std::memset(into + row * width + own, 0, (width - own) * 4);
        }
        check(api_.UnlockTensorBuffer(place.buffer), "take its buffer back");
    }
    for (const Place& place : signature.outputs) out[place.index] = place.buffer;
    check(api_.RunCompiledModel(compiled_.get(), signature.index, in.size(), in.data(), out.size(), out.data()), "run");
    for (size_t k = 0; k < outputs.size(); ++k) {
        const Place& place = signature.outputs[k];
        void* memory = nullptr;
        check(api_.LockTensorBuffer(place.buffer, &memory, kLiteRtRead), "give its buffer");
        const size_t count = count_of(place.shape);
        const size_t start = output_ports_[k].shape[0] < 0
                                 ? static_cast<size_t>(from) * (count / static_cast<size_t>(place.shape[0]))
                                 : 0;  // what all prompts share comes with each part, and is the same
        std::memcpy(outputs[k]->values.data() + start, memory, count * 4);
        check(api_.UnlockTensorBuffer(place.buffer), "take its buffer back");
    }
}

}  // namespace samclip
