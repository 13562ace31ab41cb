// ONNX Runtime as an engine: on the CPU, or on what else the app's build of it has a provider for.
#pragma once

#include "samclip_edge_engine.h"

namespace samclip {

// The table of it. Throws Error where the library is older than 1.20.
const samclip_engine& onnxruntime_engine();
// Do what it does once in a process, before the first graph is opened.
void start_onnxruntime();

}  // namespace samclip
