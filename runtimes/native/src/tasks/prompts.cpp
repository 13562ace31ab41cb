#include "tasks/prompts.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "python_repr.hpp"

namespace samclip {

namespace {

constexpr double kSlack = 0.5;  // pixels that a point may lie outside the photo, by rounding

std::string photo_of(const Frame& frame) {
    return "the photo, which is " + std::to_string(frame.width()) + "x" + std::to_string(frame.height());
}

template <typename Value>
void check_finite(const char* what, const Value* values, size_t count) {
    for (size_t k = 0; values != nullptr && k < count; ++k) {
        if (!std::isfinite(static_cast<double>(values[k]))) {
            throw InputError(std::string(what) + ": NaN or infinite; give numbers");
        }
    }
}

void add_point(Prompts& made, const Frame& frame, double x, double y, float label) {
    const auto place = frame.to_model(x, y);
    made.points.push_back(place[0]);
    made.points.push_back(place[1]);
    made.labels.push_back(label);
}

void add_click(Prompts& made, const Frame& frame, const double* point, int label) {
    const double x = point[0], y = point[1];
    if (x < -kSlack || y < -kSlack || x > frame.width() + kSlack || y > frame.height() + kSlack) {
        throw InputError("point " + number_text(x) + "," + number_text(y) + ": outside " + photo_of(frame) +
                         "; move it inside");
    }
    if (label != 0 && label != 1) throw InputError("labels: only 0 (background) and 1 (foreground) label a point");
    const double width = frame.width(), height = frame.height();
    add_point(made, frame, std::clamp(x, 0.0, width), std::clamp(y, 0.0, height), static_cast<float>(label));
}

void add_box(Prompts& made, const Frame& frame, const double* box) {
    std::vector<std::string> sides;
    for (size_t k = 0; k < 4; ++k) sides.push_back(number_text(box[k]));
    const std::string name = "box " + joined(sides, ",");
    if (box[0] >= box[2] || box[1] >= box[3]) {
        throw InputError(name + ": reversed or empty; give x0,y0,x1,y1 with x0 < x1 and y0 < y1");
    }
    const double width = frame.width(), height = frame.height();
    const double x0 = std::clamp(box[0], 0.0, width), x1 = std::clamp(box[2], 0.0, width);
    const double y0 = std::clamp(box[1], 0.0, height), y1 = std::clamp(box[3], 0.0, height);
    if (x0 >= x1 || y0 >= y1) throw InputError(name + ": does not meet " + photo_of(frame) + "; leave it out");
    add_point(made, frame, x0, y0, kTopLeft);
    add_point(made, frame, x1, y1, kBottomRight);
}

}  // namespace

Prompts prepared(const Frame& frame, const samclip_prompts& prompts) {
    const size_t each = prompts.points == nullptr ? 0 : prompts.points_each;
    if (prompts.points == nullptr && prompts.labels != nullptr) {
        throw InputError("labels: given without points; give the points they speak of");
    }
    if (prompts.points != nullptr && each == 0) {
        throw InputError("point: points_each is 0; say how many points a prompt has");
    }
    if (each > 1u << 20 || prompts.prompts > 1u << 20) {
        throw InputError("prompts: more than a million; ask for less at once");
    }
    if (prompts.points == nullptr && prompts.boxes == nullptr && prompts.masks == nullptr) {
        throw InputError("no prompt: give a point, a box or a mask");
    }
    const size_t low = static_cast<size_t>(frame.size().low_rows()) * static_cast<size_t>(frame.size().low_columns());
    check_finite("point", prompts.points, prompts.prompts * each * 2);
    check_finite("box", prompts.boxes, prompts.prompts * 4);
    check_finite("mask", prompts.masks, prompts.prompts * low);
    Prompts made;
    made.count = prompts.prompts;
    for (size_t b = 0; b < made.count; ++b) {
        for (size_t n = 0; n < each; ++n) {
            const size_t place = b * each + n;
            add_click(made, frame, prompts.points + 2 * place, prompts.labels == nullptr ? 1 : prompts.labels[place]);
        }
        if (prompts.boxes != nullptr) add_box(made, frame, prompts.boxes + 4 * b);
        else if (each != 0) {
            made.points.insert(made.points.end(), 2, 0.0f);
            made.labels.push_back(kNothing);
        }
    }
    made.points_each = each + (prompts.boxes != nullptr ? 2 : each != 0 ? 1 : 0);
    made.has_mask = prompts.masks != nullptr;
    if (made.has_mask) made.masks.assign(prompts.masks, prompts.masks + made.count * low);
    else made.masks.assign(low, 0.0f);
    made.ambiguous = each == 1 && prompts.boxes == nullptr && prompts.masks == nullptr;
    return made;
}

}  // namespace samclip
