#include "text/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

#include "error.hpp"
#include "json.hpp"
#include "python_repr.hpp"
#include "text/bpe.hpp"
#include "text/clean.hpp"
#include "text/unicode.hpp"

namespace samclip {
namespace {

// What this file does, as a tokenizer.json says it.
constexpr std::string_view kNormalizer = R"({"type":"Sequence","normalizers":[{"type":"NFC"},
    {"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]})";
constexpr std::string_view kPreTokenizer = R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":
    {"Regex":"'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},"behavior":"Removed","invert":true},
    {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
// What else there is to choose of a BPE model, and how it is chosen. A field that is missing is as it stands here.
constexpr std::string_view kModel =
    R"({"dropout":null,"unk_token":null,"continuing_subword_prefix":null,"fuse_unk":false,
    "byte_fallback":false,"ignore_merges":false})";

using Ids = std::unordered_map<std::string_view, int32_t>;

[[noreturn]] void refuse(const std::string& reason) { throw std::invalid_argument(reason); }

const Json& wanted(const Json& object, const std::string& key) {
    const auto found = object.find(key);
    if (found == object.end()) refuse("it has no " + key);
    return *found;
}

const Json::array_t& list_of(const Json& value, const char* what) {
    const auto* list = value.get_ptr<const Json::array_t*>();
    if (!list) refuse(std::string(what) + " is no list");
    return *list;
}

const std::string& text_of(const Json& value, const char* what) {
    const auto* text = value.get_ptr<const std::string*>();
    if (!text) refuse(std::string(what) + " is no text");
    return *text;
}

int32_t id_of(const Json& value, int vocab) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= static_cast<uint64_t>(vocab)) {
        refuse(value.dump() + " is no token id of " + std::to_string(vocab));
    }
    return value.get<int32_t>();
}

// Whether a value says the same as a text. Keys of objects may come in any order.
bool says(const Json& value, std::string_view text) { return nlohmann::json(value) == nlohmann::json::parse(text); }

void check_is(const Json& object, const char* key, std::string_view what) {
    if (!says(wanted(object, key), what)) refuse(std::string("its ") + key + " is not CLIP's");
}

// The letter that stands for a byte in the words of a vocabulary (GPT-2's): itself where it is printable.
char32_t letter_of(size_t byte) {
    const auto printable = [](size_t b) { return (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD); };
    if (printable(byte)) return static_cast<char32_t>(byte);
    char32_t letter = 0x100;
    for (size_t b = 0; b < byte; ++b) letter += !printable(b);
    return letter;
}

// Of the words of a model, which must outlive them.
Ids read_vocab(const Json& model, int vocab) {
    const auto* words = wanted(model, "vocab").get_ptr<const Json::object_t*>();
    if (!words) refuse("vocab is no object");
    Ids ids;
    ids.reserve(words->size());
    for (const auto& [word, id] : *words) ids.emplace(word, id_of(id, vocab));
    return ids;
}

int32_t known(const Ids& ids, std::string_view word) {
    const auto found = ids.find(word);
    if (found == ids.end()) refuse("Token `" + std::string(word) + "` out of vocabulary");
    return found->second;
}

std::vector<Merge> read_merges(const Json& model, const Ids& ids) {
    const Json::array_t& pairs = list_of(wanted(model, "merges"), "merges");
    std::vector<Merge> merges;
    merges.reserve(pairs.size());
    std::string made;
    for (const Json& pair : pairs) {
        std::string_view left, right;
        if (const auto* both = pair.get_ptr<const std::string*>()) {  // as older files have it: "a b"
            const size_t space = both->find(' ');
            if (space == both->npos || both->find(' ', space + 1) != both->npos) refuse("a merge is not of two");
            left = std::string_view(*both).substr(0, space), right = std::string_view(*both).substr(space + 1);
        } else {
            if (list_of(pair, "a merge").size() != 2) refuse("a merge is not of two");
            left = text_of(pair[0], "a merge"), right = text_of(pair[1], "a merge");
        }
        made.assign(left).append(right);
        merges.push_back({known(ids, left), known(ids, right), static_cast<int32_t>(merges.size()), known(ids, made)});
    }
    return merges;
}

Bpe read_model(const Json& model, const Ids& ids) {
    if (text_of(wanted(model, "type"), "the model's type") != "BPE") refuse("its model is not BPE");
    const Json usual = Json::parse(kModel);
    for (const auto& [key, value] : usual.items()) {
        if (model.value(key, value) != value) refuse("the model's " + key + " is not CLIP's");
    }
    const std::string& suffix = text_of(wanted(model, "end_of_word_suffix"), "end_of_word_suffix");
    std::array<int32_t, 512> letters;
    for (size_t byte = 0; byte < 256; ++byte) {
        std::string word = encoded(std::u32string(1, letter_of(byte)));
        const auto inside = ids.find(word);
        const auto last = ids.find(word.append(suffix));
        letters[byte] = inside == ids.end() ? kNoToken : inside->second;
        letters[256 + byte] = last == ids.end() ? kNoToken : last->second;
    }
    return {letters, read_merges(model, ids)};
}

// A token that stands in a text as it is, and is looked for before anything is done to the text.
struct Special {
    std::string text;
    int32_t id;
};

// What the post-processor puts before a text (first), and behind it.
std::array<Special, 2> read_ends(const Json& fields, const Ids& ids) {
    const Json& processor = wanted(fields, "post_processor");
    const Json::array_t& parts = list_of(wanted(processor, "single"), "single");
    if (text_of(wanted(processor, "type"), "the post_processor's type") != "TemplateProcessing" || parts.size() != 3) {
        refuse("its post_processor is not CLIP's");
    }
    wanted(parts[1], "Sequence");
    std::array<Special, 2> ends;
    for (size_t i = 0; i < 2; ++i) {
        const std::string& word = text_of(wanted(wanted(parts[2 * i], "SpecialToken"), "id"), "a special token");
        ends[i] = {word, known(ids, word)};
        const Json& own = wanted(wanted(wanted(processor, "special_tokens"), word), "ids");
        if (word.empty() || own != Json::array({ends[i].id})) refuse("its special_tokens are not those of its vocab");
    }
    return ends;
}

// The added tokens must be the two ends, and be looked for as they stand.
void check_added(const Json& fields, const std::array<Special, 2>& ends) {
    const Json::array_t& added = list_of(wanted(fields, "added_tokens"), "added_tokens");
    if (added.size() != ends.size()) refuse("its added_tokens are not start and end of text");
    for (const Special& end : ends) {
        const auto is_end = [&](const Json& token) {
            return wanted(token, "content") == end.text && wanted(token, "id") == end.id;
        };
        if (std::none_of(added.begin(), added.end(), is_end)) refuse("its added_tokens are not start and end of text");
    }
    for (const Json& token : added) {
        for (const char* choice : {"single_word", "lstrip", "rstrip", "normalized"}) {
            if (wanted(token, choice) != false) refuse(std::string("an added token is ") + choice);
        }
    }
}

int32_t read_pad(const Json& fields, int vocab) {
    const auto padding = fields.find("padding");
    return padding == fields.end() || padding->is_null() ? 0 : id_of(wanted(*padding, "pad_id"), vocab);
}

// The normalizer: NFC, one space for white space, lower case.
std::u32string normalized(std::string_view text) {
    std::u32string made;
    bool space = false;
    for (const char32_t c : nfc(decoded(text))) {
        const bool more = is_white_space(c);
        if (!more) {
            append_lower(c, made);
        } else if (!space) {
            made += U' ';
        }
        space = more;
    }
    return made;
}

// Where the word that begins at `at` ends by the pre-tokenizer's regular expression; `at` for white space.
size_t word_end(const std::u32string& text, size_t at) {
    for (const std::u32string_view ending : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
        if (text.compare(at, ending.size(), ending) == 0) return at + ending.size();
    }
    const auto behind = [&](auto&& belongs) {
        size_t end = at;
        while (end < text.size() && belongs(text[end])) ++end;
        return end;
    };
    if (is_number(text[at])) return at + 1;
    if (is_letter(text[at])) return behind(is_letter);
    return behind([](char32_t c) { return !is_white_space(c) && !is_letter(c) && !is_number(c); });
}

}  // namespace

struct Tokenizer::Impl {
    Bpe bpe;
    std::array<Special, 2> ends;
    int32_t pad;
    size_t context;
    bool filled;
    Cleaning cleaning;

    // Append the tokens of a text without special tokens, until there are `most`.
    void append(std::string_view text, size_t most, std::vector<int32_t>& ids) const {
        const std::u32string characters = normalized(text);
        for (size_t at = 0; at < characters.size() && ids.size() < most;) {
            const size_t end = word_end(characters, at);
            if (end > at) bpe.append(encoded(std::u32string_view(characters).substr(at, end - at)), ids);
            at = std::max(end, at + 1);
        }
    }
};

Tokenizer::Tokenizer(std::string_view json, const TextSpec& spec, int context, const std::string& shown_path) try {
    const Json fields = parse_json(json);
    const Json& model = wanted(fields, "model");
    check_is(fields, "normalizer", kNormalizer);
    check_is(fields, "pre_tokenizer", kPreTokenizer);
    const Ids ids = read_vocab(model, spec.vocab);
    std::array<Special, 2> ends = read_ends(fields, ids);
    check_added(fields, ends);
    const auto length = static_cast<size_t>(std::max(context, 0));
    impl_ = std::make_unique<Impl>(Impl{read_model(model, ids), std::move(ends), read_pad(fields, spec.vocab), length,
                                        spec.filled, spec.cleaning});
} catch (const std::invalid_argument& error) {
    throw InputError(shown_path + ": not a tokenizer.json (" + one_line(error.what()) + "); export the bundle again");
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

int Tokenizer::pad() const { return impl_->pad; }

std::vector<int32_t> Tokenizer::operator()(std::string_view given) const {
    const std::string text = cleaned(given, impl_->cleaning);
    const size_t most = std::max<size_t>(impl_->context, 2) - 1;  // with the start, without the end
    std::vector<int32_t> ids = {impl_->ends[0].id};
    for (size_t at = 0; at < text.size() && ids.size() < most;) {
        size_t next = text.size();
        const Special* special = nullptr;  // the first in the text, and the longest where both begin there
        for (const Special& each : impl_->ends) {
            const size_t found = text.find(each.text, at);
            if (found == std::string::npos || found > next) continue;
            if (special && found == next && each.text.size() < special->text.size()) continue;
            special = &each, next = found;
        }
        impl_->append(std::string_view(text).substr(at, next - at), most, ids);
        if (special) ids.push_back(special->id);
        at = next + (special ? special->text.size() : 0);
    }
    ids.resize(std::min(ids.size(), most));
    ids.push_back(impl_->ends[1].id);
    if (impl_->filled) ids.resize(std::max(ids.size(), impl_->context), impl_->pad);
    return ids;
}

}  // namespace samclip
