// ONNX Runtime's C++ wrapper, for the sources of its engine alone.
//
// The library is asked for the interface of 1.20, whatever headers this was compiled with. The wrapper keeps the
// interface in a global, which an app that is linked statically would share: so it gets a namespace of its own here.
#pragma once

#define Ort samclip_ort
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
