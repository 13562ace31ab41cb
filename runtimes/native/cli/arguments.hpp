// The command line, taken apart.
#pragma once

#include <map>
#include <string>
#include <vector>

using Strings = std::vector<std::string>;

// The values of each option as they were given, and the words that belong to no option.
struct Arguments {
    std::map<std::string, Strings> options;
    Strings words;

    bool has(const std::string& option) const { return options.count(option) != 0; }
    Strings all(const std::string& option) const { return has(option) ? options.at(option) : Strings(); }
    std::string last(const std::string& option, const std::string& otherwise = "") const {
        return has(option) ? options.at(option).back() : otherwise;
    }
    // The number that an option gives. Throws BadInput for what is none.
    double number(const std::string& option, double otherwise) const;
};

// Options may stand anywhere. Throws BadInput for one that there is not, and for one without its value.
Arguments parsed(int count, char** given);

// Numbers with commas between. Throws BadInput where they are not as many as `least` to `most`. form: for the message.
std::vector<double> numbers(const std::string& option, const std::string& text, const char* form, size_t least,
                            size_t most);
