/* samclip_edge_parts.hpp: what samclip_edge.hpp asks with and answers with. Include that one. */
#ifndef SAMCLIP_EDGE_PARTS_HPP
#define SAMCLIP_EDGE_PARTS_HPP

#include <array>
#include <cmath>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "samclip_edge.h"

namespace samclip_edge {

using Features = std::vector<float>;  // rows of E numbers, one after another
using Grid = samclip_grid;            // fields that are 0 have SAM's values
using Size = samclip_size;
using Strings = std::vector<std::string>;

template <typename Type, void (*Free)(Type*)>
struct Freed {
    void operator()(Type* handle) const { Free(handle); }
};
template <typename Type, void (*Free)(Type*)>
using Handle = std::unique_ptr<Type, Freed<Type, Free>>;

// A call failed: its status, and as the text the line that Python's exception has.
class Error : public std::runtime_error {
public:
    Error(samclip_status status, const std::string& line) : std::runtime_error(line), status_(status) {}
    samclip_status status() const { return status_; }

private:
    samclip_status status_;
};

inline void check(samclip_status status) {
    if (status != SAMCLIP_OK) throw Error(status, samclip_error());
}

// Progress and cancelling of long calls.
class Task {
public:
    // Called before each step, in the thread of the call: false cancels it. What it throws, the call throws.
    using Progress = std::function<bool(const char* what, size_t done, size_t total)>;

    explicit Task(Progress progress = nullptr) : progress_(std::move(progress)) {
        samclip_task* made = nullptr;
        check(samclip_make_task(progress_ ? tell : nullptr, this, &made));
        handle_.reset(made);
    }
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    void cancel() { samclip_cancel(handle_.get()); }  // from any thread, for ever after
    bool cancelled() const { return samclip_cancelled(handle_.get()) != 0; }

    // Make a call with a task or, where it is null, without.
    template <typename Call>
    static void with(Task* task, Call call) {
        const samclip_status status = call(task == nullptr ? nullptr : task->handle_.get());
        if (task != nullptr && task->thrown_) std::rethrow_exception(std::exchange(task->thrown_, nullptr));
        check(status);
    }

private:
    static int tell(void* context, const char* what, size_t done, size_t total) noexcept {
        Task& self = *static_cast<Task*>(context);
        try {
            return self.progress_(what, done, total) ? 0 : 1;
        } catch (...) {
            self.thrown_ = std::current_exception();
            return 1;
        }
    }

    Progress progress_;
    std::exception_ptr thrown_;
    Handle<samclip_task, samclip_free_task> handle_;
};

// A picture that lies in memory. For padded YUV, set the planes of its samclip_image.
struct Image : samclip_image {
    // row_stride: bytes from a row to the next, of a format of one plane; 0: rows without gaps.
    Image(samclip_format of, const uint8_t* data, int wide, int high, size_t row_stride = 0)
        : samclip_image(samclip_packed(of, data, wide, high)) {
        if (row_stride == 0 || wide <= 0 || high <= 0) return;
        const auto rows = static_cast<size_t>(high);
        planes[0].bytes = row_stride * (rows - 1) + planes[0].bytes / rows;  // the last row may end where its pixels do
        planes[0].row_stride = row_stride;
    }
};

// B prompts, each of N points, a box, the logits of a mask, or of several of them.
struct Prompts {
    std::vector<double> points;  // (B,N,2) x, y
    std::vector<double> boxes;   // (B,4) x0, y0, x1, y1
    std::vector<int> labels;     // (B,N): 1 on the thing, 0 off it; empty: all 1
    std::vector<float> masks;    // (B,height,width) of `Scene::low_res`
    size_t count = 1;            // B

    static Prompts point(double x, double y) { return {{x, y}, {}, {}, {}}; }
    static Prompts box(double x0, double y0, double x1, double y1) { return {{}, {x0, y0, x1, y1}, {}, {}}; }
};

// How names are judged. What is left out is as Python has it.
struct Naming {
    std::optional<Strings> background;  // further rivals of every name
    std::optional<double> min_score;    // the least chance from which on a name is answered
};

// How words become masks. What is left out is as Python has it.
struct Finding {
    Naming naming;
    bool refine = true;               // false: the CLIP head's own map, without the mask decoder
    int points = 0;                   // the most point prompts of a name, 1 to 3; 0: 3
    std::optional<double> threshold;  // the least chance of such a point, as a share of the name's highest
    Grid grid = {};                   // of SAM + CLIP: which masks there are to be named
};

// Names, and how they are judged, as the C interface takes them: pointers into both.
class Asked {
public:
    explicit Asked(const Strings& labels, const Naming& how = {}) {
        names = listed(labels, labels_);
        if (how.background) background_ = listed(*how.background, rivals_);
        naming.background = how.background ? &background_ : nullptr;
        naming.min_score = how.min_score.value_or(0);
        naming.has_min_score = how.min_score ? 1 : 0;
    }
    explicit Asked(Strings&& labels, const Naming& how = {}) = delete;
    Asked(const Asked&) = delete;
    Asked& operator=(const Asked&) = delete;

    samclip_names names;
    samclip_naming naming = {};

private:
    static samclip_names listed(const Strings& names, std::vector<const char*>& into) {
        for (const std::string& name : names) {
            if (name.find('\0') != name.npos) throw Error(SAMCLIP_INPUT, "a name holds a NUL character; give letters");
            into.push_back(name.c_str());
        }
        return {into.data(), into.size()};
    }

    std::vector<const char*> labels_, rivals_;
    samclip_names background_ = {};
};

// A name for a photo.
struct Guess {
    std::string label;
    double score;       // the calibrated chance, 0..1, that it fits, whatever else was asked
    double similarity;  // the cosine of the photo and the name
    double share;       // its softmax probability among the labels, 0..1
};

// A list of masks as it is held, by the list and by each of its masks.
struct Held {
    Handle<samclip_masks, samclip_free_masks> handle;
    Size low_res;     // of logits
    size_t features;  // E
};

// A mask over the upright photo.
class Mask {
public:
    Mask(std::shared_ptr<const Held> held, size_t index) : held_(std::move(held)), index_(index) {
        const samclip_mask own = asked();
        width = own.width, height = own.height, area = own.area, rle = own.rle;
        box = {own.box[0], own.box[1], own.box[2], own.box[3]};
        if (!std::isnan(own.predicted_iou)) predicted_iou = own.predicted_iou;
        if (own.label != nullptr) label = own.label, score = own.score, similarity = own.similarity;
        if (!std::isnan(own.point[0])) point = {own.point[0], own.point[1]};
    }

    int width, height;                           // of the photo
    int64_t area;                                // pixels in the mask
    std::array<int, 4> box;                      // x0, y0, x1, y1, the end exclusive; zeros for an empty mask
    std::optional<double> predicted_iou;         // SAM's own; a map of the CLIP head alone has none
    std::optional<std::string> label;            // none: no name was asked for, or none fits
    std::optional<double> score, similarity;     // of the label: its calibrated chance, its cosine
    std::optional<std::array<double, 2>> point;  // x, y of the grid point that asked for the mask
    std::string rle;                             // the compressed `counts` of COCO's RLE

    // (height,width) of `Scene::low_res`, to be the mask of the next prompt; empty where there are none.
    std::vector<float> logits() const {
        const float* own = asked().logits;
        const auto wide = static_cast<size_t>(held_->low_res.width), high = static_cast<size_t>(held_->low_res.height);
        return own == nullptr ? std::vector<float>() : std::vector<float>(own, own + wide * high);
    }
    // Write the mask over (height,width) bytes: `inside` in it, 0 elsewhere. row_stride: 0: width.
    void draw(uint8_t* pixels, uint8_t inside = 255, size_t row_stride = 0) const {
        check(samclip_draw(held_->handle.get(), index_, inside, pixels, row_stride));
    }

private:
    samclip_mask asked() const {
        samclip_mask own;
        check(samclip_mask_at(held_->handle.get(), index_, &own));
        return own;
    }

    std::shared_ptr<const Held> held_;
    size_t index_;
};

// Masks of one photo.
class Masks {
public:
    Masks(samclip_masks* made, Size low_res, size_t features)
        : held_(new Held{Handle<samclip_masks, samclip_free_masks>(made), low_res, features}) {
        read();
    }
    size_t size() const { return masks_.size(); }
    bool empty() const { return masks_.empty(); }
    const Mask& operator[](size_t index) const { return masks_[index]; }
    auto begin() const { return masks_.begin(); }
    auto end() const { return masks_.end(); }

    // Name each mask by the label that fits it best, or by none where no chance is enough.
    void name(const Strings& labels, const Naming& naming = {}, Task* task = nullptr) {
        const Asked asked(labels, naming);
        Task::with(task,
                   [&](samclip_task* t) { return samclip_name(held_->handle.get(), asked.names, &asked.naming, t); });
        read();
    }
    // What is under each mask: (masks,E).
    Features features(Task* task = nullptr) const {
        Features made(size() * held_->features + 1);  // never without memory, for the call wants a pointer
        Task::with(task, [&](samclip_task* t) { return samclip_mask_features(held_->handle.get(), t, made.data()); });
        made.pop_back();
        return made;
    }

private:
    void read() {
        masks_.clear();
        for (size_t k = 0; k < samclip_mask_count(held_->handle.get()); ++k) masks_.emplace_back(held_, k);
    }

    std::shared_ptr<Held> held_;
    std::vector<Mask> masks_;
};

}  // namespace samclip_edge

#endif
