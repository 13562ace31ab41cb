// Any bytes as a caption, a list of names, templates, and a tokenizer: an answer or an InputError, and nothing else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "error.hpp"
#include "text/clean.hpp"
#include "text/names.hpp"
#include "text/tokenizer.hpp"

namespace {

template <typename Call>
void tried(Call call) {
    try {
        call();
    } catch (const samclip::InputError&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const auto how : {samclip::Cleaning::lower, samclip::Cleaning::canonicalize, samclip::Cleaning::whitespace}) {
        if (!samclip::is_utf8(samclip::cleaned(text, how))) std::abort();
    }
    samclip::shown(text);
    samclip::stripped(text);
    tried([&] { samclip::read_names(text, "names.json"); });
    tried([&] { samclip::read_templates(text, "templates"); });
    tried([&] {
        samclip::TextSpec spec;
        samclip::Tokenizer(text, spec, spec.context, "tokenizer.json")("a photo of a dog");
    });
    return 0;
}
