#include "arguments.hpp"

#include <algorithm>
#include <cstdlib>

#include "photo.hpp"

Arguments parsed(int count, char** given) {
    static const Strings known = {"--bundle", "--size", "--device",    "--threads", "--label",         "--point",
                                  "--box",    "--text", "--min-score", "--min-iou", "--min-stability", "-o"};
    Arguments made;
    for (int k = 1; k < count; ++k) {
        const std::string word = given[k];
        if (word == "--everything" || word == "--help") made.options[word];
        else if (word.size() < 2 || word[0] != '-') made.words.push_back(word);
        else if (std::find(known.begin(), known.end(), word) == known.end())
            throw BadInput("No such option: " + word + " (see --help)");
        else if (++k == count) throw BadInput("Option '" + word + "' requires an argument. (see --help)");
        else made.options[word].push_back(given[k]);
    }
    return made;
}

std::vector<double> numbers(const std::string& option, const std::string& text, const char* form, size_t least,
                            size_t most) {
    std::vector<double> found;
    const char* at = text.c_str();
    for (char* end = nullptr;; at = end + 1) {
        found.push_back(std::strtod(at, &end));
        if (end != at && *end == ',') continue;
        if (end == at || *end != '\0' || found.size() < least || found.size() > most) {
            throw BadInput(option + " " + text + ": not of the form " + form);
        }
        return found;
    }
}

double Arguments::number(const std::string& option, double otherwise) const {
    return has(option) ? numbers(option, last(option), "NUMBER", 1, 1)[0] : otherwise;
}
