// An engine's table of functions, as types that own what they hold.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "error.hpp"
#include "samclip_edge_engine.h"

namespace samclip {

using Shape = std::vector<int64_t>;
using Floats = std::vector<float>;

size_t count_of(const Shape& shape);

// A tensor of an engine, wherever it lies. Copies share it.
class Tensor {
public:
    Tensor() = default;
    Tensor(std::shared_ptr<const samclip_engine> engine, void* handle);

    explicit operator bool() const { return held_ != nullptr; }
    void* handle() const { return held_.get(); }
    Shape shape() const { return shape_; }
    samclip_type type() const { return type_; }
    // Memory that the host may write before a run; nullptr where it must `fill`.
    void* host() const { return host_; }
    void fill(const void* data, size_t bytes);
    // All values, as the host has them: no copy is made where the engine's memory is the host's. For several threads at
    // once; copies of a tensor are read once.
    const float* floats() const;

private:
    struct Read {
        std::mutex lock;
        std::vector<float> values;
        bool done = false;
    };
    std::shared_ptr<const samclip_engine> engine_;
    std::shared_ptr<void> held_;
    Shape shape_;
    samclip_type type_ = SAMCLIP_FLOAT32;
    void* host_ = nullptr;
    std::shared_ptr<Read> read_;  // where the engine's memory is not the host's
};

// A graph, loaded into an engine. May be run from several threads at once.
class Session {
public:
    Session(std::shared_ptr<const samclip_engine> engine, const samclip_graph& graph);

    // An input, of which nothing is set yet.
    Tensor make(samclip_type type, const Shape& shape) const;
    // An input with these values.
    Tensor of(const std::vector<float>& values, const Shape& shape) const;
    Tensor of(const std::vector<int32_t>& values, const Shape& shape) const;
    // All inputs in the graph's order to all outputs in its order.
    std::vector<Tensor> run(const std::vector<Tensor>& inputs, samclip_task* task) const;

private:
    Tensor of(samclip_type type, const void* values, size_t count, const Shape& shape) const;

    std::shared_ptr<const samclip_engine> engine_;
    std::shared_ptr<void> session_;
    std::vector<std::string> names_;  // of the outputs
    std::vector<samclip_port> outputs_;
    size_t inputs_;
    std::string name_;
};

// Throw what a function of an engine returned, unless it is 0.
void check(samclip_status status, const samclip_error_text& error);

}  // namespace samclip
