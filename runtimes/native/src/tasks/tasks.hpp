// What a photo is asked: each a function over `Encoded`, whichever model encoded it. As `samclip_edge/tasks/`.
#pragma once

#include <string>
#include <vector>

#include "encoded.hpp"
#include "tasks/mask.hpp"
#include "text/judge.hpp"

namespace samclip {

// How names are judged.
struct Naming {
    Names background;
    double min_score = kMinScore;

    // nullptr: as Python does by default. Throws InputError for a score that is no chance.
    static Naming of(const samclip_naming* given);
};

// A name for a photo.
struct Guess {
    std::string label;
    double score, similarity, share;
};

// Each name judged by itself, most similar first (`tasks/classify.py`).
std::vector<Guess> classify(Encoded& encoded, Words& words, Judge& judge, const Names& labels, const Naming& naming,
                            samclip_task* task);

// The best mask for each prompt; or its three, highest predicted IoU first (`tasks/segment.py`).
Masks segment(Encoded& encoded, const Prompts& prompts, samclip_task* task);
Masks segment_all(Encoded& encoded, const Prompts& prompts, samclip_task* task);

// Which masks of the grid are kept (`Settings` of `tasks/everything.py`).
struct Grid {
    int points_per_side = 32;
    double predicted_iou = 0.88, stability = 0.95, offset = 1.0, overlap = 0.7;

    // nullptr, and fields that are 0: SAM's. Throws InputError.
    static Grid of(const samclip_grid* given);
};

// All masks that pass the filters, best predicted IoU first (`tasks/everything.py`).
Masks everything(Encoded& encoded, const Grid& grid, samclip_task* task);

// How well a name fits a mask, whatever else is asked.
struct Fit {
    double log_odds, score, similarity;
};
std::vector<Fit> name_fits(Encoded& encoded, Judge& judge, const Runs& mask, const Names& labels, const Naming& naming,
                           samclip_task* task);
// Name each mask by the name that fits it best; leave it without a label where none has `min_score`.
void name_masks(Encoded& encoded, Judge& judge, Masks& masks, const Names& labels, const Naming& naming,
                samclip_task* task);

// Greedy non-maximum suppression of boxes x0, y0, x1, y1, as `torchvision.ops.nms`: the places that are kept, best
// first.
std::vector<size_t> suppress(const std::vector<std::array<double, 4>>& boxes, const std::vector<double>& quality,
                             double threshold);

// How names are looked for (`FindSettings` of `tasks/find.py`).
struct Finding {
    Naming naming;
    bool refine = true;
    int points = 3;
    double threshold = 0.5;
    Grid grid;

    static Finding of(const samclip_finding* given);
};

// One mask for each name that is seen in the photo, highest score first; no two overlap (`tasks/find.py`).
Masks find(Encoded& encoded, Judge& judge, const Names& labels, const Finding& how, samclip_task* task);

}  // namespace samclip
