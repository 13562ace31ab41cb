#include "engine/tensor.hpp"

#include <cstring>
#include <limits>

#include "task.hpp"
#include "text/clean.hpp"

namespace samclip {

namespace {

// Tensors that an engine made, of which those from `next` on have no owner yet.
struct Unowned {
    const samclip_engine& engine;
    const std::vector<void*>& made;
    size_t next;
    ~Unowned() {
        for (; next < made.size(); ++next) {
            if (made[next] != nullptr) engine.free(engine.context, made[next]);
        }
    }
};

// Throw where an output is not what the graph's signature says: another type or rank, or another number where it has
// one.
void compare(const Tensor& tensor, const samclip_port& port, const std::string& graph) {
    const Shape shape = tensor.shape();
    bool same = tensor.type() == port.type && shape.size() == port.dimensions;
    for (size_t k = 0; same && k < shape.size(); ++k) same = port.shape[k] < 0 || port.shape[k] == shape[k];
    if (!same) {
        throw Error(SAMCLIP_ENGINE,
                    graph + ": its " + port.name + " is not what the manifest says; export the bundle again");
    }
}

}  // namespace

size_t count_of(const Shape& shape) {
    size_t count = 1;
    for (const int64_t side : shape) {
        if (side < 0 || (side != 0 && count > std::numeric_limits<size_t>::max() / 8 / static_cast<size_t>(side))) {
            throw Error(SAMCLIP_ENGINE, "an engine gives a tensor of no shape");
        }
        count *= static_cast<size_t>(side);
    }
    return count;
}

void check(samclip_status status, const samclip_error_text& error) {
    if (status == SAMCLIP_OK) return;
    const bool known = status > SAMCLIP_OK && status <= SAMCLIP_FAULT;
    std::string line(error.line, strnlen(error.line, sizeof error.line));
    line = line.substr(0, line.find_first_of("\r\n"));
    if (line.empty() || !is_utf8(line)) line = "the engine failed and does not say why";
    throw Error(known ? status : SAMCLIP_ENGINE, line);
}

Tensor::Tensor(std::shared_ptr<const samclip_engine> engine, void* handle)
    : engine_(engine), held_(handle, [engine](void* tensor) {
          if (tensor != nullptr) engine->free(engine->context, tensor);
      }) {
    if (handle == nullptr) throw Error(SAMCLIP_ENGINE, "an engine gives no tensor where it says that it does");
    samclip_layout layout = {};
    samclip_error_text error = {};
    check(engine_->layout(engine_->context, handle, &layout, &error), error);
    type_ = layout.type;
    if (layout.dimensions > SAMCLIP_MOST_DIMENSIONS) {
        throw Error(SAMCLIP_ENGINE, "an engine gives a tensor of no shape");
    }
    shape_.assign(layout.shape, layout.shape + layout.dimensions);
    host_ = layout.host;
    count_of(shape_);
    if (host_ == nullptr) read_ = std::make_shared<Read>();
}

void Tensor::fill(const void* data, size_t bytes) {
    if (bytes == 0) return;  // an engine may copy by `memcpy`, which takes no null pointer
    samclip_error_text error = {};
    check(engine_->fill(engine_->context, held_.get(), data, bytes, &error), error);
}

const float* Tensor::floats() const {
    if (host_ != nullptr) return static_cast<const float*>(host_);
    const std::lock_guard<std::mutex> held(read_->lock);
    if (!read_->done) {
        std::vector<float> values(count_of(shape_));
        samclip_error_text error = {};
        const size_t bytes = values.size() * sizeof(float);
        if (bytes != 0) check(engine_->read(engine_->context, held_.get(), values.data(), bytes, &error), error);
        read_->values = std::move(values);
        read_->done = true;
    }
    return read_->values.data();
}

Session::Session(std::shared_ptr<const samclip_engine> engine, const samclip_graph& graph)
    : engine_(std::move(engine)), inputs_(graph.input_count), name_(graph.name) {
    void* session = nullptr;
    samclip_error_text error = {};
    check(engine_->open(engine_->context, &graph, &session, &error), error);
    if (session == nullptr)
        throw Error(SAMCLIP_ENGINE, name_ + ": the engine gives no session where it says that it does");
    const auto owner = engine_;
    session_ = std::shared_ptr<void>(session, [owner](void* each) { owner->close(owner->context, each); });
    for (size_t index = 0; index < graph.output_count; ++index) names_.emplace_back(graph.outputs[index].name);
    outputs_.assign(graph.outputs, graph.outputs + graph.output_count);
    for (size_t index = 0; index < outputs_.size(); ++index) outputs_[index].name = names_[index].c_str();
}

Tensor Session::make(samclip_type type, const Shape& shape) const {
    void* tensor = nullptr;
    samclip_error_text error = {};
    check(engine_->make(engine_->context, session_.get(), type, shape.size(), shape.data(), &tensor, &error), error);
    Tensor made(engine_, tensor);
    if (made.shape() != shape || made.type() != type)
        throw Error(SAMCLIP_ENGINE, name_ + ": the engine makes another input than was asked for");
    return made;
}

Tensor Session::of(samclip_type type, const void* values, size_t count, const Shape& shape) const {
    if (count != count_of(shape)) throw Error(SAMCLIP_FAULT, name_ + ": an input has not as many values as its shape");
    Tensor tensor = make(type, shape);
    tensor.fill(values, count * 4);  // both types have four bytes
    return tensor;
}

Tensor Session::of(const std::vector<float>& values, const Shape& shape) const {
    return of(SAMCLIP_FLOAT32, values.data(), values.size(), shape);
}

Tensor Session::of(const std::vector<int32_t>& values, const Shape& shape) const {
    return of(SAMCLIP_INT32, values.data(), values.size(), shape);
}

std::vector<Tensor> Session::run(const std::vector<Tensor>& inputs, samclip_task* task) const {
    if (inputs.size() != inputs_) throw Error(SAMCLIP_FAULT, name_ + ": is run with other inputs than it has");
    std::vector<void*> given, made(outputs_.size(), nullptr);
    for (const Tensor& input : inputs) given.push_back(input.handle());
    samclip_error_text error = {};
    check(engine_->run(engine_->context, session_.get(), given.data(), made.data(), task, &error), error);
    Unowned rest{*engine_, made, 0};
    std::vector<Tensor> outputs;
    outputs.reserve(made.size());
    while (rest.next < made.size()) {
        void* const each = made[rest.next++];
        outputs.emplace_back(engine_, each);
        compare(outputs.back(), outputs_[outputs.size() - 1], name_);
    }
    return outputs;
}

}  // namespace samclip
