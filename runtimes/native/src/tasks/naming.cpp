#include <algorithm>
#include <cmath>
#include <numeric>

#include "python_repr.hpp"
#include "task.hpp"
#include "tasks/tasks.hpp"

namespace samclip {

Naming Naming::of(const samclip_naming* given) {
    Naming naming;
    naming.background = check_background(given == nullptr ? nullptr : given->background);
    if (given != nullptr && given->has_min_score) {
        naming.min_score = given->min_score;
        if (!(naming.min_score >= 0 && naming.min_score <= 1)) {
            throw InputError("min_score " + number_text(naming.min_score) + ": give a chance, 0 to 1");
        }
    }
    return naming;
}

std::vector<Guess> classify(Encoded& encoded, Words& words, Judge& judge, const Names& labels, const Naming& naming,
                            samclip_task* task) {
    const Floats photo = encoded.image_features(task);
    const Floats odds = judge.log_odds(photo, labels, naming.background, task);
    const std::vector<double> shares = words.probabilities(photo, labels, task);
    std::vector<Guess> guesses;
    for (size_t k = 0; k < labels.size(); ++k) {
        const double score = judge.chance(Kind::photo, encoded.frame().size(), odds[k]);
        guesses.push_back({labels[k], score, judge.similarity(photo, labels[k], task), shares[k]});
    }
    std::stable_sort(guesses.begin(), guesses.end(),
                     [](const Guess& a, const Guess& b) { return a.similarity > b.similarity; });
    return guesses;
}

std::vector<Fit> name_fits(Encoded& encoded, Judge& judge, const Runs& mask, const Names& labels, const Naming& naming,
                           samclip_task* task) {
    const Floats under = encoded.features_under(mask, task);
    const Floats odds = judge.log_odds(under, labels, naming.background, task);
    std::vector<Fit> fits;
    for (size_t k = 0; k < labels.size(); ++k) {
        const double score = judge.chance(Kind::mask, encoded.frame().size(), odds[k]);
        fits.push_back({odds[k], score, judge.similarity(under, labels[k], task)});
    }
    return fits;
}

void name_masks(Encoded& encoded, Judge& judge, Masks& masks, const Names& labels, const Naming& naming,
                samclip_task* task) {
    std::vector<Guess> best;  // of each mask; all of them before any is named, so that a call that fails names none
    Steps steps(task, "naming masks", masks.size());
    for (const Mask& mask : masks) {
        steps.next();
        const std::vector<Fit> fits = name_fits(encoded, judge, mask.runs, labels, naming, task);
        const auto likeliest = std::max_element(fits.begin(), fits.end(),
                                                [](const Fit& a, const Fit& b) { return a.log_odds < b.log_odds; });
        best.push_back(
            {labels[static_cast<size_t>(likeliest - fits.begin())], likeliest->score, likeliest->similarity, 0});
    }
    steps.end();
    for (size_t k = 0; k < masks.size(); ++k) {
        const bool fits = best[k].score >= naming.min_score;
        masks[k].label = fits ? std::optional<std::string>(std::move(best[k].label)) : std::nullopt;
        masks[k].score = best[k].score;
        masks[k].similarity = best[k].similarity;
    }
}

}  // namespace samclip
