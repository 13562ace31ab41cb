// The stand-in of the CUDA runtime. It keeps to the rules of the real one, and writes down who does not.
#include <cstdlib>
#include <cstring>

#include "stand_in.hpp"

using Work = std::vector<std::function<void()>>;
using Held = std::lock_guard<std::recursive_mutex>;

struct CUstream_st {
    Work waiting, captured;
    bool capturing = false;
};
struct CUgraph_st {
    Work work;
};
struct CUgraphExec_st {
    Work work;
};

namespace stand_in {

namespace {

std::set<cudaStream_t>& all_streams() {
    static std::set<cudaStream_t> all;
    return all;
}

}  // namespace

Gpu& gpu() {
    static Gpu the;
    return the;
}

bool Gpu::holds(const void* address, size_t bytes) {
    const Held held(lock);
    for (const auto& block : blocks) {
        const char* from = static_cast<const char*>(address);
        if (block.first <= from && from + bytes <= block.first + block.second) return true;
    }
    misuses.emplace_back("an address is not the device's");
    return false;
}

void Gpu::put(cudaStream_t stream, std::function<void()> work) {
    const Held held(lock);
    if (all_streams().count(stream) == 0) {
        misuses.emplace_back("there is no such stream");
        return;
    }
    streams.insert(stream);
    (stream->capturing ? stream->captured : stream->waiting).push_back(std::move(work));
}

void Gpu::clear_counts() {
    const Held held(lock);
    up = down = across = launches = captures = replays = 0;
    streams.clear();
    workspaces.clear();
}

}  // namespace stand_in

using stand_in::gpu;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
    *count = gpu().count;
    return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrComputeCapabilityMajor ? gpu().major : gpu().minor;
    return cudaSuccess;
}

cudaError_t cudaGetLastError() { return cudaSuccess; }

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "cudaSuccess";
        case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
        case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    }
    return "cudaErrorUnknown";
}

cudaError_t cudaMalloc(void** address, size_t bytes) {
    const Held held(gpu().lock);
    size_t used = 0;
    for (const auto& block : gpu().blocks) used += block.second;
    if (bytes > gpu().memory - std::min(used, gpu().memory)) return cudaErrorMemoryAllocation;
    char* const made = static_cast<char*>(std::malloc(bytes));
    std::memset(made, 0xFF, bytes);
    gpu().blocks[made] = bytes;
    *address = made;
    return cudaSuccess;
}

cudaError_t cudaFree(void* address) {
    const Held held(gpu().lock);
    if (address == nullptr) return cudaSuccess;
    for (const cudaStream_t stream : stand_in::all_streams()) {
        if (!stream->waiting.empty()) gpu().misuses.emplace_back("memory is freed while something waits to use it");
    }
    if (gpu().blocks.erase(static_cast<char*>(address)) == 0) {
        gpu().misuses.emplace_back("what is freed was not allocated");
        return cudaErrorInvalidValue;
    }
    std::free(address);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    const Held held(gpu().lock);
    if (stand_in::all_streams().count(stream) != 0 && stream->capturing) return cudaErrorStreamCaptureUnsupported;
    if (kind != cudaMemcpyHostToDevice && !gpu().holds(source, bytes)) return cudaErrorInvalidValue;
    if (kind != cudaMemcpyDeviceToHost && !gpu().holds(target, bytes)) return cudaErrorInvalidValue;
    (kind == cudaMemcpyHostToDevice ? gpu().up : kind == cudaMemcpyDeviceToHost ? gpu().down : gpu().across) += bytes;
    gpu().put(stream, [=] { std::memcpy(target, source, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
    const Held held(gpu().lock);
    *stream = new CUstream_st;
    stand_in::all_streams().insert(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const Held held(gpu().lock);
    stand_in::all_streams().erase(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Held held(gpu().lock);
    if (stream->capturing) return cudaErrorStreamCaptureUnsupported;
    Work work;
    work.swap(stream->waiting);
    for (const auto& each : work) each();
    return gpu().breaks && !work.empty() ? cudaErrorIllegalAddress : cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Held held(gpu().lock);
    stream->capturing = true;
    stream->captured.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Held held(gpu().lock);
    stream->capturing = false;
    *graph = new CUgraph_st{stream->captured};
    ++gpu().captures;
    ++gpu().objects;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* instance, cudaGraph_t graph, unsigned long long) {
    const Held held(gpu().lock);
    *instance = new CUgraphExec_st{graph->work};
    ++gpu().objects;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t instance, cudaStream_t stream) {
    const Held held(gpu().lock);
    ++gpu().replays;
    for (const auto& each : instance->work) gpu().put(stream, each);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    const Held held(gpu().lock);
    --gpu().objects;
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t instance) {
    const Held held(gpu().lock);
    --gpu().objects;
    delete instance;
    return cudaSuccess;
}

}  // extern "C"
