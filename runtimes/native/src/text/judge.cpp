#include "text/judge.hpp"

#include <algorithm>
#include <cmath>

#include "text/clean.hpp"
#include "text/default_rivals.hpp"

namespace samclip {

namespace {

constexpr size_t kStrongest = 4;  // patches that speak for a name
constexpr double kNone = -60;     // the log-odds of nothing at all

// The highest cosine of any two; 1 where there are fewer than two.
double nearest(const Features& features) {
    float highest = features.count < 2 ? 1.0f : -1.0f;
    for (size_t k = 0; k < features.count; ++k) {
        for (size_t j = 0; j < k; ++j) {
            highest = std::max(highest, dot(features.row(k), features.row(j), features.width));
        }
    }
    return highest;
}

// Scaled cosines of P features with each of some texts: (K,P), one text after another.
std::vector<Floats> scaled(const float* features, size_t count, size_t stride_e, size_t stride_p, const Features& texts,
                           double scale) {
    std::vector<Floats> made(texts.count, Floats(count));
    for (size_t k = 0; k < texts.count; ++k) {
        Floats& row = made[k];
        for (size_t e = 0; e < texts.width; ++e) {
            const float weight = texts.row(k)[e];
            const float* from = features + e * stride_e;
            if (stride_p == 1) {
                for (size_t p = 0; p < count; ++p) row[p] += weight * from[p];
            } else {
                for (size_t p = 0; p < count; ++p) row[p] += weight * from[p * stride_p];
            }
        }
        for (float& each : row) each *= static_cast<float>(scale);
    }
    return made;
}

}  // namespace

double sigmoid(double log_odds) { return 1 / (1 + std::exp(-std::clamp(log_odds, -60.0, 60.0))); }

// Names and what they are compared with.
struct Judge::Compared {
    Features own, against;
    std::vector<std::vector<bool>> competes;  // (K,R)
    size_t rivals;                            // the first of them are the bundle's own
};

const Judge::Rivals& Judge::rivals(samclip_task* task) {
    {
        const std::lock_guard<std::mutex> held(lock_);
        if (rivals_) return *rivals_;
    }
    const Manifest& manifest = sessions_.manifest();
    Rivals found;
    if (manifest.calibration) {
        found.named = read_features(sessions_.files(), manifest.calibration->names, manifest.calibration->features,
                                    manifest.features);
        found.same = manifest.calibration->same;
    } else {  // an older bundle has the names of its vocabulary, or else COCO's 80
        found.named.names = words_.has_vocabulary() ? words_.vocabulary() : default_rivals();
        found.named.features = words_.features(found.named.names, task);
        found.same = nearest(found.named.features);
    }
    const std::lock_guard<std::mutex> held(lock_);
    if (!rivals_) rivals_ = std::move(found);
    return *rivals_;
}

Judge::Compared Judge::compared(const Names& names, const Names& background, samclip_task* task) {
    const Rivals& bundled = rivals(task);
    Compared made{words_.features(names, task), bundled.named.features, {}, bundled.named.names.size()};
    if (!background.empty()) {
        const Features further = words_.features(background, task);
        made.against.values.insert(made.against.values.end(), further.values.begin(), further.values.end());
        made.against.count += further.count;
    }
    Names spelled;
    for (const std::string& each : bundled.named.names) spelled.push_back(clean(each));
    for (const std::string& each : background) spelled.push_back(clean(each));
    for (size_t k = 0; k < names.size(); ++k) {
        const std::string own = clean(names[k]);
        std::vector<bool> row;
        for (size_t r = 0; r < spelled.size(); ++r) {
            // A rival that means the same as the name does not compete; of `background` only the name itself does not.
            const float cosine = dot(made.own.row(k), made.against.row(r), made.own.width);
            const bool means_the_same = r < made.rivals && cosine > static_cast<float>(bundled.same);
            row.push_back(!means_the_same && spelled[r] != own);
        }
        made.competes.push_back(std::move(row));
    }
    return made;
}

std::vector<Floats> Judge::log_odds(const float* features, size_t count, size_t stride_e, size_t stride_p,
                                    const Names& names, const Names& background, samclip_task* task) {
    const Compared all = compared(names, background, task);
    const auto bias = sessions_.manifest().logit_bias;
    const double scale = words_.logit_scale();
    const std::vector<Floats> ours = scaled(features, count, stride_e, stride_p, all.own, scale);
    const std::vector<Floats> theirs = scaled(features, count, stride_e, stride_p, all.against, scale);
    std::vector<Floats> odds(names.size(), Floats(count));
    // With a bias (SigLIP) a name stands against nothing, whose log-odds are 0, and `background`; the bundle's own
    // rivals do not compete.
    const size_t first = bias ? all.rivals : 0;
    for (size_t k = 0; k < names.size(); ++k) {
        for (size_t p = 0; p < count; ++p) {
            double highest = bias ? 0 : -1e300, sum = bias ? 1 : 0;  // of exp(logit - highest)
            for (size_t r = first; r < theirs.size(); ++r) {
                if (!all.competes[k][r]) continue;
                const double logit = static_cast<double>(theirs[r][p]) + bias.value_or(0);
                if (logit > highest) sum = sum * std::exp(highest - logit) + 1, highest = logit;
                else sum += std::exp(logit - highest);
            }
            const double against = sum > 0 ? highest + std::log(sum) : kNone;
            odds[k][p] = static_cast<float>(static_cast<double>(ours[k][p]) + bias.value_or(0) - against);
        }
    }
    return odds;
}

Floats Judge::log_odds(const Floats& feature, const Names& names, const Names& background, samclip_task* task) {
    Floats odds;
    for (const Floats& each : log_odds(feature.data(), 1, 1, 1, names, background, task)) odds.push_back(each[0]);
    return odds;
}

double Judge::similarity(const Floats& feature, const std::string& name, samclip_task* task) {
    const Features own = words_.features({name}, task);
    return static_cast<double>(dot(feature.data(), own.row(0), own.width));
}

Logistic Judge::logistic(Kind kind, const Size& size) const {
    const auto& stored = sessions_.manifest().calibration;
    for (size_t k = 0; stored && k < stored->sizes.size(); ++k) {
        const Chances& each = stored->sizes[k];
        if (each.size == size) {
            return kind == Kind::patches ? each.patches : kind == Kind::mask ? each.mask : each.photo;
        }
    }
    return {};
}

double Judge::chance(Kind kind, const Size& size, double log_odds) const {
    const Logistic how = logistic(kind, size);
    return sigmoid(static_cast<float>(how.slope * log_odds + how.offset));
}

double strongest(const Floats& log_odds) {
    std::vector<double> chances;
    for (const float each : log_odds) chances.push_back(sigmoid(each));
    const size_t count = std::min(kStrongest, chances.size());
    std::partial_sort(chances.begin(), chances.begin() + static_cast<long>(count), chances.end(),
                      std::greater<double>());
    double mean = 0;
    for (size_t k = 0; k < count; ++k) mean += chances[k] / static_cast<double>(count);
    return static_cast<float>(std::log(mean) - std::log1p(-std::min(mean, 1 - 1e-12)));
}

}  // namespace samclip
