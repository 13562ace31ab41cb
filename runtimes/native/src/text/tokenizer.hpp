// CLIP's tokenizer, from a bundle's `tokenizer.json`: the same ids as the `tokenizers` library.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/manifest.hpp"

namespace samclip {

class Tokenizer {
public:
    // context: how long a text may be, at most. shown: the file in messages. Throws InputError with Python's line
    // ("...: not a tokenizer.json (...); export the bundle again") for what is none.
    Tokenizer(std::string_view json, const TextSpec& spec, int context, const std::string& shown);
    ~Tokenizer();
    Tokenizer(Tokenizer&&) noexcept;

    int pad() const;  // the token id that fills a text up
    // Start of text, the words, end of text; cut to the context. Not filled up (but to the context where the spec says
    // `filled`).
    std::vector<int32_t> operator()(std::string_view text) const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace samclip
