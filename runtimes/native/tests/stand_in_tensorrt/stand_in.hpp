// What a test sees of the stand-in for a GPU and TensorRT, and the faults that it asks of it.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace stand_in {

// Its memory is the host's, filled with NaN. What is put on a stream waits there until somebody waits for it: so an
// answer that is read too early is NaN, and a source that is freed too early is gone.
struct Gpu {
    std::recursive_mutex lock;
    int count = 1;
    int major = 8, minor = 7;     // the compute capability
    int32_t version = 100300;     // of TensorRT
    size_t memory = size_t(-1);   // bytes that it has
    std::string why_not;          // why TensorRT launches nothing; empty: it launches
    bool breaks = false;          // whether what was launched fails while it runs
    bool weights_fit = true;      // of an ONNX graph, those that an engine lacks
    bool knows_its_needs = true;  // whether an engine can say what it needs for its shapes

    std::map<char*, size_t> blocks;       // what is allocated, in bytes
    size_t up = 0, down = 0, across = 0;  // bytes that were copied
    size_t launches = 0, captures = 0, replays = 0;
    size_t objects = 0;                // engines, contexts and captures that live
    std::set<cudaStream_t> streams;    // on which something was put
    std::set<void*> workspaces;        // what engines wrote to while they ran
    std::vector<std::string> misuses;  // what the real one would not stand

    // Whether bytes are allocated; else a misuse.
    bool holds(const void* address, size_t bytes);
    // Put work on a stream.
    void put(cudaStream_t stream, std::function<void()> work);
    void clear_counts();
};

Gpu& gpu();

}  // namespace stand_in
