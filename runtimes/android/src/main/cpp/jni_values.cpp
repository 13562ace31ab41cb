#include "jni_values.hpp"

#include <climits>
#include <cstring>

namespace samclip_jni {

namespace {

JavaVM* machine = nullptr;
jclass exception_class = nullptr;
jmethodID make_exception = nullptr;
jmethodID step = nullptr;

constexpr size_t kPlanes = 3;
constexpr size_t kNumbers = 13;  // of an image: see `Image.numbers`

// The length of a Java array for so many values.
jsize length_of(JNIEnv* env, size_t count) {
    if (count > INT_MAX) fail(env, SAMCLIP_INPUT, "the answer is too long for an array of Java; ask for less at once");
    return static_cast<jsize>(count);
}

template <class T, class Array>
Values<T> copied(JNIEnv* env, Array array, void (JNIEnv::*read)(Array, jsize, jsize, T*)) {
    if (array == nullptr) return {};
    const jsize length = env->GetArrayLength(array);
    Values<T> values(static_cast<size_t>(length));
    if (length > 0) (env->*read)(array, 0, length, values.data());
    check(env);
    return values;
}

template <class T, class Array>
Array made(JNIEnv* env, const T* values, size_t count, Array (JNIEnv::*make)(jsize),
           void (JNIEnv::*write)(Array, jsize, jsize, const T*)) {
    const jsize length = length_of(env, count);
    Array array = (env->*make)(length);
    if (array == nullptr) throw Pending();
    if (length > 0) (env->*write)(array, 0, length, values);
    return array;
}

}  // namespace

bool find_classes(JNIEnv* env) {
    if (env->GetJavaVM(&machine) != JNI_OK) return false;
    jclass exception = env->FindClass("edge/samclip/SamClipException");
    if (exception == nullptr) return false;
    exception_class = static_cast<jclass>(env->NewGlobalRef(exception));
    env->DeleteLocalRef(exception);
    if (exception_class == nullptr) return false;
    make_exception = env->GetMethodID(exception_class, "<init>", "(I[B)V");
    jclass task = make_exception == nullptr ? nullptr : env->FindClass("edge/samclip/Task");
    if (task == nullptr) return false;
    step = env->GetMethodID(task, "step", "([BJJ)V");
    env->DeleteLocalRef(task);
    return step != nullptr;
}

void raise(JNIEnv* env, samclip_status status, const char* line) {
    if (env->ExceptionCheck()) return;
    const size_t length = std::strlen(line);
    jbyteArray bytes = length > INT_MAX ? nullptr : env->NewByteArray(static_cast<jsize>(length));
    if (bytes == nullptr) return;  // with Java's OutOfMemoryError
    env->SetByteArrayRegion(bytes, 0, static_cast<jsize>(length), reinterpret_cast<const jbyte*>(line));
    jobject made = env->NewObject(exception_class, make_exception, static_cast<jint>(status), bytes);
    if (made != nullptr) env->Throw(static_cast<jthrowable>(made));
    env->DeleteLocalRef(made);
    env->DeleteLocalRef(bytes);
}

void fail(JNIEnv* env, samclip_status status, const char* line) {
    raise(env, status, line);
    throw Pending();
}

void check(JNIEnv* env, samclip_status status) {
    if (status != SAMCLIP_OK) fail(env, status, samclip_error());
}

void check(JNIEnv* env) {
    if (env->ExceptionCheck()) throw Pending();
}

Values<jbyte> values(JNIEnv* env, jbyteArray array) { return copied(env, array, &JNIEnv::GetByteArrayRegion); }
Values<jint> values(JNIEnv* env, jintArray array) { return copied(env, array, &JNIEnv::GetIntArrayRegion); }
Values<jlong> values(JNIEnv* env, jlongArray array) { return copied(env, array, &JNIEnv::GetLongArrayRegion); }
Values<jfloat> values(JNIEnv* env, jfloatArray array) { return copied(env, array, &JNIEnv::GetFloatArrayRegion); }
Values<jdouble> values(JNIEnv* env, jdoubleArray array) { return copied(env, array, &JNIEnv::GetDoubleArrayRegion); }

jbyteArray java(JNIEnv* env, const std::vector<jbyte>& bytes) {
    return made(env, bytes.data(), bytes.size(), &JNIEnv::NewByteArray, &JNIEnv::SetByteArrayRegion);
}
jintArray java(JNIEnv* env, const std::vector<jint>& numbers) {
    return made(env, numbers.data(), numbers.size(), &JNIEnv::NewIntArray, &JNIEnv::SetIntArrayRegion);
}
jfloatArray java(JNIEnv* env, const std::vector<jfloat>& numbers) {
    return made(env, numbers.data(), numbers.size(), &JNIEnv::NewFloatArray, &JNIEnv::SetFloatArrayRegion);
}
jdoubleArray java(JNIEnv* env, const std::vector<jdouble>& numbers) {
    return made(env, numbers.data(), numbers.size(), &JNIEnv::NewDoubleArray, &JNIEnv::SetDoubleArrayRegion);
}
jbyteArray java(JNIEnv* env, const char* text) {
    if (text == nullptr) return nullptr;
    return made(env, reinterpret_cast<const jbyte*>(text), std::strlen(text), &JNIEnv::NewByteArray,
                &JNIEnv::SetByteArrayRegion);
}

std::vector<jfloat> room_for(JNIEnv* env, size_t count, size_t features) {
    const bool fits = features == 0 || count <= INT_MAX / features;
    if (!fits) fail(env, SAMCLIP_INPUT, "the features are too long for an array of Java; ask for fewer at once");
    std::vector<jfloat> room(count * features);
    room.reserve(1);  // the library takes no null, even for nothing
    return room;
}

Texts::Texts(JNIEnv* env, jbyteArray joined) : bytes_(values(env, joined)) {
    const Values<jbyte>& bytes = bytes_;
    if (bytes.size() == 0) return;
    if (bytes[bytes.size() - 1] != 0) fail(env, SAMCLIP_FAULT, "a text has no end");
    for (size_t at = 0; at < bytes.size(); at++) {
        if (at == 0 || bytes[at - 1] == 0) starts_.push_back(reinterpret_cast<const char*>(bytes.data() + at));
    }
}

const char* Texts::only(JNIEnv* env) const {
    if (starts_.size() != 1) fail(env, SAMCLIP_FAULT, "there is not one text");
    return starts_[0];
}

SizeOrNull::SizeOrNull(JNIEnv* env, jintArray sides) : given_(sides != nullptr) {
    if (!given_) return;
    const Values<jint> numbers = values(env, sides);
    if (numbers.size() != 2) fail(env, SAMCLIP_FAULT, "a size is not two numbers");
    size_ = {numbers[0], numbers[1]};
}

std::vector<samclip_image> images(JNIEnv* env, jintArray numbers, jobjectArray planes) {
    const Values<jint> all = values(env, numbers);
    const size_t count = all.size() / kNumbers;
    if (planes == nullptr || all.size() != count * kNumbers ||
        static_cast<size_t>(env->GetArrayLength(planes)) != count * kPlanes) {
        fail(env, SAMCLIP_FAULT, "the planes of the images are not as many as their numbers say");
    }
    std::vector<samclip_image> images(count);
    for (size_t each = 0; each < count; each++) {
        const jint* of = all.data() + each * kNumbers;
        samclip_image& image = images[each];
        image.size = sizeof(samclip_image);
        image.format = static_cast<samclip_format>(of[0]);
        image.width = of[1];
        image.height = of[2];
        image.bt709 = of[3];
        image.full_range = of[4];
        image.turn = of[5];
        image.mirror = of[6];
        for (size_t plane = 0; plane < kPlanes; plane++) {
            jobject buffer = env->GetObjectArrayElement(planes, static_cast<jsize>(each * kPlanes + plane));
            if (buffer == nullptr) continue;
            const void* data = env->GetDirectBufferAddress(buffer);
            const jlong bytes = env->GetDirectBufferCapacity(buffer);
            env->DeleteLocalRef(buffer);
            if (data == nullptr || bytes < 0) fail(env, SAMCLIP_INPUT, "photo: its buffer is not direct");
            image.planes[plane].data = static_cast<const uint8_t*>(data);
            image.planes[plane].bytes = static_cast<size_t>(bytes);
            image.planes[plane].row_stride = static_cast<size_t>(of[7 + plane]);
            image.planes[plane].pixel_stride = static_cast<size_t>(of[10 + plane]);
        }
    }
    return images;
}

int tell(void* context, const char* what, size_t done, size_t total) {
    JNIEnv* env = nullptr;
    if (machine->GetEnv(reinterpret_cast<void**>(&env), JNI_VERSION_1_6) != JNI_OK) return 1;
    if (env->ExceptionCheck()) return 1;  // of the listener, at the step before
    return guarded(env, [&]() -> int {
        jobject listener = env->NewLocalRef(static_cast<Task*>(context)->listener);
        if (listener == nullptr) return 1;
        jbyteArray bytes = java(env, what);
        env->CallVoidMethod(listener, step, bytes, static_cast<jlong>(done), static_cast<jlong>(total));
        env->DeleteLocalRef(bytes);
        env->DeleteLocalRef(listener);
        return env->ExceptionCheck() ? 1 : 0;
    });
}

}  // namespace samclip_jni
