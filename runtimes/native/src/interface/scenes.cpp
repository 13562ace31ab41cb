#include <algorithm>
#include <limits>

#include "interface/handles.hpp"
#include "task.hpp"

using namespace samclip;

namespace {

// Ask a scene for masks, which become a handle.
template <typename Function>
samclip_status ask_masks(samclip_scene* scene, const samclip_task* task, samclip_masks** masks, Function function) {
    if (masks != nullptr) *masks = nullptr;
    return guarded([&] {
        need(scene, "scene");
        need(masks, "masks");
        check_going(task);
        *masks = new samclip_masks(scene->held, function(*scene->held));
    });
}

Prompts prompts_of(const Scene& scene, const samclip_prompts* prompts) {
    need(prompts, "prompts");
    return prepared(scene.encoded.frame(), taken(prompts));
}

// An element of a list. Throws InputError where there is none at that place.
template <typename List>
auto& element(const List& list, size_t index, const char* what) {
    if (index >= list.size()) throw InputError("index " + std::to_string(index) + ": there are fewer " + what);
    return list[index];
}

Naming naming_of(const samclip_naming* given) {
    const samclip_naming own = taken(given);
    return Naming::of(&own);
}

Grid grid_of(const samclip_grid* given) {
    const samclip_grid own = taken(given);
    return Grid::of(&own);
}

}  // namespace

extern "C" {

samclip_status samclip_look(samclip_model* model, const samclip_image* image, const samclip_size* size,
                            samclip_task* task, samclip_scene** scene) {
    if (scene != nullptr) *scene = nullptr;
    return guarded([&] {
        need(model, "model");
        need(image, "photo");
        need(scene, "scene");
        const Size chosen = model->held->size_of(size);
        *scene = new samclip_scene{std::make_shared<Scene>(model->held, Picture(taken(image)), chosen, task)};
    });
}

void samclip_free_scene(samclip_scene* scene) { delete scene; }

samclip_size samclip_photo_size(const samclip_scene* scene) {
    if (scene == nullptr) return {0, 0};
    const Frame& frame = scene->held->encoded.frame();
    return {frame.width(), frame.height()};
}

samclip_size samclip_low_res(const samclip_scene* scene) {
    if (scene == nullptr) return {0, 0};
    const Size& size = scene->held->encoded.frame().size();
    return {size.low_columns(), size.low_rows()};
}

samclip_status samclip_classify(samclip_scene* scene, samclip_names labels, const samclip_naming* naming,
                                samclip_task* task, samclip_guesses** guesses) {
    if (guesses != nullptr) *guesses = nullptr;
    return guarded([&] {
        need(scene, "scene");
        need(guesses, "guesses");
        check_going(task);
        Scene& held = *scene->held;
        const Names names = check_labels(labels);
        *guesses = new samclip_guesses{
            classify(held.encoded, held.model->words, held.model->judge, names, naming_of(naming), task)};
    });
}

samclip_status samclip_segment(samclip_scene* scene, const samclip_prompts* prompts, samclip_task* task,
                               samclip_masks** masks) {
    return ask_masks(scene, task, masks,
                     [&](Scene& held) { return segment(held.encoded, prompts_of(held, prompts), task); });
}

samclip_status samclip_segment_all(samclip_scene* scene, const samclip_prompts* prompts, samclip_task* task,
                                   samclip_masks** masks) {
    return ask_masks(scene, task, masks,
                     [&](Scene& held) { return segment_all(held.encoded, prompts_of(held, prompts), task); });
}

samclip_status samclip_find(samclip_scene* scene, samclip_names labels, const samclip_finding* finding,
                            samclip_task* task, samclip_masks** masks) {
    return ask_masks(scene, task, masks, [&](Scene& held) {
        samclip_finding how = taken(finding);
        const samclip_naming naming = taken(how.naming);
        how.naming = &naming;
        const samclip_grid grid = taken(how.grid);
        how.grid = &grid;
        return find(held.encoded, held.model->judge, check_labels(labels), Finding::of(&how), task);
    });
}

samclip_status samclip_everything(samclip_scene* scene, samclip_names labels, const samclip_naming* naming,
                                  const samclip_grid* grid, samclip_task* task, samclip_masks** masks) {
    return ask_masks(scene, task, masks, [&](Scene& held) {
        const Names names = labels.count == 0 ? Names() : check_labels(labels);
        const Naming how = naming_of(naming);
        Masks found = everything(held.encoded, grid_of(grid), task);
        if (!names.empty()) name_masks(held.encoded, held.model->judge, found, names, how, task);
        return found;
    });
}

samclip_status samclip_take_masks(samclip_scene* scene, const char* const* rles, size_t count, samclip_masks** masks) {
    return ask_masks(scene, nullptr, masks, [&](Scene& held) {
        Masks taken_masks;
        for (size_t k = 0; k < count; ++k) {
            need(rles, "rles");
            need(rles[k], "rle");
            Mask mask;
            mask.runs = decoded(rles[k], held.encoded.frame().height(), held.encoded.frame().width());
            taken_masks.push_back(std::move(mask));
        }
        return taken_masks;
    });
}

samclip_status samclip_name(samclip_masks* masks, samclip_names labels, const samclip_naming* naming,
                            samclip_task* task) {
    return guarded([&] {
        need(masks, "masks");
        check_going(task);
        const Names names = check_labels(labels);
        name_masks(masks->scene->encoded, masks->scene->model->judge, masks->masks, names, naming_of(naming), task);
    });
}

size_t samclip_guess_count(const samclip_guesses* guesses) { return guesses == nullptr ? 0 : guesses->held.size(); }

samclip_status samclip_guess_at(const samclip_guesses* guesses, size_t index, samclip_guess* guess) {
    return guarded([&] {
        need(guesses, "guesses");
        need(guess, "guess");
        const Guess& own = element(guesses->held, index, "guesses");
        *guess = {own.label.c_str(), own.score, own.similarity, own.share};
    });
}

void samclip_free_guesses(samclip_guesses* guesses) { delete guesses; }

size_t samclip_mask_count(const samclip_masks* masks) { return masks == nullptr ? 0 : masks->masks.size(); }

samclip_status samclip_mask_at(const samclip_masks* masks, size_t index, samclip_mask* mask) {
    return guarded([&] {
        need(masks, "masks");
        need(mask, "mask");
        const Mask& own = element(masks->masks, index, "masks");
        const Box box = own.runs.box();
        const bool named = own.label.has_value();
        const double none = std::numeric_limits<double>::quiet_NaN();
        *mask = {};
        mask->width = own.runs.width;
        mask->height = own.runs.height;
        mask->area = own.runs.area();
        std::copy(box.begin(), box.end(), mask->box);
        mask->predicted_iou = own.predicted_iou;
        mask->label = named ? own.label->c_str() : nullptr;
        mask->score = named ? own.score : none;
        mask->similarity = named ? own.similarity : none;
        std::copy(own.point.begin(), own.point.end(), mask->point);
        mask->rle = masks->counts[index].c_str();
        mask->logits = own.logits.empty() ? nullptr : own.logits.data();
    });
}

samclip_status samclip_draw(const samclip_masks* masks, size_t index, uint8_t inside, uint8_t* pixels,
                            size_t row_stride) {
    return guarded([&] {
        need(masks, "masks");
        need(pixels, "pixels");
        const Runs& runs = element(masks->masks, index, "masks").runs;
        const auto width = static_cast<size_t>(runs.width);
        if (row_stride != 0 && row_stride < width) {
            throw InputError("row_stride: is shorter than a row; pass 0 or the photo's width");
        }
        runs.draw(inside, pixels, row_stride == 0 ? width : row_stride);
    });
}

void samclip_free_masks(samclip_masks* masks) { delete masks; }

samclip_status samclip_image_features(samclip_scene* scene, samclip_task* task, float* features) {
    return guarded([&] {
        need(scene, "scene");
        need(features, "features");
        check_going(task);
        const Floats own = scene->held->encoded.image_features(task);
        std::copy(own.begin(), own.end(), features);
    });
}

samclip_status samclip_patch_features(samclip_scene* scene, samclip_task* task, const float** features, size_t* rows,
                                      size_t* columns) {
    if (features != nullptr) *features = nullptr;
    return guarded([&] {
        need(scene, "scene");
        need(features, "features");
        need(rows, "rows");
        need(columns, "columns");
        check_going(task);
        const PatchFeatures own = scene->held->encoded.patch_features(task);
        *features = own.values;
        *rows = static_cast<size_t>(own.rows);
        *columns = static_cast<size_t>(own.columns);
    });
}

samclip_status samclip_mask_features(samclip_masks* masks, samclip_task* task, float* features) {
    return guarded([&] {
        need(masks, "masks");
        need(features, "features");
        for (const Mask& mask : masks->masks) {
            check_going(task);
            const Floats own = masks->scene->encoded.features_under(mask.runs, task);
            features = std::copy(own.begin(), own.end(), features);
        }
    });
}

}  // extern "C"
