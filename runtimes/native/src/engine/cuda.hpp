// An NVIDIA GPU: its memory, one stream, and CUDA graphs. As `samclip_edge/runtimes/tensorrt/cuda.py`.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace samclip {

// Bytes of the GPU's memory.
struct Block {
    void* address = nullptr;
    size_t bytes = 0;
    bool operator==(const Block& other) const { return address == other.address && bytes == other.bytes; }
};

class GpuMemory;

// The first GPU. Everything goes through one stream, in order. A caller holds `lock` while it uses anything of it. What
// fails throws Error, with SAMCLIP_MEMORY where memory is short.
class Gpu {
public:
    // stream: the app's; nullptr: one of its own, which `start` makes.
    explicit Gpu(cudaStream_t stream) : stream_(stream) {}
    Gpu(const Gpu&) = delete;

    std::mutex lock;
    void start();  // to be called before all else; throws InputError when there is no GPU
    cudaStream_t stream() const { return stream_; }
    std::string capability() const;  // the compute capability, such as "8.7"

    // The host's values may be overwritten once this returns.
    void upload(const void* values, void* address, size_t bytes);
    // After all that was launched before.
    void download(const void* address, void* values, size_t bytes);
    // Within the device's memory, after all that was launched before.
    void copy(void* target, const void* source, size_t bytes);
    void wait();  // until all that was launched is done

    // The memory that others hold now, or a new one if nobody holds one.
    std::shared_ptr<GpuMemory> memory();

private:
    cudaStream_t stream_;
    std::weak_ptr<GpuMemory> memory_;
};

// The blocks of tensors, kept for the next call; and what engines write to while they run, which all share, because
// they run one after the other. All of it is given back to the GPU when nobody holds this any more.
class GpuMemory {
public:
    explicit GpuMemory(Gpu& gpu) : gpu_(gpu) {}
    ~GpuMemory();  // every block was given back before
    GpuMemory(const GpuMemory&) = delete;

    Block take(size_t bytes);  // at least as many
    void give(Block block);
    // At least `bytes`. The address changes when it grows.
    Block workspace(size_t bytes);

private:
    void* allocate(size_t bytes);
    void free_spare();

    Gpu& gpu_;
    std::map<size_t, std::vector<void*>> spare_;  // addresses, by bytes
    Block workspace_;
};

// What a function put on the stream, to be put there again by one call: a CUDA graph.
class Capture {
public:
    Capture(Gpu& gpu, const std::function<void()>& launch);
    ~Capture();
    Capture(const Capture&) = delete;
    void launch() const;

private:
    Gpu& gpu_;
    cudaGraphExec_t instance_ = nullptr;
};

}  // namespace samclip
