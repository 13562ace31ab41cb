// The ways to compute a sha256: by instructions of the processor, or by arithmetic that runs anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace samclip {

struct Sha256Way {
    const char* name;
    // Take `count` blocks of 64 bytes into the state.
    void (*blocks)(uint32_t state[8], const uint8_t* data, size_t count);
};

// Those that this processor has, the fastest first.
const std::vector<Sha256Way>& sha256_ways();
// The sha256 of bytes in hexadecimal, computed that way.
std::string sha256_by(const Sha256Way& way, const void* data, size_t size);

namespace sha256_detail {

extern const uint32_t kRound[64];  // the constants of FIPS 180-4, 4.2.2
const Sha256Way* by_processor();   // nullptr where the processor has no such instructions

}  // namespace sha256_detail

}  // namespace samclip
