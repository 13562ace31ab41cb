// Judges each name by itself: what speaks for it against a fixed set of rivals, and the chance that comes of it. As
// `samclip_edge/text/judge.py`.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "photo/frame.hpp"
#include "text/words.hpp"

namespace samclip {

constexpr double kMinScore = 0.5;  // the chance from which on a name is answered

enum class Kind { patches, mask, photo };  // what log-odds are of; each kind has a calibration of its own

double sigmoid(double log_odds);

// May be used from several threads.
class Judge {
public:
    explicit Judge(Words& words, Sessions& sessions) : words_(words), sessions_(sessions) {}

    // How much speaks for each name by itself: its log-odds in a softmax over it and its rivals, or those of a sigmoid
    // (SigLIP). features: P of them, feature e of the p-th at e * stride_e + p * stride_p, of length 1. Returns (K,P),
    // one name after another.
    std::vector<Floats> log_odds(const float* features, size_t count, size_t stride_e, size_t stride_p,
                                 const Names& names, const Names& background, samclip_task* task);
    // The same of one feature (E,): (K,).
    Floats log_odds(const Floats& feature, const Names& names, const Names& background, samclip_task* task);
    // The cosine of a feature (E,), of length 1, and a name.
    double similarity(const Floats& feature, const std::string& name, samclip_task* task);
    // The calibration of a kind at an input size.
    Logistic logistic(Kind kind, const Size& size) const;
    // The calibrated chance, 0..1, that a name is right.
    double chance(Kind kind, const Size& size, double log_odds) const;

private:
    struct Rivals {
        Named named;
        double same = 1;
    };
    struct Compared;
    const Rivals& rivals(samclip_task* task);
    Compared compared(const Names& names, const Names& background, samclip_task* task);

    Words& words_;
    Sessions& sessions_;
    std::mutex lock_;
    std::optional<Rivals> rivals_;
};

// The log-odds of the mean of the four highest chances of some log-odds.
double strongest(const Floats& log_odds);

}  // namespace samclip
