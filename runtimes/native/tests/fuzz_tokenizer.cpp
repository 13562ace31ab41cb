// Any bytes as a tokenizer.json: it is refused with its line, or it makes token ids of any caption.
#include <cstdlib>

#include "error.hpp"
#include "fuzz_json.hpp"
#include "text/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    samclip::TextSpec spec;
    spec.context = 16;
    try {
        const samclip::Tokenizer tokenizer({reinterpret_cast<const char*>(data), size}, spec, spec.context, "tokenizer.json");
        for (const char* text : {"", "a photo of a dog", "the dogs' \xC3\xA9t\xC3\xA9, 12 <|endoftext|> cats and catfish catch",
                                 "<|startoftext|><|endoftext|>\xF0\x9F\x90\xB6 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
            const auto ids = tokenizer(text);
            if (ids.size() < 2 || ids.size() > 16) std::abort();
            for (const int32_t id : ids) {
                if (id < 0 || id >= spec.vocab) std::abort();
            }
        }
        if (tokenizer.pad() < 0 || tokenizer.pad() >= spec.vocab) std::abort();
    } catch (const samclip::InputError&) {
    }
    return 0;
}
