// What the encoders say of one photo: the embedding, the features, and decoded prompts. As `samclip_edge/encoded.py`.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/sessions.hpp"
#include "photo/frame.hpp"
#include "photo/pixels.hpp"
#include "tasks/prompts.hpp"

namespace samclip {

// Each patch in CLIP's space (E,h',w') over the model's input, of length 1 along E.
struct PatchFeatures {
    int features = 0, rows = 0, columns = 0;
    const float* values = nullptr;
};

// Low-res masks (B,4,S/4,S/4) as logits and predicted IoUs (B,4): the single mask, then the three.
struct Decoded {
    size_t prompts = 0;
    Floats masks, predicted_ious;
    size_t mask_size = 0;

    const float* mask(size_t prompt, size_t which) const { return masks.data() + (4 * prompt + which) * mask_size; }
    float predicted_iou(size_t prompt, size_t which) const { return predicted_ious[4 * prompt + which]; }
};

// A photo as the encoders of a bundle see it, of whichever kind: of a merged one, one run of its encoder, when the
// photo is looked at, serves both heads; of `sam+clip` SAM encodes when a mask is asked for, and CLIP when a name is.
// May be asked from several threads.
class Encoded {
public:
    // Looks at the photo.
    Encoded(std::shared_ptr<Sessions> sessions, const Picture& picture, const Size& size, samclip_task* task);

    static constexpr size_t kMost = 16;  // prompts decoded together

    Sessions& sessions() const { return *sessions_; }
    const Frame& frame() const { return frame_; }
    bool has_patch_features() const { return !sessions_->manifest().side_by_side; }
    // The photo in CLIP's space (E,), of length 1.
    Floats image_features(samclip_task* task);
    // Throws InputError for SAM + CLIP, whose CLIP has none.
    PatchFeatures patch_features(samclip_task* task);
    // What is under a mask, in CLIP's space (E,), of length 1.
    Floats features_under(const Runs& mask, samclip_task* task);
    // Throws InputError where the bundle takes prompts of another number of points only.
    // alone: whether no other call decodes at the same time; one that others stand beside computes in its own thread.
    Decoded decode(const Prompts& prompts, samclip_task* task, bool alone = true);

private:
    std::vector<Tensor>& ask(GraphName graph, samclip_task* task);
    std::vector<Tensor> run_encoder(const Rows& photo, samclip_task* task) const;
    std::vector<Tensor> run_clip(const Rows& photo, samclip_task* task) const;
    void decode_some(const Prompts& prompts, size_t from, size_t count, const Tensor& embedding, bool serial,
                     samclip_task* task, Decoded& into);

    const std::shared_ptr<Sessions> sessions_;
    const Frame frame_;
    std::optional<Rgb> photo_;  // of SAM + CLIP, whose encoders see it later
    std::mutex lock_;
    std::map<GraphName, std::vector<Tensor>> known_;
};

}  // namespace samclip
