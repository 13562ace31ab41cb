// Text by hand: what needs no Python, so that it runs on every processor. test_text.py compares with the Python
// package.
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "error.hpp"
#include "json.hpp"
#include "python_repr.hpp"
#include "text/bpe.hpp"
#include "text/clean.hpp"
#include "text/names.hpp"
#include "text/tokenizer.hpp"
#include "text/unicode.hpp"

using namespace samclip;

namespace {

std::string json_error(const std::string& text) {
    try {
        parse_json(text);
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "";
}

std::string input_error(const std::vector<const char*>& names) {
    try {
        check_labels({names.data(), names.size()});
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

// CLIP's tokenizer.json with eight words: a 0, b 1, a</w> 2, b</w> 3, ab 4, ab</w> 5, start 6, end 7.
std::string small_tokenizer() {
    const auto added = [](const char* id, const char* word) {
        return std::string(R"({"id":)") + id + R"(,"content":")" + word +
               R"(","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
    };
    return R"({"added_tokens":[)" + added("6", "<s>") + "," + added("7", "<s>e") + R"(],
    "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"Regex":"\\s+"},
    "content":" "},{"type":"Lowercase"}]},
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":
    "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},"behavior":"Removed","invert":true},
    {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},
    "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
    {"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<s>e","type_id":0}}],
    "special_tokens":{"<s>":{"id":"<s>","ids":[6],"tokens":["<s>"]},"<s>e":{"id":"<s>e","ids":[7],"tokens":["<s>e"]}}},
    "model":{"type":"BPE","end_of_word_suffix":"</w>","vocab":{"a":0,"b":1,"a</w>":2,"b</w>":3,"ab":4,"ab</w>":5,
    "<s>":6,"<s>e":7},"merges":[["a","b"],["a","b</w>"]]}})";
}

using Ids = std::vector<int32_t>;

Ids tokens(const std::string& text, int context = 10) {
    TextSpec spec;
    spec.vocab = 8;
    return Tokenizer(small_tokenizer(), spec, context, "t.json")(text);
}

}  // namespace

TEST_CASE("bytes that are no UTF-8 are told apart as Unicode's table 3-7 has it") {
    for (const char* text : {"", "a", "\xC3\xA9", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEF\xBF\xBF", "\xF0\x90\x80\x80",
                             "\xF4\x8F\xBF\xBF"}) {
        CHECK(is_utf8(text));
    }
    for (const char* text : {"\x80", "\xC1\xBF", "\xC3", "\xC3z", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE7\x8A",
                             "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
        CHECK_FALSE(is_utf8(text));
        CHECK(encoded(decoded(text)) != "");  // and nothing is read beyond the end
    }
}

TEST_CASE("captions are cleaned") {
    CHECK(clean(" \xE2\x80\x9CTwo\xE2\x80\x9D  &amp;amp; THREE\n") == "\"two\" & three");
    CHECK(clean("\xCE\x91\xCE\xA3 \xCE\xA3") ==
          "\xCE\xB1\xCF\x82 \xCF\x83");  // the sigma at the end of a word, and alone
    CHECK(clean("\xC4\xB0") == "i\xCC\x87");
    CHECK(cleaned("Snake_Case!", Cleaning::canonicalize) == "snake case");
    CHECK(cleaned("\x1B[31mA\x1B[0m  b", Cleaning::whitespace) == "A b");
    CHECK(clean("&#99999999999999999999;&#xD800;&#0") == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    CHECK(clean("\xFF") == "\xEF\xBF\xBD");
}

TEST_CASE("a surrogate in three bytes, as Java writes them, is shown as one") {
    CHECK(shown("\xED\xA0\xBD\xFF") == "'\\ud83d\\udcff'");
    CHECK(shown(std::string(100, 'x')) == "'" + std::string(59, 'x'));
}

TEST_CASE("of neighbours that may join the lowest rank does first, and of those the first") {
    std::array<int32_t, 512> letters;
    letters.fill(kNoToken);
    for (int32_t i = 0; i < 3; ++i) {
        letters[static_cast<size_t>('a' + i)] = letters[static_cast<size_t>(256 + 'a' + i)] = i;
    }
    const Bpe bpe(letters, {{1, 2, 0, 3}, {0, 1, 1, 4}, {0, 3, 2, 5}, {0, 0, 3, 6}, {4, 0, 4, 7}});
    const auto pieces = [&bpe](const char* word) {
        Ids ids;
        bpe.append(word, ids);
        return ids;
    };
    CHECK(pieces("") == Ids{});
    CHECK(pieces("abc") == Ids{5});  // bc (rank 0) before ab, then abc
    CHECK(pieces("ab") == Ids{4});
    CHECK(pieces("aaa") == Ids{6, 0});  // the first two
    CHECK(pieces("aab") == Ids{0, 4});  // ab (1) before aa (3)
    CHECK(pieces("abza") == Ids{7});    // a byte without a token is left out
    CHECK(pieces("zz") == Ids{});
    CHECK(pieces(std::string(100'000, 'a').c_str()) == Ids(50'000, 6));
}

TEST_CASE("a text is tokenized between its ends and cut to its context") {
    CHECK(tokens("") == Ids{6, 7});
    CHECK(tokens("AB a b") == Ids{6, 5, 2, 3, 7});
    CHECK(tokens("abab") == Ids{6, 4, 5, 7});
    CHECK(tokens("a <s>b<s>e a") == Ids{6, 2, 6, 3, 7, 2, 7});  // special tokens; the longest where two begin
    CHECK(tokens("a a a a", 4) == Ids{6, 2, 2, 7});
    CHECK(tokens("a a a a", 2) == Ids{6, 7});
    CHECK(tokens("a a a a", 0) == Ids{6, 7});
}

TEST_CASE("a tokenizer that refers to what it does not have is refused") {
    TextSpec spec;
    spec.vocab = 7;  // its last id is 7
    CHECK_THROWS_WITH_AS(Tokenizer(small_tokenizer(), spec, 77, "t.json"),
                         "t.json: not a tokenizer.json (7 is no token id of 7); export the bundle again", InputError);
    spec.vocab = 8;
    std::string other = small_tokenizer();
    other.replace(other.find(R"(["a","b</w>"])"), 12, R"(["b","a</w>"])");
    CHECK_THROWS_AS(Tokenizer(other, spec, 77, "t.json"), InputError);
    CHECK_THROWS_AS(Tokenizer("[]", spec, 77, "t.json"), InputError);
    CHECK_THROWS_AS(Tokenizer("\xFF", spec, 77, "t.json"), InputError);
}

TEST_CASE("JSON is read, and what is none is refused in one line") {
    CHECK(parse_json("\xEF\xBB\xBF [1, -2, 2.5, \"a\\u00e9\", {\"b\": null, \"a\": [true]}] ").dump() ==
          "[1,-2,2.5,\"a\xC3\xA9\",{\"b\":null,\"a\":[true]}]");
    CHECK(json_error("") == "no JSON at byte 1");
    CHECK(json_error("[1, x]") == "no JSON at byte 5");
    CHECK(json_error("[1]]") == "no JSON at byte 4");
    CHECK(json_error(std::string("[1]\0", 4)) == "no JSON at byte 4");
    CHECK(json_error("[\"\xFF\"]") == "no JSON at byte 3");
    CHECK(json_error("[NaN]") == "no JSON at byte 2");
    CHECK(json_error("[1e999]") == "a number is too large");
    CHECK(json_error(std::string(258, '[') + std::string(258, ']')) == "");
    CHECK(json_error(std::string(259, '[') + std::string(259, ']')) == "brackets are nested too deeply");
}

TEST_CASE("a key that stands twice is refused, or its last value counts") {
    const char* const twice = "{\"a\": 1, \"b\": {\"a\": 2}, \"a\": {\"c\": 3}, \"a\": 4}";
    CHECK(json_error(twice) == "the key 'a' stands twice in one object");
    CHECK(parse_json(twice, false).dump() == "{\"a\":4,\"b\":{\"a\":2}}");
}

TEST_CASE("another error's message is cut to its first line") {
    CHECK(one_line(" refused\r\nbecause") == "refused");
    CHECK(one_line(" \n") == "and does not say why");
    CHECK(one_line(std::string(201, 'x')) == std::string(200, 'x'));
}

TEST_CASE("labels are checked") {
    const std::vector<const char*> given = {" dog", "cat", "DOG "};
    CHECK(check_labels({given.data(), given.size()}) == Names{"dog", "cat"});
    CHECK(input_error({}) == "labels: no name; give at least one");
    CHECK(input_error({"a", " "}) == "labels: name 2 of 2 is empty; give it a word");
    CHECK(input_error({"a", nullptr}) == "labels: name 2 of 2, None, is no text; pass a string");
    CHECK(input_error({"caf\xE9"}) == "labels: name 1 of 1, 'caf\\udce9', is not UTF-8; give letters in UTF-8");
    CHECK_THROWS_AS(check_labels({nullptr, 2}), InputError);
    CHECK(check_background(nullptr) == Names{"background"});
}
