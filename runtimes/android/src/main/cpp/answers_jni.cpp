// The native functions of `edge.samclip.Native` that read and free answers, and tasks.
#include <climits>
#include <memory>

#include "jni_values.hpp"

using namespace samclip_jni;

namespace {

samclip_mask mask_at(JNIEnv* env, jlong masks, jint index) {
    samclip_mask mask = {};
    check(env, samclip_mask_at(pointer<samclip_masks>(env, masks), static_cast<size_t>(index), &mask));
    return mask;
}

}  // namespace

// ---- Guesses ----

NATIVE(jbyteArray, guessLabels)(JNIEnv* env, jclass, jlong handle) {
    return guarded(env, [&] {
        const samclip_guesses* guesses = pointer<samclip_guesses>(env, handle);
        std::vector<jbyte> joined;
        for (size_t k = 0; k < samclip_guess_count(guesses); k++) {
            samclip_guess guess = {};
            check(env, samclip_guess_at(guesses, k, &guess));
            for (const char* at = guess.label; *at; at++) joined.push_back(static_cast<jbyte>(*at));
            joined.push_back(0);
        }
        return java(env, joined);
    });
}

NATIVE(jdoubleArray, guessNumbers)(JNIEnv* env, jclass, jlong handle) {
    return guarded(env, [&] {
        const samclip_guesses* guesses = pointer<samclip_guesses>(env, handle);
        std::vector<jdouble> numbers;
        for (size_t k = 0; k < samclip_guess_count(guesses); k++) {
            samclip_guess guess = {};
            check(env, samclip_guess_at(guesses, k, &guess));
            numbers.insert(numbers.end(), {guess.score, guess.similarity, guess.share});
        }
        return java(env, numbers);
    });
}

NATIVE(void, freeGuesses)(JNIEnv* env, jclass, jlong guesses) {
    guarded(env, [&] { samclip_free_guesses(pointer<samclip_guesses>(env, guesses)); });
}

// ---- Masks ----

NATIVE(jint, maskCount)(JNIEnv* env, jclass, jlong masks) {
    return guarded(env, [&] { return static_cast<jint>(samclip_mask_count(pointer<samclip_masks>(env, masks))); });
}

NATIVE(jdoubleArray, maskNumbers)(JNIEnv* env, jclass, jlong masks, jint index) {
    return guarded(env, [&] {
        const samclip_mask mask = mask_at(env, masks, index);
        std::vector<jdouble> numbers;
        for (const int each : {mask.width, mask.height}) numbers.push_back(each);
        numbers.push_back(static_cast<jdouble>(mask.area));
        for (const int each : mask.box) numbers.push_back(each);
        for (const double each : {mask.predicted_iou, mask.score, mask.similarity, mask.point[0], mask.point[1]}) {
            numbers.push_back(each);
        }
        return java(env, numbers);
    });
}

NATIVE(jbyteArray, maskLabel)(JNIEnv* env, jclass, jlong masks, jint index) {
    return guarded(env, [&] { return java(env, mask_at(env, masks, index).label); });
}

NATIVE(jbyteArray, maskRle)(JNIEnv* env, jclass, jlong masks, jint index) {
    return guarded(env, [&] { return java(env, mask_at(env, masks, index).rle); });
}

NATIVE(jfloatArray, maskLogits)(JNIEnv* env, jclass, jlong masks, jint index, jint length) {
    return guarded(env, [&]() -> jfloatArray {
        const float* logits = mask_at(env, masks, index).logits;
        if (logits == nullptr || length < 0) return nullptr;
        return java(env, std::vector<jfloat>(logits, logits + length));
    });
}

NATIVE(void, draw)(JNIEnv* env, jclass, jlong masks, jint index, jbyte inside, jobject pixels, jint row_stride) {
    guarded(env, [&] {
        const samclip_mask mask = mask_at(env, masks, index);
        void* data = pixels == nullptr ? nullptr : env->GetDirectBufferAddress(pixels);
        const jlong bytes = pixels == nullptr ? -1 : env->GetDirectBufferCapacity(pixels);
        const int64_t stride = row_stride == 0 ? mask.width : row_stride;
        if (data == nullptr || bytes < 0) fail(env, SAMCLIP_INPUT, "pixels: the buffer is not direct");
        if (stride < mask.width || stride * (mask.height - 1) + mask.width > bytes) {
            fail(env, SAMCLIP_INPUT, "pixels: the buffer or its row stride is too small for the mask");
        }
        check(env, samclip_draw(pointer<samclip_masks>(env, masks), static_cast<size_t>(index),
                                static_cast<uint8_t>(inside), static_cast<uint8_t*>(data),
                                static_cast<size_t>(stride)));
    });
}

NATIVE(jbyteArray, drawn)(JNIEnv* env, jclass, jlong masks, jint index, jbyte inside) {
    return guarded(env, [&] {
        const samclip_mask mask = mask_at(env, masks, index);
        std::vector<jbyte> pixels(static_cast<size_t>(mask.width) * static_cast<size_t>(mask.height));
        check(env, samclip_draw(pointer<samclip_masks>(env, masks), static_cast<size_t>(index),
                                static_cast<uint8_t>(inside), reinterpret_cast<uint8_t*>(pixels.data()), 0));
        return java(env, pixels);
    });
}

NATIVE(jfloatArray, maskFeatures)(JNIEnv* env, jclass, jlong handle, jint features, jlong task) {
    return guarded(env, [&] {
        samclip_masks* masks = pointer<samclip_masks>(env, handle);
        std::vector<jfloat> rows = room_for(env, samclip_mask_count(masks), static_cast<size_t>(features));
        check(env, samclip_mask_features(masks, task_of(task), rows.data()));
        return java(env, rows);
    });
}

NATIVE(void, freeMasks)(JNIEnv* env, jclass, jlong masks) {
    guarded(env, [&] { samclip_free_masks(pointer<samclip_masks>(env, masks)); });
}

// ---- Tasks ----

// The reference is weak, so that a task that nobody closed does not keep its listener; in a call, Java holds the task.
NATIVE(jlong, makeTask)(JNIEnv* env, jclass, jobject listener) {
    return guarded(env, [&] {
        auto task = std::make_unique<Task>();
        task->listener = env->NewWeakGlobalRef(listener);
        if (task->listener == nullptr) throw Pending();
        const samclip_status status = samclip_make_task(tell, task.get(), &task->task);
        if (status != SAMCLIP_OK) env->DeleteWeakGlobalRef(task->listener);
        check(env, status);
        return handle_of(task.release());
    });
}

NATIVE(void, cancel)(JNIEnv* env, jclass, jlong task) {
    guarded(env, [&] { samclip_cancel(pointer<Task>(env, task)->task); });
}

NATIVE(jboolean, cancelled)(JNIEnv* env, jclass, jlong task) {
    return guarded(env, [&]() -> jboolean {
        return samclip_cancelled(pointer<Task>(env, task)->task) ? JNI_TRUE : JNI_FALSE;
    });
}

NATIVE(void, freeTask)(JNIEnv* env, jclass, jlong handle) {
    guarded(env, [&] {
        const std::unique_ptr<Task> task(pointer<Task>(env, handle));
        samclip_free_task(task->task);
        env->DeleteWeakGlobalRef(task->listener);
    });
}
