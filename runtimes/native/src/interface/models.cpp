#include <algorithm>
#include <numeric>

#include "interface/handles.hpp"
#include "python_repr.hpp"
#include "task.hpp"

namespace samclip {

namespace {

thread_local std::string last_error;

void load(std::unique_ptr<Files> files, const samclip_options* options, samclip_model** model) {
    Manifest manifest = parse_manifest(files->manifest_text(), files->shown("manifest.json"));
    auto sessions = std::make_shared<Sessions>(std::move(files), std::move(manifest), taken(options));
    *model = new samclip_model{std::make_shared<Model>(std::move(sessions))};
}

// The features of texts: of a vocabulary's names, or whatever the text encoder reads.
Features features_of(Words& words, const Names& texts, samclip_task* task) {
    return words.has_vocabulary() ? words.features(texts, task) : words.encode(texts, task);
}

// The features (count,E) of pictures, looked at one after another.
void embed(samclip_model& model, const samclip_image* images, size_t count, const samclip_size* given,
           samclip_task* task, float* features) {
    const Size size = model.held->size_of(given, true);
    // An array of structures of an older version is closer together; one without a size is of 0.1, whose end is padded.
    const size_t stride = count == 0 || images->size == 0 ? sizeof(samclip_image) : images->size;
    Steps steps(task, "encoding photos", count);
    for (size_t k = 0; k < count; ++k) {
        steps.next();
        Scene scene(
            model.held,
            Picture(taken(reinterpret_cast<const samclip_image*>(reinterpret_cast<const char*>(images) + k * stride))),
            size, nullptr);
        const Floats own = scene.encoded.image_features(task);
        std::copy(own.begin(), own.end(), features + k * own.size());
    }
    steps.end();
}

}  // namespace

samclip_status remember(samclip_status status, const char* line) noexcept {
    try {
        last_error = line;
    } catch (...) {
        last_error.clear();
    }
    return status;
}

Size Model::size_of(const samclip_size* given, bool for_names) const {
    const Manifest& manifest = sessions->manifest();
    if (given == nullptr) return for_names ? manifest.names_size() : manifest.sizes.back();
    const Size wanted{given->height, given->width};
    if (std::find(manifest.sizes.begin(), manifest.sizes.end(), wanted) != manifest.sizes.end()) return wanted;
    std::vector<std::string> known;
    for (const Size& each : manifest.sizes) known.push_back(each.text());
    throw InputError("size " + wanted.text() + ": the bundle holds " + joined(known) + "; choose one of them");
}

}  // namespace samclip

using namespace samclip;

extern "C" {

int samclip_version(void) { return SAMCLIP_EDGE_VERSION; }

const char* samclip_version_text(void) { return SAMCLIP_EDGE_VERSION_TEXT; }

const char* samclip_error(void) { return last_error.c_str(); }

samclip_status samclip_make_task(samclip_progress progress, void* context, samclip_task** task) {
    if (task != nullptr) *task = nullptr;
    return guarded([&] {
        need(task, "task");
        *task = new samclip_task(progress, context);
    });
}

void samclip_cancel(samclip_task* task) {
    if (task != nullptr) guarded([&] { task->cancel(); });
}

int samclip_cancelled(const samclip_task* task) { return task != nullptr && task->cancelled ? 1 : 0; }

void samclip_free_task(samclip_task* task) { delete task; }

samclip_status samclip_load(const char* folder, const samclip_options* options, samclip_model** model) {
    if (model != nullptr) *model = nullptr;
    return guarded([&] {
        need(model, "model");
        need(folder, "folder");
        load(Files::in_folder(folder), options, model);
    });
}

samclip_status samclip_load_files(const samclip_file* files, size_t count, const samclip_options* options,
                                  samclip_model** model) {
    if (model != nullptr) *model = nullptr;
    return guarded([&] {
        need(model, "model");
        need(files, "files");
        load(Files::of_descriptors(files, count), options, model);
    });
}

void samclip_free_model(samclip_model* model) { delete model; }

size_t samclip_sizes(const samclip_model* model, samclip_size* sizes, size_t most) {
    if (model == nullptr) return 0;
    const auto& held = model->held->sessions->manifest().sizes;
    for (size_t k = 0; sizes != nullptr && k < std::min(most, held.size()); ++k) {
        sizes[k] = {held[k].width, held[k].height};
    }
    return held.size();
}

samclip_size samclip_names_size(const samclip_model* model) {
    if (model == nullptr) return {0, 0};
    const Size size = model->held->sessions->manifest().names_size();
    return {size.width, size.height};
}

size_t samclip_features(const samclip_model* model) {
    return model == nullptr ? 0 : static_cast<size_t>(model->held->sessions->manifest().features);
}

samclip_status samclip_prepare(samclip_model* model, const samclip_size* size) {
    return guarded([&] {
        need(model, "model");
        model->held->sessions->prepare(model->held->size_of(size));
    });
}

samclip_status samclip_embed(samclip_model* model, const samclip_image* images, size_t count, const samclip_size* size,
                             samclip_task* task, float* features) {
    return guarded([&] {
        need(model, "model");
        need(images, "photos");
        need(features, "features");
        embed(*model, images, count, size, task, features);
    });
}

samclip_status samclip_embed_text(samclip_model* model, samclip_names texts, samclip_task* task, float* features) {
    return guarded([&] {
        need(model, "model");
        need(features, "features");
        check_going(task);
        Names listed;
        for (size_t k = 0; k < texts.count; ++k) {
            need(texts.names, "texts");
            need(texts.names[k], "texts");
            listed.emplace_back(texts.names[k]);
        }
        const Features found = features_of(model->held->words, listed, task);
        std::copy(found.values.begin(), found.values.end(), features);
    });
}

samclip_status samclip_rank(samclip_model* model, const samclip_image* images, size_t count, const char* text,
                            const samclip_size* size, samclip_task* task, size_t* order, float* similarities) {
    return guarded([&] {
        need(model, "model");
        need(images, "photos");
        need(text, "text");
        need(order, "order");
        need(similarities, "similarities");
        const Features wanted = features_of(model->held->words, check_labels({&text, 1}, "text"), task);
        Floats features(count * wanted.width), cosines;
        embed(*model, images, count, size, task, features.data());
        for (size_t k = 0; k < count; ++k) {
            cosines.push_back(dot(features.data() + k * wanted.width, wanted.row(0), wanted.width));
        }
        std::iota(order, order + count, size_t{0});
        std::stable_sort(order, order + count, [&](size_t a, size_t b) { return cosines[a] > cosines[b]; });
        for (size_t k = 0; k < count; ++k) similarities[k] = cosines[order[k]];
    });
}

}  // extern "C"
