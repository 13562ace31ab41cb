// Any bytes as a .npy file: as many numbers as it says, or an error with its line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>

#include "bundle/files.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        size_t rows = 0, columns = 0;
        const auto values = samclip::read_npy({reinterpret_cast<const char*>(data), size}, rows, columns);
        if (values.size() != rows * columns || 4 * values.size() > size) std::abort();
    } catch (const std::runtime_error&) {
    }
    return 0;
}
