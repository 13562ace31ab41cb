// An engine of the test's own, handed in through the table of functions as an app would. It answers with numbers of the
// right shapes, keeps its tensors away from the host, counts what crosses, and fails when it is told to.
#pragma once

#include <samclip_edge_engine.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

// How often each function was called.
struct Calls {
    std::map<std::string, int> filled, read;  // by graph and input or output: values that crossed
    int live = 0;                             // tensors and sessions that are not freed
};

class FakeEngine {
public:
    FakeEngine() {
        table_.size = sizeof table_;
        table_.context = this;
        table_.open = open;
        table_.close = [](void* self, void* session) { of(self).lives(-1), delete static_cast<Session*>(session); };
        table_.make = make;
        table_.free = [](void* self, void* tensor) { of(self).lives(-1), delete static_cast<Tensor*>(tensor); };
        table_.layout = layout;
        table_.fill = fill;
        table_.read = read;
        table_.run = run;
    }

    const samclip_engine* table() const { return &table_; }

    Calls calls;
    std::function<void(const std::string&, samclip_layout&)> twist;  // of an output's name: what is told of it wrongly
    int fail_at = -1;  // the call that fails, counted from now on; -1: none
    samclip_status status = SAMCLIP_ENGINE;

private:
    struct Session {
        std::string name;
        std::vector<samclip_port> inputs, outputs;
        std::vector<std::string> input_names, output_names;
    };
    struct Tensor {
        std::string name;
        samclip_type type;
        std::vector<int64_t> shape;
        std::vector<float> values;
    };

    static FakeEngine& of(void* self) { return *static_cast<FakeEngine*>(self); }

    // Whether this call is the one that fails.
    bool fails(samclip_error_text* error) {
        const std::lock_guard<std::mutex> held(lock_);
        if (fail_at < 0 || fail_at-- > 0) return false;
        std::snprintf(error->line, sizeof error->line, "the fake engine fails");
        return true;
    }

    void lives(int more) {
        const std::lock_guard<std::mutex> held(lock_);
        calls.live += more;
    }

    void crossed(std::map<std::string, int>& count, const std::string& name) {
        const std::lock_guard<std::mutex> held(lock_);
        count[name]++;
    }

    static samclip_status open(void* self, const samclip_graph* graph, void** session, samclip_error_text* error) {
        if (of(self).fails(error)) return of(self).status;
        auto made = std::make_unique<Session>();
        made->name = graph->name;
        made->inputs.assign(graph->inputs, graph->inputs + graph->input_count);
        made->outputs.assign(graph->outputs, graph->outputs + graph->output_count);
        for (const samclip_port& port : made->inputs) made->input_names.emplace_back(port.name);
        for (const samclip_port& port : made->outputs) made->output_names.emplace_back(port.name);
        of(self).lives(1);
        *session = made.release();
        return SAMCLIP_OK;
    }

    static samclip_status make(void* self, void* session, samclip_type type, size_t dimensions, const int64_t* shape,
                               void** tensor, samclip_error_text* error) {
        if (of(self).fails(error)) return of(self).status;
        auto made = std::make_unique<Tensor>();
        made->name = static_cast<Session*>(session)->name;
        made->type = type;
        made->shape.assign(shape, shape + dimensions);
        size_t count = 1;
        for (const int64_t side : made->shape) count *= static_cast<size_t>(side);
        made->values.resize(count);
        of(self).lives(1);
        *tensor = made.release();
        return SAMCLIP_OK;
    }

    static samclip_status layout(void* self, const void* tensor, samclip_layout* layout, samclip_error_text* error) {
        if (of(self).fails(error)) return of(self).status;
        const auto& held = *static_cast<const Tensor*>(tensor);
        layout->type = held.type;
        layout->dimensions = held.shape.size();
        int64_t stride = 1;
        for (size_t k = held.shape.size(); k-- > 0; stride *= held.shape[k]) {
            layout->shape[k] = held.shape[k];
            layout->strides[k] = stride;
        }
        layout->device = "fake";
        layout->host = nullptr;
        if (of(self).twist) of(self).twist(held.name, *layout);
        return SAMCLIP_OK;
    }

    static samclip_status fill(void* self, void* tensor, const void* data, size_t bytes, samclip_error_text* error) {
        if (of(self).fails(error)) return of(self).status;
        auto& held = *static_cast<Tensor*>(tensor);
        if (bytes != held.values.size() * 4) return SAMCLIP_FAULT;
        std::memcpy(held.values.data(), data, bytes);
        of(self).crossed(of(self).calls.filled, held.name);
        return SAMCLIP_OK;
    }

    static samclip_status read(void* self, const void* tensor, void* data, size_t bytes, samclip_error_text* error) {
        if (of(self).fails(error)) return of(self).status;
        const auto& held = *static_cast<const Tensor*>(tensor);
        if (bytes != held.values.size() * 4) return SAMCLIP_FAULT;
        std::memcpy(data, held.values.data(), bytes);
        of(self).crossed(of(self).calls.read, held.name);
        return SAMCLIP_OK;
    }

    // Masks with a box of the low-res mask inside, whose predicted IoUs fall; features of one direction; zeros else.
    static samclip_status run(void* self, void* session, void* const* inputs, void** outputs, samclip_task* task,
                              samclip_error_text* error) {
        if (of(self).fails(error)) return of(self).status;
        if (samclip_cancelled(task)) return SAMCLIP_CANCELLED;
        const auto& graph = *static_cast<Session*>(session);
        const int64_t first = static_cast<Tensor*>(inputs[graph.name == "mask_decoder" ? 1 : 0])->shape[0];
        for (size_t k = 0; k < graph.outputs.size(); ++k) {
            auto made = std::make_unique<Tensor>();
            made->name = graph.output_names[k];
            made->type = SAMCLIP_FLOAT32;
            size_t count = 1;
            for (size_t d = 0; d < graph.outputs[k].dimensions; ++d) {
                const int64_t side = graph.outputs[k].shape[d];
                made->shape.push_back(side >= 0 ? side : d == 0 ? first : 3);
                count *= static_cast<size_t>(made->shape.back());
            }
            made->values.resize(count);
            answer(*made);
            of(self).lives(1);
            outputs[k] = made.release();
        }
        return SAMCLIP_OK;
    }

    static void answer(Tensor& tensor) {
        const auto side = [&](size_t k) { return static_cast<size_t>(tensor.shape[k]); };
        if (tensor.name == "scores") {
            for (size_t k = 0; k < tensor.values.size(); ++k) {
                tensor.values[k] = 0.99f - 0.01f * static_cast<float>(k % 4);
            }
        } else if (tensor.name == "masks") {
            for (size_t k = 0; k < tensor.values.size(); ++k) {
                const size_t x = k % side(3), y = k / side(3) % side(2);
                tensor.values[k] = x >= 4 && x < 12 && y >= 8 && y < 16 ? 20.0f : -20.0f;
            }
        } else if (tensor.name == "patch_features") {
            std::fill_n(tensor.values.data(), side(2) * side(3), 1.0f);
        } else if (tensor.name == "image_features" || tensor.name == "text_features") {
            for (size_t row = 0; row < side(0); ++row) tensor.values[row * side(1)] = 1;
        }
    }

    samclip_engine table_ = {};
    std::mutex lock_;  // of what is counted, and of fail_at: scenes may be asked from several threads
};
