// Answers what tests/test_text.py asks of the text code. A line is a command and its texts, each in hexadecimal with
// "x" before it; the answer is a line of texts, or of numbers, or "error" and the line of the error.
//
// With two arguments, a tokenizer.json and a text, it tells how long loading and tokenizing take.
#include <utf8proc.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "error.hpp"
#include "python_repr.hpp"
#include "text/clean.hpp"
#include "text/names.hpp"
#include "text/tokenizer.hpp"

namespace {

using Texts = std::vector<std::string>;

std::string from_hex(const std::string& word) {
    std::string bytes;
    for (size_t i = 1; i + 1 < word.size(); i += 2) {
        bytes += static_cast<char>(std::stoi(word.substr(i, 2), nullptr, 16));
    }
    return bytes;
}

std::string to_hex(const std::string& bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    std::string word = "x";
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        word += kDigits[byte >> 4];
        word += kDigits[byte & 15];
    }
    return word;
}

std::string to_hex(const Texts& texts) {
    std::string words;
    for (const std::string& text : texts) words += (words.empty() ? "" : " ") + to_hex(text);
    return words;
}

std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

samclip::Cleaning cleaning(const std::string& name) {
    if (name == "lower") return samclip::Cleaning::lower;
    return name == "whitespace" ? samclip::Cleaning::whitespace : samclip::Cleaning::canonicalize;
}

class Pointers {
public:
    Pointers(const Texts& texts, size_t from) {
        for (size_t i = from; i < texts.size(); ++i) pointers_.push_back(texts[i].c_str());
    }
    samclip_names names() const { return {pointers_.data(), pointers_.size()}; }

private:
    std::vector<const char*> pointers_;
};

// The characters that utf8proc knows, as first and last of each run.
std::string assigned() {
    std::ostringstream ranges;
    bool before = false;
    for (int c = 0; c <= 0x110000; ++c) {
        const bool now = c < 0x110000 && utf8proc_category(c) != UTF8PROC_CATEGORY_CN;
        if (now && !before) ranges << c << ' ';
        if (before && !now) ranges << c - 1 << ' ';
        before = now;
    }
    return ranges.str();
}

std::string numbers(const std::vector<int32_t>& ids) {
    std::string line;
    for (const int32_t id : ids) line += std::to_string(id) + " ";
    return line;
}

std::unique_ptr<samclip::Tokenizer> tokenizer;

// texts: the content of a tokenizer.json, the path in messages, vocab, context, "filled" or "", the cleaning.
std::string load(const Texts& texts) {
    samclip::TextSpec spec;
    spec.vocab = std::stoi(texts[2]);
    spec.filled = texts[4] == "filled";
    spec.cleaning = cleaning(texts[5]);
    tokenizer = std::make_unique<samclip::Tokenizer>(texts[0], spec, std::stoi(texts[3]), texts[1]);
    return std::to_string(tokenizer->pad());
}

const std::map<std::string, std::function<std::string(const Texts&)>> kCommands = {
    {"assigned", [](const Texts&) { return assigned(); }},
    {"cleaned", [](const Texts& texts) { return to_hex(samclip::cleaned(texts[1], cleaning(texts[0]))); }},
    {"stripped", [](const Texts& texts) { return to_hex(samclip::stripped(texts[0])); }},
    {"shown", [](const Texts& texts) { return to_hex(samclip::shown(texts[0])); }},
    {"utf8", [](const Texts& texts) { return std::string(samclip::is_utf8(texts[0]) ? "1" : "0"); }},
    {"labels", [](const Texts& texts) { return to_hex(samclip::check_labels(Pointers(texts, 1).names(), texts[0])); }},
    {"background",
     [](const Texts& texts) {
         const Pointers pointers(texts, 0);
         const samclip_names names = pointers.names();
         return to_hex(samclip::check_background(&names));
     }},
    {"no_background", [](const Texts&) { return to_hex(samclip::check_background(nullptr)); }},
    {"names", [](const Texts& texts) { return to_hex(samclip::read_names(texts[1], texts[0])); }},
    {"templates", [](const Texts& texts) { return to_hex(samclip::read_templates(texts[1], texts[0])); }},
    {"tokenizer", load},
    {"tokens", [](const Texts& texts) { return numbers((*tokenizer)(texts[0])); }},
};

std::string answer(const std::string& line) {
    std::istringstream words(line);
    std::string command, word;
    Texts texts;
    words >> command;
    while (words >> word) texts.push_back(from_hex(word));
    try {
        return kCommands.at(command)(texts);
    } catch (const samclip::InputError& error) {
        return "error " + to_hex(std::string(error.what()));
    }
}

void time(const std::string& path, const std::string& text) {
    using Clock = std::chrono::steady_clock;
    const auto microseconds = [](Clock::duration taken) {
        return std::chrono::duration<double, std::micro>(taken).count();
    };
    const std::string json = content(path);
    const Clock::time_point begin = Clock::now();
    const samclip::Tokenizer loaded(json, {}, 77, path);
    const Clock::time_point ready = Clock::now();
    size_t tokens = 0;
    for (int i = 0; i < 10000; ++i) tokens += loaded(text).size();
    std::printf("load %.1f ms, %.2f us for %zu tokens\n", microseconds(ready - begin) / 1000,
                microseconds(Clock::now() - ready) / 10000, tokens / 10000);
}

}  // namespace

int main(int count, char** arguments) {
    if (count == 3) return time(arguments[1], arguments[2]), 0;
    std::ios::sync_with_stdio(false);
    for (std::string line; std::getline(std::cin, line);) std::cout << answer(line) << "\n";
    return 0;
}
