// TensorRT as an engine: built engines on an NVIDIA GPU. As `samclip_edge/runtimes/tensorrt/session.py`.
#pragma once

#include "samclip_edge_engine.h"

namespace samclip {

// The table of it, for a stream of the app's; nullptr: for a stream of its own.
const samclip_engine& tensorrt_engine(void* cuda_stream);

}  // namespace samclip
