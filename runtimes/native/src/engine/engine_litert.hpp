// LiteRT as an engine, on the CPU. As `samclip_edge/runtimes/litert.py`.
#pragma once

#include "samclip_edge_engine.h"

namespace samclip {

// The table of it.
const samclip_engine& litert_engine();

}  // namespace samclip
