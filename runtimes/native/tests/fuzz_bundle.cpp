// Any bytes as a manifest and as features: an answer, or an error with its line, and nothing else.
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>

#include "bundle/files.hpp"
#include "bundle/manifest.hpp"
#include "error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    try {
        samclip::parse_manifest(bytes, "manifest.json").names_size();
    } catch (const samclip::InputError&) {
    }
    try {
        size_t rows = 0, columns = 0;
        samclip::read_npy(bytes, rows, columns);
    } catch (const std::runtime_error&) {
    }
    return 0;
}
