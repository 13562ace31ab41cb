// Byte-pair encoding: a word's bytes, joined two by two, as the `tokenizers` library's BPE model does.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace samclip {

// Two neighbours that become one token. Of all that may, the one with the lowest rank comes first.
struct Merge {
    int32_t left, right;  // token ids
    int32_t rank, made;
};

constexpr int32_t kNoToken = -1;

class Bpe {
public:
    // letters: the token of each byte, then of each byte at the end of a word; kNoToken: such a byte is left out.
    // merges: rising by rank; of two for the same neighbours the last counts.
    Bpe(const std::array<int32_t, 512>& letters, std::vector<Merge> merges);

    // Append the token ids of a word, which is given in bytes.
    void append(std::string_view word, std::vector<int32_t>& ids) const;

private:
    const Merge* find(int32_t left, int32_t right) const;

    std::array<int32_t, 512> letters_;
    std::vector<Merge> merges_;  // sorted by left and right
};

}  // namespace samclip
