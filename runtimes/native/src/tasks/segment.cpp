#include <algorithm>
#include <array>

#include "tasks/tasks.hpp"

namespace samclip {

namespace {

Mask drawn(Encoded& encoded, const Decoded& decoded, size_t prompt, size_t which) {
    const float* logits = decoded.mask(prompt, which);
    Mask mask;
    mask.runs = encoded.frame().mask(logits);
    mask.predicted_iou = static_cast<double>(decoded.predicted_iou(prompt, which));
    mask.logits.assign(logits, logits + decoded.mask_size);
    return mask;
}

// The three masks of a prompt, highest predicted IoU first.
std::array<size_t, 3> in_order(const Decoded& decoded, size_t prompt) {
    std::array<size_t, 3> order = {1, 2, 3};
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return decoded.predicted_iou(prompt, a) > decoded.predicted_iou(prompt, b);
    });
    return order;
}

}  // namespace

// A single click is ambiguous: of its three masks the one with the highest predicted IoU is taken. Anything else is
// answered by the token for unambiguous prompts (SAM's `select_masks`).
Masks segment(Encoded& encoded, const Prompts& prompts, samclip_task* task) {
    const Decoded decoded = encoded.decode(prompts, task);
    Masks masks;
    for (size_t prompt = 0; prompt < decoded.prompts; ++prompt) {
        masks.push_back(drawn(encoded, decoded, prompt, prompts.ambiguous ? in_order(decoded, prompt)[0] : 0));
    }
    return masks;
}

Masks segment_all(Encoded& encoded, const Prompts& prompts, samclip_task* task) {
    const Decoded decoded = encoded.decode(prompts, task);
    Masks masks;
    for (size_t prompt = 0; prompt < decoded.prompts; ++prompt) {
        for (const size_t which : in_order(decoded, prompt)) masks.push_back(drawn(encoded, decoded, prompt, which));
    }
    return masks;
}

}  // namespace samclip
