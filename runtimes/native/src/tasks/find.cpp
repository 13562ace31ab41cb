// Text to masks: where the named things are, and no answer for a name that is not there. As
// `samclip_edge/tasks/find.py`.
#include <algorithm>
#include <cmath>

#include "python_repr.hpp"
#include "task.hpp"
#include "tasks/tasks.hpp"

namespace samclip {

namespace {

// What a name claims of the photo, before it is held against other names.
struct Claim {
    Mask mask;
    double log_odds;  // that the name is there: the higher wins a pixel that two names claim
};

struct Patch {
    int row, column;
};

// Up to `points` patches: the likeliest, then each time the farthest from those already taken.
std::vector<Patch> sampled(const Map& log_odds, int points, double threshold) {
    Patch best = {0, 0};
    for (int y = 0; y < log_odds.rows; ++y) {
        for (int x = 0; x < log_odds.columns; ++x) {
            if (log_odds.at(y, x) > log_odds.at(best.row, best.column)) best = {y, x};
        }
    }
    const double least = std::max(threshold * sigmoid(log_odds.at(best.row, best.column)), 1e-30);
    std::vector<Patch> candidates, taken = {best};
    for (int y = 0; y < log_odds.rows; ++y) {
        for (int x = 0; x < log_odds.columns; ++x) {
            if (sigmoid(log_odds.at(y, x)) >= least) candidates.push_back({y, x});
        }
    }
    while (taken.size() < std::min<size_t>(static_cast<size_t>(points), candidates.size())) {
        int farthest = -1;
        Patch next = best;
        for (const Patch& each : candidates) {
            int gap = INT32_MAX;
            for (const Patch& one : taken) {
                gap = std::min(gap, std::abs(each.row - one.row) + std::abs(each.column - one.column));
            }
            if (gap > farthest) farthest = gap, next = each;
        }
        taken.push_back(next);
    }
    return taken;
}

// The mask decoder's answer to a map over the patches and sampled patches. Each name is decoded by itself: in int8 the
// activations of prompts that are decoded together share a scale, so one name would change another's mask.
Decoded prompted(Encoded& encoded, const Map& log_odds, const std::vector<Patch>& patches, samclip_task* task) {
    const Frame& frame = encoded.frame();
    const float side = static_cast<float>(frame.cell(log_odds.rows));
    Prompts prompts;
    prompts.count = 1;
    prompts.points_each = patches.size() + 1;
    for (const Patch& each : patches) {
        prompts.points.push_back((static_cast<float>(each.column) + 0.5f) * side - 0.5f);
        prompts.points.push_back((static_cast<float>(each.row) + 0.5f) * side - 0.5f);
        prompts.labels.push_back(kForeground);
    }
    prompts.points.insert(prompts.points.end(), 2, 0.0f);
    prompts.labels.push_back(kNothing);
    Map clipped = log_odds;
    for (float& each : clipped.values) each = std::clamp(each, -9.2f, 9.2f);
    prompts.masks = frame.enlarge(clipped).values;
    prompts.has_mask = true;
    return encoded.decode(prompts, task);
}

// The merged model's claim of one name, from its calibrated log-odds over the patches.
Claim claimed(Encoded& encoded, Judge& judge, const std::string& name, const Map& map, const Finding& how,
              samclip_task* task) {
    const Frame& frame = encoded.frame();
    Claim claim = {};
    if (how.refine) {
        const auto inside = frame.cells(map.rows);
        Map part(std::min(inside[0], map.rows), std::min(inside[1], map.columns));
        for (int y = 0; y < part.rows; ++y) std::copy_n(map.row(y), part.columns, part.row(y));
        const Decoded decoded = prompted(encoded, map, sampled(part, how.points, how.threshold), task);
        claim.mask.logits.assign(decoded.mask(0, 0), decoded.mask(0, 0) + decoded.mask_size);
        claim.mask.predicted_iou = static_cast<double>(decoded.predicted_iou(0, 0));
    } else {
        claim.mask.logits = frame.enlarge(map).values;  // above 0: where the name's chance is above one half
    }
    claim.mask.runs = frame.mask(claim.mask.logits.data());
    claim.mask.label = name;
    claim.mask.similarity = 0;
    if (!claim.mask.runs.empty()) {
        claim.mask.similarity = judge.similarity(encoded.features_under(claim.mask.runs, task), name, task);
    }
    return claim;
}

// The merged model's way: patches say whether a name is there, and prompt the mask decoder with where.
std::vector<Claim> among_patches(Encoded& encoded, Judge& judge, const Names& labels, const Finding& how,
                                 samclip_task* task) {
    const Frame& frame = encoded.frame();
    const PatchFeatures patches = encoded.patch_features(task);
    const auto count = static_cast<size_t>(patches.rows) * static_cast<size_t>(patches.columns);
    const std::vector<Floats> maps =
        judge.log_odds(patches.values, count, count, 1, labels, how.naming.background, task);
    const auto inside = frame.cells(patches.rows);
    const Logistic logistic = judge.logistic(Kind::patches, frame.size());
    std::vector<Claim> claims;
    Steps steps(task, "drawing what was found", labels.size());
    for (size_t k = 0; k < labels.size(); ++k) {
        steps.next();
        Map map(patches.rows, patches.columns);
        map.values = maps[k];
        Floats seen;
        for (int y = 0; y < std::min(inside[0], map.rows); ++y) {
            seen.insert(seen.end(), map.row(y), map.row(y) + std::min(inside[1], map.columns));
        }
        const double log_odds = strongest(seen), score = judge.chance(Kind::patches, frame.size(), log_odds);
        if (!(score >= how.naming.min_score)) continue;
        for (float& each : map.values) {
            each = static_cast<float>(logistic.slope * static_cast<double>(each) + logistic.offset);
        }
        Claim claim = claimed(encoded, judge, labels[k], map, how, task);
        claim.log_odds = log_odds;
        claim.mask.score = score;
        claims.push_back(std::move(claim));
    }
    steps.end();
    return claims;
}

// SAM + CLIP's way: every mask of the photo is found and judged; a name claims all masks that it fits.
std::vector<Claim> among_masks(Encoded& encoded, Judge& judge, const Names& labels, const Finding& how,
                               samclip_task* task) {
    std::vector<Claim> claims;
    for (const Mask& mask : everything(encoded, how.grid, task)) {
        const std::vector<Fit> fits = name_fits(encoded, judge, mask.runs, labels, how.naming, task);
        for (size_t k = 0; k < labels.size(); ++k) {
            if (!(fits[k].score >= how.naming.min_score)) continue;
            Claim claim = {};
            claim.log_odds = fits[k].log_odds;
            claim.mask.runs = mask.runs;
            claim.mask.predicted_iou = mask.predicted_iou;
            claim.mask.label = labels[k];
            claim.mask.score = fits[k].score;
            claim.mask.similarity = fits[k].similarity;
            const auto other = std::find_if(claims.begin(), claims.end(),
                                            [&](const Claim& each) { return each.mask.label == labels[k]; });
            if (other == claims.end()) {
                claims.push_back(std::move(claim));
                continue;
            }
            Runs both = either(claim.mask.runs, other->mask.runs);
            // Of two that are the same the later, as Python's `max`.
            if (claim.log_odds >= other->log_odds) *other = std::move(claim);
            other->mask.runs = std::move(both);
        }
    }
    return claims;
}

}  // namespace

Finding Finding::of(const samclip_finding* given) {
    Finding how;
    how.naming = Naming::of(given == nullptr ? nullptr : given->naming);
    if (given == nullptr) return how;
    how.refine = given->no_refine == 0;
    if (given->points != 0) how.points = given->points;
    if (given->has_threshold) how.threshold = given->threshold;
    how.grid = Grid::of(given->grid);
    if (how.points < 1 || how.points > 3) {
        throw InputError("points " + std::to_string(how.points) + ": sample 1 to 3 points a name");
    }
    if (!(how.threshold >= 0 && how.threshold <= 1)) {
        throw InputError("threshold " + number_text(how.threshold) + ": give a share of the highest chance, 0 to 1");
    }
    return how;
}

Masks find(Encoded& encoded, Judge& judge, const Names& labels, const Finding& how, samclip_task* task) {
    const bool merged = encoded.has_patch_features();
    if (!how.refine && !merged) {
        throw InputError("refine: SAM + CLIP has no map of patches to answer with; refine, or use a merged bundle");
    }
    std::vector<Claim> claims = (merged ? among_patches : among_masks)(encoded, judge, labels, how, task);
    std::stable_sort(claims.begin(), claims.end(),
                     [](const Claim& a, const Claim& b) { return a.log_odds > b.log_odds; });
    Runs taken{encoded.frame().height(), encoded.frame().width(), {}};
    Masks masks;
    for (Claim& claim : claims) {
        const Runs own = claim.mask.runs;
        claim.mask.runs = without(own, taken);
        taken = either(taken, own);
        masks.push_back(std::move(claim.mask));
    }
    return masks;
}

}  // namespace samclip
