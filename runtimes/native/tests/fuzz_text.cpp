// Any bytes as a caption, as names, and as a file of names or templates: an answer, or an error with its line.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "error.hpp"
#include "python_repr.hpp"
#include "text/clean.hpp"
#include "text/names.hpp"
#include "text/tokenizer.hpp"

namespace {

void need(bool holds) {
    if (!holds) std::abort();
}

template <typename Call>
void tried(Call call) {
    try {
        call();
    } catch (const samclip::InputError& error) {
        need(samclip::is_utf8(error.what()));
    }
}

// The tokenizer of the photo bundle, which fills a text up where it cleans it in one of the three ways.
samclip::Tokenizer tokenizer_of(samclip::Cleaning how) {
    std::ifstream file(SAMCLIP_EDGE_BUNDLE "/tokenizer.json", std::ios::binary);
    const std::string json(std::istreambuf_iterator<char>(file), {});
    samclip::TextSpec spec;
    spec.cleaning = how;
    spec.filled = how == samclip::Cleaning::canonicalize;
    return {json, spec, spec.context, "tokenizer.json"};
}

void encode(const samclip::Tokenizer& tokenizer, std::string_view text, bool filled) {
    const auto ids = tokenizer(text);
    const samclip::TextSpec spec;
    const auto context = static_cast<size_t>(spec.context);
    need(ids.size() >= 2 && (filled ? ids.size() == context : ids.size() <= context));
    for (const int32_t id : ids) need(id >= 0 && id < spec.vocab);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const samclip::Tokenizer tokenizers[] = {tokenizer_of(samclip::Cleaning::lower), tokenizer_of(samclip::Cleaning::canonicalize),
                                                    tokenizer_of(samclip::Cleaning::whitespace)};
    const std::string text(reinterpret_cast<const char*>(data), size);
    for (const auto how : {samclip::Cleaning::lower, samclip::Cleaning::canonicalize, samclip::Cleaning::whitespace}) {
        const std::string cleaned = samclip::cleaned(text, how);
        need(!samclip::is_utf8(text) || samclip::is_utf8(cleaned));
        if (samclip::is_utf8(text)) encode(tokenizers[static_cast<size_t>(how)], text, how == samclip::Cleaning::canonicalize);
    }
    samclip::shown(text);
    need(samclip::stripped(samclip::stripped(text)) == samclip::stripped(text));
    tried([&] { need(!samclip::read_names(text, "names.json").empty() || text.find('[') != text.npos); });
    for (const char* path : {"templates.json", "templates.txt"}) {
        tried([&] {
            for (const std::string& each : samclip::read_templates(text, path)) need(each.find("{}") != each.npos);
        });
    }
    // Two names: the bytes up to a NUL, and what is behind it.
    const size_t end = std::min(text.find('\0'), text.size());
    const char* const names[] = {text.c_str(), end < text.size() ? text.c_str() + end + 1 : nullptr};
    tried([&] {
        const samclip::Names once = samclip::check_labels({names, 1u + (names[1] != nullptr)});
        need(!once.empty() && once.size() <= 2);
        for (const std::string& name : once) need(samclip::fault_of(name).empty() && !samclip::clean(name).empty());
    });
    return 0;
}
