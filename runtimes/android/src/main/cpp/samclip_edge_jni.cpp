// The native functions of `edge.samclip.Native` that load, look and ask. Each only carries values there and back.
#include <climits>
#include <initializer_list>

#include "jni_values.hpp"

using namespace samclip_jni;

extern "C" JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* machine, void*) {
    JNIEnv* env = nullptr;
    if (machine->GetEnv(reinterpret_cast<void**>(&env), JNI_VERSION_1_6) != JNI_OK) return JNI_ERR;
    return find_classes(env) ? JNI_VERSION_1_6 : JNI_ERR;
}

namespace {

samclip_options options_of(jint threads, const char* device) {
    samclip_options options = {};
    options.size = sizeof(options);
    options.threads = threads;
    options.device = device;
    return options;
}

// A samclip_naming and the names that it points to.
class Naming {
public:
    Naming(JNIEnv* env, jbyteArray background, jdouble min_score) : texts_(env, background), names_(texts_.names()) {
        naming_.size = sizeof(naming_);
        naming_.background = &names_;
        naming_.min_score = min_score;
        naming_.has_min_score = 1;
    }
    Naming(const Naming&) = delete;
    const samclip_naming* get() const { return &naming_; }

private:
    Texts texts_;
    samclip_names names_;
    samclip_naming naming_{};
};

samclip_grid grid_of(JNIEnv* env, jdoubleArray numbers) {
    const Values<jdouble> of = values(env, numbers);
    if (of.size() != 5) fail(env, SAMCLIP_FAULT, "a grid is not five numbers");
    samclip_grid grid = {};
    grid.size = sizeof(grid);
    grid.points_per_side = static_cast<int>(of[0]);
    grid.predicted_iou = of[1];
    grid.stability = of[2];
    grid.offset = of[3];
    grid.overlap = of[4];
    return grid;
}

// Goes back where an array that was given has not as many values as the prompts need.
template <class T>
void check_length(JNIEnv* env, const Values<T>& values, std::initializer_list<jint> sides, const char* line) {
    if (values.data() == nullptr) return;
    uint64_t wanted = 1;
    for (const jint side : sides) {
        if (side < 0 || (side > 0 && wanted > INT_MAX / static_cast<uint64_t>(side))) fail(env, SAMCLIP_INPUT, line);
        wanted *= static_cast<uint64_t>(side);
    }
    if (values.size() != wanted) fail(env, SAMCLIP_INPUT, line);
}

}  // namespace

// ---- Models ----

NATIVE(jlong, load)(JNIEnv* env, jclass, jbyteArray folder, jint threads, jbyteArray device) {
    return guarded(env, [&] {
        const Texts path(env, folder), on(env, device);
        const samclip_options options = options_of(threads, on.only(env));
        samclip_model* model = nullptr;
        check(env, samclip_load(path.only(env), &options, &model));
        return handle_of(model);
    });
}

NATIVE(jlong, loadFiles)(JNIEnv* env, jclass, jbyteArray paths, jintArray descriptors, jlongArray offsets,
                         jlongArray lengths, jint threads, jbyteArray device) {
    return guarded(env, [&] {
        const Texts names(env, paths), on(env, device);
        const Values<jint> open = values(env, descriptors);
        const Values<jlong> starts = values(env, offsets), sizes = values(env, lengths);
        const size_t count = names.names().count;
        if (open.size() != count || starts.size() != count || sizes.size() != count) {
            fail(env, SAMCLIP_FAULT, "the files of a bundle are not as many as their paths");
        }
        std::vector<samclip_file> files(count);
        for (size_t each = 0; each < count; each++) {
            files[each] = {names.names().names[each], open[each], starts[each], sizes[each]};
        }
        const samclip_options options = options_of(threads, on.only(env));
        samclip_model* model = nullptr;
        check(env, samclip_load_files(files.data(), count, &options, &model));
        return handle_of(model);
    });
}

NATIVE(void, freeModel)(JNIEnv* env, jclass, jlong model) {
    guarded(env, [&] { samclip_free_model(pointer<samclip_model>(env, model)); });
}

NATIVE(jintArray, sizes)(JNIEnv* env, jclass, jlong handle) {
    return guarded(env, [&] {
        const samclip_model* model = pointer<samclip_model>(env, handle);
        std::vector<samclip_size> sizes(samclip_sizes(model, nullptr, 0));
        samclip_sizes(model, sizes.data(), sizes.size());
        std::vector<jint> sides;
        for (const samclip_size& size : sizes) sides.insert(sides.end(), {size.width, size.height});
        return java(env, sides);
    });
}

NATIVE(jintArray, namesSize)(JNIEnv* env, jclass, jlong model) {
    return guarded(env, [&] {
        const samclip_size size = samclip_names_size(pointer<samclip_model>(env, model));
        return java(env, std::vector<jint>{size.width, size.height});
    });
}

NATIVE(jint, features)(JNIEnv* env, jclass, jlong model) {
    return guarded(env, [&] { return static_cast<jint>(samclip_features(pointer<samclip_model>(env, model))); });
}

NATIVE(void, prepare)(JNIEnv* env, jclass, jlong model, jintArray size) {
    guarded(env, [&] {
        const SizeOrNull at(env, size);
        check(env, samclip_prepare(pointer<samclip_model>(env, model), at.get()));
    });
}

NATIVE(jlong, look)(JNIEnv* env, jclass, jlong model, jintArray numbers, jobjectArray planes, jintArray size,
                    jlong task) {
    return guarded(env, [&] {
        const std::vector<samclip_image> photos = images(env, numbers, planes);
        if (photos.size() != 1) fail(env, SAMCLIP_FAULT, "there is not one image");
        const SizeOrNull at(env, size);
        samclip_scene* scene = nullptr;
        check(env, samclip_look(pointer<samclip_model>(env, model), photos.data(), at.get(), task_of(task), &scene));
        return handle_of(scene);
    });
}

NATIVE(jfloatArray, embed)(JNIEnv* env, jclass, jlong handle, jintArray numbers, jobjectArray planes, jintArray size,
                           jlong task) {
    return guarded(env, [&] {
        samclip_model* model = pointer<samclip_model>(env, handle);
        const std::vector<samclip_image> photos = images(env, numbers, planes);
        const SizeOrNull at(env, size);
        std::vector<jfloat> features = room_for(env, photos.size(), samclip_features(model));
        check(env, samclip_embed(model, photos.data(), photos.size(), at.get(), task_of(task), features.data()));
        return java(env, features);
    });
}

NATIVE(jfloatArray, embedText)(JNIEnv* env, jclass, jlong handle, jbyteArray texts, jlong task) {
    return guarded(env, [&] {
        samclip_model* model = pointer<samclip_model>(env, handle);
        const Texts read(env, texts);
        const samclip_names names = read.names();
        std::vector<jfloat> features = room_for(env, names.count, samclip_features(model));
        check(env, samclip_embed_text(model, names, task_of(task), features.data()));
        return java(env, features);
    });
}

NATIVE(jdoubleArray, rank)(JNIEnv* env, jclass, jlong model, jintArray numbers, jobjectArray planes, jbyteArray text,
                           jintArray size, jlong task) {
    return guarded(env, [&] {
        const std::vector<samclip_image> photos = images(env, numbers, planes);
        const Texts wanted(env, text);
        const SizeOrNull at(env, size);
        std::vector<size_t> order(photos.size());
        std::vector<float> similarities(photos.size());
        check(env, samclip_rank(pointer<samclip_model>(env, model), photos.data(), photos.size(), wanted.only(env),
                                at.get(), task_of(task), order.data(), similarities.data()));
        std::vector<jdouble> ranked;
        for (size_t k = 0; k < order.size(); k++) {
            ranked.push_back(static_cast<jdouble>(order[k]));
            ranked.push_back(similarities[k]);
        }
        return java(env, ranked);
    });
}

// ---- Scenes ----

NATIVE(void, freeScene)(JNIEnv* env, jclass, jlong scene) {
    guarded(env, [&] { samclip_free_scene(pointer<samclip_scene>(env, scene)); });
}

NATIVE(jintArray, sides)(JNIEnv* env, jclass, jlong handle) {
    return guarded(env, [&] {
        const samclip_scene* scene = pointer<samclip_scene>(env, handle);
        const samclip_size photo = samclip_photo_size(scene), logits = samclip_low_res(scene);
        return java(env, std::vector<jint>{photo.width, photo.height, logits.width, logits.height});
    });
}

NATIVE(jfloatArray, imageFeatures)(JNIEnv* env, jclass, jlong scene, jint features, jlong task) {
    return guarded(env, [&] {
        std::vector<jfloat> row = room_for(env, 1, static_cast<size_t>(features));
        check(env, samclip_image_features(pointer<samclip_scene>(env, scene), task_of(task), row.data()));
        return java(env, row);
    });
}

NATIVE(jlong, classify)(JNIEnv* env, jclass, jlong scene, jbyteArray labels, jbyteArray background, jdouble min_score,
                        jlong task) {
    return guarded(env, [&] {
        const Texts asked(env, labels);
        const Naming how(env, background, min_score);
        samclip_guesses* guesses = nullptr;
        check(env, samclip_classify(pointer<samclip_scene>(env, scene), asked.names(), how.get(), task_of(task),
                                    &guesses));
        return handle_of(guesses);
    });
}

NATIVE(jlong, segment)(JNIEnv* env, jclass, jlong handle, jboolean all, jint prompts, jint points_each,
                       jdoubleArray points, jintArray labels, jdoubleArray boxes, jfloatArray masks, jlong task) {
    return guarded(env, [&] {
        samclip_scene* scene = pointer<samclip_scene>(env, handle);
        const samclip_size low_res = samclip_low_res(scene);
        const Values<jdouble> clicks = values(env, points), corners = values(env, boxes);
        const Values<jint> on = values(env, labels);
        const Values<jfloat> logits = values(env, masks);
        if (prompts < 0 || points_each < 0) fail(env, SAMCLIP_INPUT, "points: give no number below 0 of them");
        check_length(env, clicks, {prompts, points_each, 2}, "points: give x and y of as many points as you say");
        check_length(env, on, {prompts, points_each}, "labels: give as many as there are points");
        check_length(env, corners, {prompts, 4}, "boxes: give x0, y0, x1, y1 for each prompt");
        check_length(env, logits, {prompts, low_res.height, low_res.width}, "mask: give the logits of a mask");
        samclip_prompts asked = {};
        asked.size = sizeof(asked);
        asked.prompts = static_cast<size_t>(prompts);
        asked.points_each = static_cast<size_t>(points_each);
        asked.points = clicks.data();
        asked.labels = on.data();
        asked.boxes = corners.data();
        asked.masks = logits.data();
        samclip_masks* found = nullptr;
        check(env, (all ? samclip_segment_all : samclip_segment)(scene, &asked, task_of(task), &found));
        return handle_of(found);
    });
}

NATIVE(jlong, find)(JNIEnv* env, jclass, jlong scene, jbyteArray labels, jbyteArray background, jdouble min_score,
                    jboolean refine, jint points, jdouble threshold, jdoubleArray numbers, jlong task) {
    return guarded(env, [&] {
        const Texts asked(env, labels);
        const Naming how(env, background, min_score);
        const samclip_grid grid = grid_of(env, numbers);
        samclip_finding finding = {};
        finding.size = sizeof(finding);
        finding.naming = how.get();
        finding.no_refine = refine ? 0 : 1;
        finding.points = points;
        finding.threshold = threshold;
        finding.has_threshold = 1;
        finding.grid = &grid;
        samclip_masks* found = nullptr;
        check(env, samclip_find(pointer<samclip_scene>(env, scene), asked.names(), &finding, task_of(task), &found));
        return handle_of(found);
    });
}

NATIVE(jlong, everything)(JNIEnv* env, jclass, jlong scene, jbyteArray labels, jbyteArray background,
                          jdouble min_score, jdoubleArray numbers, jlong task) {
    return guarded(env, [&] {
        const Texts asked(env, labels);
        const Naming how(env, background, min_score);
        const samclip_grid grid = grid_of(env, numbers);
        samclip_masks* found = nullptr;
        check(env, samclip_everything(pointer<samclip_scene>(env, scene), asked.names(), how.get(), &grid,
                                      task_of(task), &found));
        return handle_of(found);
    });
}

NATIVE(void, name)(JNIEnv* env, jclass, jlong masks, jbyteArray labels, jbyteArray background, jdouble min_score,
                   jlong task) {
    guarded(env, [&] {
        const Texts asked(env, labels);
        const Naming how(env, background, min_score);
        check(env, samclip_name(pointer<samclip_masks>(env, masks), asked.names(), how.get(), task_of(task)));
    });
}
