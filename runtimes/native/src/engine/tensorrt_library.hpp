// NVIDIA's library: its version, its error messages, and reading a built engine. As
// `samclip_edge/runtimes/tensorrt/library.py`.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>

#include "samclip_edge_engine.h"

namespace samclip {

// The first message of an error since `forget_errors`, in one line.
std::string first_error();
void forget_errors();

// A graph's built engine, with its weights. path: of the engine, for messages. capability: of the GPU. Throws
// InputError where there is none, where it was built for another GPU or, unless it is portable, by another version; and
// where TensorRT refuses it.
std::unique_ptr<nvinfer1::ICudaEngine> read_engine(const samclip_graph& graph, const std::string& path,
                                                   const std::string& capability);

}  // namespace samclip
