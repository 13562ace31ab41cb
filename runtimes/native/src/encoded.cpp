#include "encoded.hpp"

#include <algorithm>
#include <cmath>

#include "photo/clip_square.hpp"
#include "task.hpp"

namespace samclip {

namespace {

Floats of_length_1(const std::vector<double>& sums) {
    double square = 0;
    for (const double each : sums) square += each * each;
    const double length = std::max(std::sqrt(square), 1e-12);
    Floats made;
    for (const double each : sums) made.push_back(static_cast<float>(each / length));
    return made;
}

// Whether a prompt encoder takes a mask for each prompt, and not one that all share.
bool takes_own_masks(const Graph& graph) { return graph.inputs[2].shape[0].letter == 'B'; }

// How many prompts are decoded together: few where each has many tokens, which takes no longer for each than Python's
// 16, and a fraction of the memory. Where int8 finds its scales in each call, prompts of a call share them: then as
// many as in Python, whose answers these are.
size_t prompts_in_a_call(const Manifest& manifest, const Graph& graph, const Size& size, bool alone) {
    if (!graph.calls.empty()) return Encoded::kMost;  // which there is a signature for, and not for other numbers
    const size_t together = alone ? 8192 : 2304;      // tokens of all prompts of a call
    const auto tokens = static_cast<size_t>(size.rows()) * static_cast<size_t>(size.columns());
    return manifest.dynamic ? Encoded::kMost : std::clamp<size_t>(together / tokens, 2, Encoded::kMost);
}

// The first row of an answer (N,E).
Floats first_row(const Tensor& tensor, int features) {
    const Shape shape = tensor.shape();
    if (shape.size() != 2 || shape[0] != 1 || shape[1] != features) {
        throw Error(SAMCLIP_ENGINE, "image_features: have another shape than the manifest says");
    }
    return Floats(tensor.floats(), tensor.floats() + features);
}

void append(Floats& all, const Tensor& tensor) {
    const float* from = tensor.floats();
    all.insert(all.end(), from, from + count_of(tensor.shape()));
}

}  // namespace

Encoded::Encoded(std::shared_ptr<Sessions> sessions, const Picture& picture, const Size& size, samclip_task* task)
    : sessions_(std::move(sessions)), frame_(picture.height(), picture.width(), size) {
    Steps steps(task, "looking", 1);
    steps.next();
    if (has_patch_features()) known_[GraphName::image_encoder] = run_encoder(rows_of(picture), task);
    else photo_ = picture.copy();
    steps.end();
}

std::vector<Tensor> Encoded::run_encoder(const Rows& photo, samclip_task* task) const {
    const Session& session = sessions_->open(GraphName::image_encoder, frame_.size());
    const Shape shape = {1, 3, frame_.size().height, frame_.size().width};
    Tensor image = session.make(SAMCLIP_FLOAT32, shape);
    if (image.host() != nullptr) {
        frame_.image(photo, static_cast<float*>(image.host()));
    } else {
        Floats pixels(count_of(shape));
        frame_.image(photo, pixels.data());
        image.fill(pixels.data(), pixels.size() * sizeof(float));
    }
    return session.run({image}, task);
}

std::vector<Tensor> Encoded::run_clip(const Rows& photo, samclip_task* task) const {
    const ClipVision& vision = *sessions_->manifest().clip_vision;
    const Session& session = sessions_->open(GraphName::clip_image_encoder, std::nullopt);
    Floats pixels(3 * static_cast<size_t>(vision.size) * static_cast<size_t>(vision.size));
    clip_square(photo, vision, pixels.data());
    return session.run({session.of(pixels, {1, 3, vision.size, vision.size})}, task);
}

std::vector<Tensor>& Encoded::ask(GraphName graph, samclip_task* task) {
    const std::lock_guard<std::mutex> held(lock_);
    const auto found = known_.find(graph);
    if (found != known_.end()) return found->second;
    if (graph == GraphName::clip_head) {
        std::vector<Tensor>& encoded = known_.at(GraphName::image_encoder);
        auto said = sessions_->open(graph, frame_.size()).run({encoded[0]}, task);
        encoded[0] = Tensor();  // nothing else takes the tokens
        return known_[graph] = std::move(said);
    }
    const Rows photo = rows_of(*photo_, {0, 0, photo_->height, photo_->width});
    return known_[graph] = graph == GraphName::image_encoder ? run_encoder(photo, task) : run_clip(photo, task);
}

Floats Encoded::image_features(samclip_task* task) {
    const auto& said = ask(has_patch_features() ? GraphName::clip_head : GraphName::clip_image_encoder, task);
    return first_row(said[0], sessions_->manifest().features);
}

PatchFeatures Encoded::patch_features(samclip_task* task) {
    if (!has_patch_features()) throw InputError("SAM + CLIP: has no features of patches; use a merged bundle");
    const Tensor& patches = ask(GraphName::clip_head, task)[1];
    const Shape shape = patches.shape();
    if (shape.size() != 4 || shape[0] != 1 || shape[1] != sessions_->manifest().features || shape[2] < 1 ||
        shape[3] < 1) {
        throw Error(SAMCLIP_ENGINE, "clip_head: its patch_features have another shape than the manifest says");
    }
    return {static_cast<int>(shape[1]), static_cast<int>(shape[2]), static_cast<int>(shape[3]), patches.floats()};
}

Floats Encoded::features_under(const Runs& mask, samclip_task* task) {
    if (!has_patch_features()) {
        const auto square = square_around(mask);
        const auto said = run_clip(rows_of(*photo_, {square[0], square[1], square[2], square[3]}), task);
        return first_row(said[0], sessions_->manifest().features);
    }
    const PatchFeatures patches = patch_features(task);
    const Map cover = frame_.coverage(mask, patches.rows, patches.columns);
    std::vector<double> sums;
    for (int feature = 0; feature < patches.features; ++feature) {
        const float* from = patches.values + static_cast<size_t>(feature) * cover.values.size();
        double sum = 0;
        for (size_t k = 0; k < cover.values.size(); ++k) sum += static_cast<double>(cover.values[k]) * from[k];
        sums.push_back(sum);
    }
    return of_length_1(sums);
}

Decoded Encoded::decode(const Prompts& prompts, samclip_task* task, bool alone) {
    const Graph& graph = sessions_->graph(GraphName::prompt_encoder, frame_.size());
    const std::vector<int64_t> taken = graph.taken("N");
    if (!taken.empty() && std::find(taken.begin(), taken.end(), prompts.points_each) == taken.end()) {
        std::string numbers;
        for (const int64_t each : taken) numbers += (numbers.empty() ? "" : ", ") + std::to_string(each);
        const bool fixed = graph.points || graph.calls.empty();
        throw InputError(
            "prompt: has " + std::to_string(prompts.points_each) +
            " points, corners of a box and the one of no box counted; the bundle takes " + numbers + ": " +
            (fixed ? "give so many, ask `find` for one point, or export without --static or --points"
                   : "give fewer or more"));
    }
    Decoded found;
    found.mask_size = static_cast<size_t>(frame_.size().low_rows()) * static_cast<size_t>(frame_.size().low_columns());
    found.prompts = prompts.count;
    if (prompts.count == 0) return found;
    const Tensor embedding = ask(GraphName::image_encoder, task).back();
    const bool own = prompts.masks.size() > found.mask_size || takes_own_masks(graph);
    const bool one = graph.points || (own && graph.inputs[2].shape[0].number == 1);
    const size_t step = one ? 1 : prompts_in_a_call(sessions_->manifest(), graph, frame_.size(), alone);
    for (size_t from = 0; from < prompts.count; from += step) {
        decode_some(prompts, from, std::min(step, prompts.count - from), embedding, !alone, task, found);
    }
    return found;
}

void Encoded::decode_some(const Prompts& prompts, size_t from, size_t count, const Tensor& embedding, bool serial,
                          samclip_task* task, Decoded& into) {
    const Graph& graph = sessions_->graph(GraphName::prompt_encoder, frame_.size());
    const Session& encoder = sessions_->open(GraphName::prompt_encoder, frame_.size(), serial);
    const Session& decoder = sessions_->open(GraphName::mask_decoder, frame_.size(), serial);
    const bool several = prompts.masks.size() > into.mask_size, own = several || takes_own_masks(graph);
    const size_t masks = own ? count : 1;
    Floats mask;
    for (size_t k = 0; k < masks; ++k) {
        const float* each = prompts.masks.data() + (several ? from + k : 0) * into.mask_size;
        mask.insert(mask.end(), each, each + into.mask_size);
    }
    const size_t points = prompts.points_each;
    const auto part = [from, count](const Floats& values, size_t width) {
        const float* begin = values.data() + from * width;
        return Floats(begin, begin + count * width);
    };
    const auto b = static_cast<int64_t>(count), n = static_cast<int64_t>(points);
    const Shape low = {static_cast<int64_t>(masks), 1, frame_.size().low_rows(), frame_.size().low_columns()};
    std::vector<Tensor> prompted = encoder.run(
        {encoder.of(part(prompts.points, 2 * points), {b, n, 2}), encoder.of(part(prompts.labels, points), {b, n}),
         encoder.of(mask, low), encoder.of(Floats{prompts.has_mask ? 1.0f : 0.0f}, {1})},
        task);
    const std::vector<Tensor> decoded = decoder.run({embedding, prompted[0], prompted[1]}, task);
    if (count_of(decoded[0].shape()) != count * 4 * into.mask_size || count_of(decoded[1].shape()) != count * 4) {
        throw Error(SAMCLIP_ENGINE, "mask_decoder: its masks have another shape than the manifest says");
    }
    append(into.masks, decoded[0]);
    append(into.predicted_ious, decoded[1]);
}

}  // namespace samclip
