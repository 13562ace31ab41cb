// What ONNX Runtime runs on: its execution providers, by short names or by their own. As
// `samclip_edge/bundle/device.py`.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace samclip {

struct Provider {
    std::string name;  // "CUDAExecutionProvider"
    std::map<std::string, std::string> options;
};

// The providers that a device names, the first to be asked first, each once. "cuda:1", "coreml",
// "XnnpackExecutionProvider", several with ";" between. Throws InputError for a short name that there is not, and for
// options that are not KEY=VALUE.
std::vector<Provider> providers_of(const std::string& device);
// Whether a device is the CPU and nothing else.
bool on_cpu(const std::vector<Provider>& providers);
// Whether the processor has AVX2 and not AVX-512; false on other processors than x86.
bool avx2_alone();

}  // namespace samclip
