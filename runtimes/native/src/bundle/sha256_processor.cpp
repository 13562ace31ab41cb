// sha256 by instructions of the processor: SHA-NI of x86, and the SHA2 extension of ARMv8.
#include "bundle/sha256.hpp"

// Where the compiler has the intrinsics. Clang before 16 has ARM's only in builds that are for such processors alone.
#if defined(__x86_64__) || defined(__i386__)
#define SAMCLIP_SHA256_X86
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && (defined(__linux__) || defined(__APPLE__)) && \
    (defined(__ARM_FEATURE_SHA2) || !defined(__clang__) || __clang_major__ >= 16)
#define SAMCLIP_SHA256_ARM
#include <arm_neon.h>
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#endif

namespace samclip::sha256_detail {

#if defined(SAMCLIP_SHA256_X86)
namespace {

#define SAMCLIP_SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))

// Intel's instructions keep the state as (a,b,e,f) and (c,d,g,h), and take four rounds with one quad of the schedule.
struct State {
    __m128i abef, cdgh;
};

SAMCLIP_SHA_TARGET inline __m128i load(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

SAMCLIP_SHA_TARGET inline void store(uint32_t* to, __m128i value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), value);
}

SAMCLIP_SHA_TARGET inline void rounds(State& state, __m128i quad, const uint32_t* constants) {
    const __m128i sum = _mm_add_epi32(quad, load(constants));
    state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, sum);
    state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, _mm_shuffle_epi32(sum, 0x0E));
}

// The quad that follows four of the schedule.
SAMCLIP_SHA_TARGET inline __m128i next(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    return _mm_sha256msg2_epu32(sum, w3);
}

SAMCLIP_SHA_TARGET void blocks(uint32_t state[8], const uint8_t* data, size_t count) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);  // big-endian words
    const __m128i cdab = _mm_shuffle_epi32(load(state), 0xB1), efgh = _mm_shuffle_epi32(load(state + 4), 0x1B);
    State now = {_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xF0)};
    for (; count > 0; --count, data += 64) {
        const State before = now;
        __m128i w0 = _mm_shuffle_epi8(load(data), swap), w1 = _mm_shuffle_epi8(load(data + 16), swap);
        __m128i w2 = _mm_shuffle_epi8(load(data + 32), swap), w3 = _mm_shuffle_epi8(load(data + 48), swap);
        for (const uint32_t* constants = kRound; constants < kRound + 48; constants += 16) {
            rounds(now, w0, constants);
            w0 = next(w0, w1, w2, w3);
            rounds(now, w1, constants + 4);
            w1 = next(w1, w2, w3, w0);
            rounds(now, w2, constants + 8);
            w2 = next(w2, w3, w0, w1);
            rounds(now, w3, constants + 12);
            w3 = next(w3, w0, w1, w2);
        }
        rounds(now, w0, kRound + 48);
        rounds(now, w1, kRound + 52);
        rounds(now, w2, kRound + 56);
        rounds(now, w3, kRound + 60);
        now.abef = _mm_add_epi32(now.abef, before.abef);
        now.cdgh = _mm_add_epi32(now.cdgh, before.cdgh);
    }
    const __m128i feba = _mm_shuffle_epi32(now.abef, 0x1B), dchg = _mm_shuffle_epi32(now.cdgh, 0xB1);
    store(state, _mm_blend_epi16(feba, dchg, 0xF0));
    store(state + 4, _mm_alignr_epi8(dchg, feba, 8));
}

bool is_there() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1U << 29));  // SHA
}

const Sha256Way kWay = {"sha-ni", blocks};

}  // namespace

const Sha256Way* by_processor() { return is_there() ? &kWay : nullptr; }

#elif defined(SAMCLIP_SHA256_ARM)
namespace {

#if defined(__ARM_FEATURE_SHA2)
#define SAMCLIP_SHA_TARGET
#elif defined(__clang__)
#define SAMCLIP_SHA_TARGET __attribute__((target("sha2")))
#else
#define SAMCLIP_SHA_TARGET __attribute__((target("+crypto")))
#endif

struct State {
    uint32x4_t abcd, efgh;
};

SAMCLIP_SHA_TARGET inline uint32x4_t load(const uint8_t* from) {
    return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(from)));
}

SAMCLIP_SHA_TARGET inline void rounds(State& state, uint32x4_t quad, const uint32_t* constants) {
    const uint32x4_t sum = vaddq_u32(quad, vld1q_u32(constants)), abcd = state.abcd;
    state.abcd = vsha256hq_u32(state.abcd, state.efgh, sum);
    state.efgh = vsha256h2q_u32(state.efgh, abcd, sum);
}

// The quad that follows four of the schedule.
SAMCLIP_SHA_TARGET inline uint32x4_t next(uint32x4_t w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3) {
    return vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
}

SAMCLIP_SHA_TARGET void blocks(uint32_t state[8], const uint8_t* data, size_t count) {
    State now = {vld1q_u32(state), vld1q_u32(state + 4)};
    for (; count > 0; --count, data += 64) {
        const State before = now;
        uint32x4_t w0 = load(data), w1 = load(data + 16), w2 = load(data + 32), w3 = load(data + 48);
        for (const uint32_t* constants = kRound; constants < kRound + 48; constants += 16) {
            rounds(now, w0, constants);
            w0 = next(w0, w1, w2, w3);
            rounds(now, w1, constants + 4);
            w1 = next(w1, w2, w3, w0);
            rounds(now, w2, constants + 8);
            w2 = next(w2, w3, w0, w1);
            rounds(now, w3, constants + 12);
            w3 = next(w3, w0, w1, w2);
        }
        rounds(now, w0, kRound + 48);
        rounds(now, w1, kRound + 52);
        rounds(now, w2, kRound + 56);
        rounds(now, w3, kRound + 60);
        now.abcd = vaddq_u32(now.abcd, before.abcd);
        now.efgh = vaddq_u32(now.efgh, before.efgh);
    }
    vst1q_u32(state, now.abcd);
    vst1q_u32(state + 4, now.efgh);
}

const Sha256Way kWay = {"armv8", blocks};

}  // namespace

const Sha256Way* by_processor() {
#ifdef __linux__
    return getauxval(AT_HWCAP) & HWCAP_SHA2 ? &kWay : nullptr;
#else
    return &kWay;  // every processor of Apple's has them
#endif
}

#else

const Sha256Way* by_processor() { return nullptr; }

#endif

}  // namespace samclip::sha256_detail
