#include "bundle/sha256.hpp"

#include <array>
#include <cstring>

#include "bundle/files.hpp"

namespace samclip {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
const uint32_t sha256_detail::kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

namespace {

constexpr size_t kBlock = 64;  // bytes

uint32_t turned(uint32_t word, int by) { return (word >> by) | (word << (32 - by)); }

uint32_t big_endian(const uint8_t* bytes) {
    return (uint32_t{bytes[0]} << 24) | (uint32_t{bytes[1]} << 16) | (uint32_t{bytes[2]} << 8) | bytes[3];
}

// FIPS 180-4, 6.2.2, whose letters these are.
void portable_blocks(uint32_t state[8], const uint8_t* data, size_t count) {
    for (; count > 0; --count, data += kBlock) {
        uint32_t w[64];
        for (size_t t = 0; t < 16; ++t) w[t] = big_endian(data + 4 * t);
        for (size_t t = 16; t < 64; ++t) {
            const uint32_t near = w[t - 2], far = w[t - 15];
            w[t] = (turned(near, 17) ^ turned(near, 19) ^ (near >> 10)) + w[t - 7] +
                   (turned(far, 7) ^ turned(far, 18) ^ (far >> 3)) + w[t - 16];
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (size_t t = 0; t < 64; ++t) {
            const uint32_t one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) +
                                 sha256_detail::kRound[t] + w[t];
            const uint32_t two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
        }
        const uint32_t found[8] = {a, b, c, d, e, f, g, h};
        for (size_t i = 0; i < 8; ++i) state[i] += found[i];
    }
}

}  // namespace

const std::vector<Sha256Way>& sha256_ways() {
    static const std::vector<Sha256Way> ways = [] {
        std::vector<Sha256Way> found;
        if (const Sha256Way* way = sha256_detail::by_processor()) found.push_back(*way);
        found.push_back({"portable", portable_blocks});
        return found;
    }();
    return ways;
}

std::string sha256_by(const Sha256Way& way, const void* data, size_t size) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const auto* bytes = static_cast<const uint8_t*>(data);
    const size_t rest = size % kBlock;
    way.blocks(state, bytes, size / kBlock);
    // The rest, a bit that is 1, zeros, and how many bits there were in all, in 64 bits: one block, or two.
    std::array<uint8_t, 2 * kBlock> last{};
    if (rest > 0) std::memcpy(last.data(), bytes + (size - rest), rest);
    last[rest] = 0x80;
    const size_t length = rest + 9 > kBlock ? 2 * kBlock : kBlock;
    for (size_t i = 0; i < 8; ++i) last[length - 1 - i] = static_cast<uint8_t>(uint64_t{size} * 8 >> (8 * i));
    way.blocks(state, last.data(), length / kBlock);
    std::string written;
    for (const uint32_t word : state) {
        for (int shift = 28; shift >= 0; shift -= 4) written += "0123456789abcdef"[(word >> shift) & 15U];
    }
    return written;
}

std::string sha256(const void* data, size_t size) { return sha256_by(sha256_ways().front(), data, size); }

}  // namespace samclip
