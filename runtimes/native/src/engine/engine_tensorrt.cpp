#include "engine/engine_tensorrt.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "engine/built_engine.hpp"
#include "engine/table.hpp"
#include "samclip_edge_tensorrt.h"

namespace samclip {

namespace {

Gpu& gpu_of(void* context) { return *static_cast<Gpu*>(context); }

samclip_status open_entry(void* context, const samclip_graph* graph, void** session, samclip_error_text* error) {
    return guarded(error, [&] {
        Gpu& gpu = gpu_of(context);
        const std::string path = graph->files[0].whole != nullptr ? graph->files[0].whole : graph->files[0].path;
        std::unique_lock<std::mutex> held(gpu.lock);
        gpu.start();
        const std::string capability = gpu.capability();
        held.unlock();  // reading takes long, and other graphs run meanwhile
        auto engine = read_engine(*graph, path, capability);
        held.lock();
        *session = new BuiltEngine(gpu, *graph, path, std::move(engine));
    });
}

void close_entry(void* context, void* session) {
    const std::lock_guard<std::mutex> held(gpu_of(context).lock);
    delete static_cast<BuiltEngine*>(session);
}

samclip_status make_entry(void* context, void* session, samclip_type type, size_t dimensions, const int64_t* shape,
                          void** tensor, samclip_error_text* error) {
    return guarded(error, [&] {
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        *tensor = static_cast<BuiltEngine*>(session)->make(type, Shape(shape, shape + dimensions)).release();
    });
}

void free_entry(void* context, void* tensor) {
    const std::lock_guard<std::mutex> held(gpu_of(context).lock);
    delete static_cast<GpuTensor*>(tensor);
}

samclip_status layout_entry(void*, const void* tensor, samclip_layout* layout, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& held = *static_cast<const GpuTensor*>(tensor);
        lay_out(layout, held.type, held.shape);
        layout->device = "cuda:0";
        layout->host = nullptr;
    });
}

samclip_status fill_entry(void* context, void* tensor, const void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& into = *static_cast<const GpuTensor*>(tensor);
        if (bytes != into.bytes) throw Error(SAMCLIP_ENGINE, "a tensor is filled with another size");
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        gpu_of(context).upload(data, into.block.address, bytes);
    });
}

samclip_status read_entry(void* context, const void* tensor, void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& from = *static_cast<const GpuTensor*>(tensor);
        if (bytes != from.bytes) throw Error(SAMCLIP_ENGINE, "a tensor is read with another size");
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        gpu_of(context).download(from.block.address, data, bytes);
    });
}

samclip_status run_entry(void* context, void* session, void* const* inputs, void** outputs, samclip_task* task,
                         samclip_error_text* error) {
    return guarded(error, [&] {
        auto& engine = *static_cast<BuiltEngine*>(session);
        const std::lock_guard<std::mutex> held(gpu_of(context).lock);
        if (samclip_cancelled(task)) throw Error(SAMCLIP_CANCELLED, "the call was cancelled");
        auto made = engine.run(inputs);
        for (size_t k = 0; k < made.size(); ++k) outputs[k] = made[k].release();
    });
}

// A stream's GPU, and the table whose context it is.
struct Streamed {
    explicit Streamed(void* stream)
        : gpu(static_cast<cudaStream_t>(stream)),
          table{sizeof(samclip_engine), &gpu,       open_entry, close_entry, make_entry, free_entry,
                layout_entry,           fill_entry, read_entry, run_entry} {}
    Gpu gpu;
    const samclip_engine table;
};

}  // namespace

const samclip_engine& tensorrt_engine(void* cuda_stream) {
    // Never deleted: models may be closed at the very end of a process.
    static std::mutex& lock = *new std::mutex;
    static auto& streams = *new std::map<void*, std::unique_ptr<Streamed>>;
    const std::lock_guard<std::mutex> held(lock);
    std::unique_ptr<Streamed>& found = streams[cuda_stream];
    if (found == nullptr) found = std::make_unique<Streamed>(cuda_stream);
    return found->table;
}

}  // namespace samclip

const samclip_engine* samclip_tensorrt_engine(void* cuda_stream) {
    try {
        return &samclip::tensorrt_engine(cuda_stream);
    } catch (const std::exception&) {
        return nullptr;
    }
}
