/* samclip_edge.hpp: samclip_edge.h for C++17. Handles free themselves, answers are values, a failed call throws.

    samclip_edge::Model model("bundle");
    auto scene = model.look({SAMCLIP_RGB, pixels, width, height});  // the encoder runs here, and only here
    auto masks = scene.segment(samclip_edge::Prompts::point(120, 80));
    masks.name({"dog", "cat", "grass"});
    std::cout << masks[0].label.value_or("none of these") << ", " << masks[0].area << " pixels\n";

  samclip_edge.h says what each call does, and what threads may do. Pixels are read where they lie, in `look`, `embed`
  and `rank` only. A mask keeps its list, a list its scene, and a scene its model. */
#ifndef SAMCLIP_EDGE_HPP
#define SAMCLIP_EDGE_HPP

#include "samclip_edge_parts.hpp"

namespace samclip_edge {

// A photo that was looked at.
class Scene {
public:
    Scene(samclip_scene* made, size_t features) : handle_(made), features_(features) {}

    Size photo_size() const { return samclip_photo_size(handle_.get()); }  // of the upright picture
    Size low_res() const { return samclip_low_res(handle_.get()); }        // of a mask's logits

    // Name the photo: all labels, the most similar first.
    std::vector<Guess> classify(const Strings& labels, const Naming& naming = {}, Task* task = nullptr) const {
        const Asked asked(labels, naming);
        samclip_guesses* made = nullptr;
        Task::with(task, [&](samclip_task* t) {
            return samclip_classify(handle_.get(), asked.names, &asked.naming, t, &made);
        });
        const Handle<samclip_guesses, samclip_free_guesses> held(made);
        std::vector<Guess> guesses;
        for (size_t k = 0; k < samclip_guess_count(made); ++k) {
            samclip_guess own;
            check(samclip_guess_at(made, k, &own));
            guesses.push_back({own.label, own.score, own.similarity, own.share});
        }
        return guesses;
    }

    // The best mask of each prompt.
    Masks segment(const Prompts& prompts, Task* task = nullptr) const {
        return masks(task, samclip_segment, listed(prompts));
    }
    // The three masks of each prompt, highest predicted IoU first: mask 3 * b + k is the k-th of prompt b.
    Masks segment_all(const Prompts& prompts, Task* task = nullptr) const {
        return masks(task, samclip_segment_all, listed(prompts));
    }
    // Where the named things are: one mask a name that is seen, highest score first, none overlapping.
    Masks find(const Strings& labels, const Finding& finding = {}, Task* task = nullptr) const {
        const Asked asked(labels, finding.naming);
        samclip_finding how = {};
        how.naming = &asked.naming;
        how.no_refine = finding.refine ? 0 : 1;
        how.points = finding.points;
        how.threshold = finding.threshold.value_or(0);
        how.has_threshold = finding.threshold ? 1 : 0;
        how.grid = &finding.grid;
        return masks(task, samclip_find, asked.names, &how);
    }
    // Every mask in the photo, best first; with labels, each named as `Masks::name` does.
    Masks everything(const Strings& labels = {}, const Naming& naming = {}, const Grid& grid = {},
                     Task* task = nullptr) const {
        const Asked asked(labels, naming);
        return masks(task, samclip_everything, asked.names, &asked.naming, &grid);
    }

    // The photo in CLIP's space: E numbers, of length 1.
    Features image_features(Task* task = nullptr) const {
        Features made(features_);
        Task::with(task, [&](samclip_task* t) { return samclip_image_features(handle_.get(), t, made.data()); });
        return made;
    }

private:
    template <typename Call, typename... Question>
    Masks masks(Task* task, Call call, const Question&... question) const {
        samclip_masks* made = nullptr;
        Task::with(task, [&](samclip_task* t) { return call(handle_.get(), pointed(question)..., t, &made); });
        return {made, low_res(), features_};
    }
    static const samclip_prompts* pointed(const samclip_prompts& prompts) { return &prompts; }
    template <typename Given>
    static Given pointed(const Given& given) {
        return given;
    }

    // Prompts as the C interface takes them. Throws where a list is not as long as `count` says.
    samclip_prompts listed(const Prompts& given) const {
        const size_t count = given.count, each = count == 0 ? 0 : given.points.size() / 2 / count;
        const size_t low = static_cast<size_t>(low_res().width) * static_cast<size_t>(low_res().height);
        const auto fits = [](size_t length, size_t wanted) { return length == 0 || length == wanted; };
        if (!fits(given.points.size(), count * each * 2) || !fits(given.labels.size(), count * each) ||
            !fits(given.boxes.size(), count * 4) || !fits(given.masks.size(), count * low)) {
            throw Error(SAMCLIP_INPUT, "prompts: a list is not as long as `count` prompts; give as much for each");
        }
        const auto data = [](const auto& list) { return list.empty() ? nullptr : list.data(); };
        return {0, count, each, data(given.points), data(given.labels), data(given.boxes), data(given.masks)};
    }

    Handle<samclip_scene, samclip_free_scene> handle_;
    size_t features_;
};

// A loaded bundle.
class Model {
public:
    // device: as in Python, "cuda:device_id=1" for instance. threads: of the CPU, for a run of a graph; 0: the engine's
    // own number. engine: one of the app's, see samclip_edge_engine.h; nullptr: ONNX Runtime.
    explicit Model(const std::string& folder, const std::string& device = "cpu", int threads = 0,
                   const samclip_engine* engine = nullptr) {
        const samclip_options options = {sizeof options, threads, device.c_str(), engine};
        samclip_model* made = nullptr;
        check(samclip_load(folder.c_str(), &options, &made));
        handle_.reset(made);
    }

    std::vector<Size> sizes() const {  // of its input, rising
        std::vector<Size> found(samclip_sizes(handle_.get(), nullptr, 0));
        samclip_sizes(handle_.get(), found.data(), found.size());
        return found;
    }
    Size names_size() const { return samclip_names_size(handle_.get()); }  // at which photos are named
    size_t features() const { return samclip_features(handle_.get()); }    // E

    // Begin to open the graphs of masks in threads, while a photo is read. size: one of `sizes`; none: the largest.
    void prepare(const std::optional<Size>& size = {}) const { check(samclip_prepare(handle_.get(), pointer(size))); }

    // Encode a picture, once. size: one of `sizes`; none: the largest.
    Scene look(const Image& image, const std::optional<Size>& size = {}, Task* task = nullptr) const {
        samclip_scene* made = nullptr;
        Task::with(task, [&](samclip_task* t) { return samclip_look(handle_.get(), &image, pointer(size), t, &made); });
        return {made, features()};
    }

    // Pictures in CLIP's space, (count,E). size: none: `names_size`.
    Features embed(const std::vector<Image>& images, const std::optional<Size>& size = {}, Task* task = nullptr) const {
        const std::vector<samclip_image> taken(images.begin(), images.end());
        Features made(taken.size() * features());
        if (taken.empty()) return made;
        Task::with(task, [&](samclip_task* t) {
            return samclip_embed(handle_.get(), taken.data(), taken.size(), pointer(size), t, made.data());
        });
        return made;
    }

    // Texts as they stand, in CLIP's space, (count,E).
    Features embed_text(const Strings& texts, Task* task = nullptr) const {
        const Asked asked(texts);
        Features made(texts.size() * features());
        if (texts.empty()) return made;
        Task::with(task,
                   [&](samclip_task* t) { return samclip_embed_text(handle_.get(), asked.names, t, made.data()); });
        return made;
    }

    // Pictures by how well they fit a text, best first: each one's place in `images`, and its cosine.
    std::vector<std::pair<size_t, float>> rank(const std::vector<Image>& images, const std::string& text,
                                               const std::optional<Size>& size = {}, Task* task = nullptr) const {
        const Strings texts = {text};
        const Asked asked(texts);
        const std::vector<samclip_image> taken(images.begin(), images.end());
        const size_t count = taken.size();
        std::vector<size_t> order(count);
        std::vector<float> cosines(count);
        if (count != 0) {
            Task::with(task, [&](samclip_task* t) {
                return samclip_rank(handle_.get(), taken.data(), count, asked.names.names[0], pointer(size), t,
                                    order.data(), cosines.data());
            });
        }
        std::vector<std::pair<size_t, float>> ranked;
        for (size_t k = 0; k < count; ++k) ranked.emplace_back(order[k], cosines[k]);
        return ranked;
    }

private:
    static const Size* pointer(const std::optional<Size>& size) { return size ? &*size : nullptr; }

    Handle<samclip_model, samclip_free_model> handle_;
};

}  // namespace samclip_edge

#endif
