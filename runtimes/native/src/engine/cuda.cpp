#include "engine/cuda.hpp"

#include <new>

#include "error.hpp"

namespace samclip {

namespace {

// Throw where the status of a function of the CUDA runtime is an error.
void check(cudaError_t status, const char* function) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // else the next one to ask is told of it
    throw Error(status == cudaErrorMemoryAllocation ? SAMCLIP_MEMORY : SAMCLIP_ENGINE,
                std::string("CUDA: ") + function + " failed (" + cudaGetErrorName(status) +
                    "); free memory on the GPU, or start again");
}

// A power of two, so that blocks of like sizes serve each other.
size_t rounded(size_t bytes) {
    size_t power = 256;
    while (power < bytes) {
        if (power > static_cast<size_t>(-1) / 2) throw std::bad_alloc();
        power *= 2;
    }
    return power;
}

}  // namespace

void Gpu::start() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count < 1) {
        cudaGetLastError();
        throw InputError(
            "TensorRT: no NVIDIA GPU here; `samclip-edge verify` and `eval` run the bundle's ONNX, and one for target "
            "onnx runs here");
    }
    if (stream_ == nullptr) check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
}

std::string Gpu::capability() const {
    int major = 0, minor = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "cudaDeviceGetAttribute");
    return std::to_string(major) + "." + std::to_string(minor);
}

void Gpu::upload(const void* values, void* address, size_t bytes) {
    if (bytes != 0) check(cudaMemcpyAsync(address, values, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    wait();
}

void Gpu::download(const void* address, void* values, size_t bytes) {
    if (bytes != 0) check(cudaMemcpyAsync(values, address, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
    wait();
}

void Gpu::copy(void* target, const void* source, size_t bytes) {
    if (bytes != 0) check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream_), "cudaMemcpyAsync");
}

void Gpu::wait() { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

std::shared_ptr<GpuMemory> Gpu::memory() {
    std::shared_ptr<GpuMemory> held = memory_.lock();
    if (held == nullptr) memory_ = held = std::make_shared<GpuMemory>(*this);
    return held;
}

GpuMemory::~GpuMemory() {
    free_spare();
    cudaFree(workspace_.address);
}

void GpuMemory::free_spare() {
    cudaStreamSynchronize(gpu_.stream());  // after a call that failed, something may still use it
    for (const auto& some : spare_) {
        for (void* address : some.second) cudaFree(address);
    }
    spare_.clear();
}

void* GpuMemory::allocate(size_t bytes) {
    void* address = nullptr;
    cudaError_t status = cudaMalloc(&address, bytes);
    if (status == cudaErrorMemoryAllocation && !spare_.empty()) {
        cudaGetLastError();
        free_spare();
        status = cudaMalloc(&address, bytes);
    }
    check(status, "cudaMalloc");
    return address;
}

Block GpuMemory::take(size_t bytes) {
    const size_t size = rounded(bytes);
    const auto some = spare_.find(size);
    if (some == spare_.end()) return {allocate(size), size};
    const Block block{some->second.back(), size};
    some->second.pop_back();
    if (some->second.empty()) spare_.erase(some);
    return block;
}

void GpuMemory::give(Block block) {
    if (block.address == nullptr) return;
    try {
        spare_[block.bytes].push_back(block.address);
    } catch (const std::bad_alloc&) {  // there is no memory to remember it by
        cudaStreamSynchronize(gpu_.stream());
        cudaFree(block.address);
    }
}

Block GpuMemory::workspace(size_t bytes) {
    if (workspace_.bytes < bytes) {
        gpu_.wait();
        cudaFree(workspace_.address);
        workspace_ = {};
        workspace_ = {allocate(bytes), bytes};
    }
    return workspace_;
}

Capture::Capture(Gpu& gpu, const std::function<void()>& launch) : gpu_(gpu) {
    // Of this thread alone: others open engines meanwhile, which allocates.
    check(cudaStreamBeginCapture(gpu.stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    cudaGraph_t graph = nullptr;
    try {
        launch();
    } catch (...) {
        cudaStreamEndCapture(gpu.stream(), &graph);
        cudaGetLastError();
        if (graph != nullptr) cudaGraphDestroy(graph);
        throw;
    }
    check(cudaStreamEndCapture(gpu.stream(), &graph), "cudaStreamEndCapture");
    const cudaError_t status = cudaGraphInstantiate(&instance_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
}

Capture::~Capture() { cudaGraphExecDestroy(instance_); }

void Capture::launch() const { check(cudaGraphLaunch(instance_, gpu_.stream()), "cudaGraphLaunch"); }

}  // namespace samclip
