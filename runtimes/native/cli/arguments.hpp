// The command line, taken apart.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>

#include "photo.hpp"

using Strings = std::vector<std::string>;

// Numbers with commas between. Throws BadInput where they are not as many as `least` to `most`. form: for the message.
inline std::vector<double> numbers(const std::string& option, const std::string& text, const char* form, size_t least,
                                   size_t most) {
    std::vector<double> found;
    const char* at = text.c_str();
    for (char* end = nullptr;; at = end + 1) {
        found.push_back(std::strtod(at, &end));
        if (end != at && *end == ',') continue;
        if (end != at && *end == '\0' && found.size() >= least && found.size() <= most) return found;
        throw BadInput(option + " " + text + ": not of the form " + form);
    }
}

// The values of each option as they were given, and the words that belong to no option.
struct Arguments {
    std::map<std::string, Strings> options;
    Strings words;

    // Options may stand anywhere. Throws BadInput for one that there is not, and for one without its value.
    explicit Arguments(int count = 0, char** given = nullptr) {
        static const Strings known = {"--bundle", "--size", "--device",    "--threads", "--label",         "--point",
                                      "--box",    "--text", "--min-score", "--min-iou", "--min-stability", "-o"};
        for (int k = 1; k < count; ++k) {
            const std::string word = given[k];
            if (word == "--everything" || word == "--help") options[word];
            else if (word.size() < 2 || word[0] != '-') words.push_back(word);
            else if (std::find(known.begin(), known.end(), word) == known.end())
                throw BadInput("No such option: " + word + " (see --help)");
            else if (++k == count) throw BadInput("Option '" + word + "' requires an argument. (see --help)");
            else options[word].push_back(given[k]);
        }
    }
    bool has(const std::string& option) const { return options.count(option) != 0; }
    Strings all(const std::string& option) const { return has(option) ? options.at(option) : Strings(); }
    std::string last(const std::string& option, const std::string& otherwise = "") const {
        return has(option) ? options.at(option).back() : otherwise;
    }
    // The number that an option gives. Throws BadInput for what is none.
    double number(const std::string& option, double otherwise) const {
        return has(option) ? numbers(option, last(option), "NUMBER", 1, 1)[0] : otherwise;
    }
};
