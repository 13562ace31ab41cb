// Values of Java in C++ and back. Whatever goes wrong becomes one Java exception; no C++ exception reaches Java.
#pragma once

#include <jni.h>

#include <cstdint>
#include <new>
#include <vector>

#include "samclip_edge.h"

// A native function of `edge.samclip.Native`.
#define NATIVE(type, name) extern "C" JNIEXPORT type JNICALL Java_edge_samclip_Native_##name

namespace samclip_jni {

// Thrown where a Java exception is pending, to go back to Java.
struct Pending {};

// Find the classes that this library calls. False with a Java exception where one is missing.
bool find_classes(JNIEnv* env);

// Make a SamClipException pending, if no exception is. line: UTF-8.
void raise(JNIEnv* env, samclip_status status, const char* line);

// The same, and go back.
[[noreturn]] void fail(JNIEnv* env, samclip_status status, const char* line);

// Go back with the library's error where a call of it failed.
void check(JNIEnv* env, samclip_status status);

// Go back where a function of JNI left an exception.
void check(JNIEnv* env);

// Run what a native function does; its result is zero where an exception is pending.
template <class Body>
auto guarded(JNIEnv* env, Body body) -> decltype(body()) {
    try {
        return body();
    } catch (const Pending&) {
    } catch (const std::bad_alloc&) {
        raise(env, SAMCLIP_MEMORY, "there is not enough memory");
    } catch (...) {
        raise(env, SAMCLIP_FAULT, "a fault of samclip_edge_jni");
    }
    return decltype(body())();
}

// What a handle points to.
template <class T>
T* pointer(JNIEnv* env, jlong handle) {
    if (handle == 0) fail(env, SAMCLIP_FAULT, "a handle is null");
    return reinterpret_cast<T*>(static_cast<intptr_t>(handle));
}

template <class T>
jlong handle_of(T* pointer) {
    return static_cast<jlong>(reinterpret_cast<intptr_t>(pointer));
}

// An array of Java, copied. data() is null for null, and only then.
template <class T>
class Values {
public:
    Values() = default;
    explicit Values(size_t count) : given_(true), values_(count) {}
    const T* data() const { return !given_ ? nullptr : values_.empty() ? &kNone : values_.data(); }
    T* data() { return values_.data(); }
    size_t size() const { return values_.size(); }
    T operator[](size_t index) const { return values_[index]; }

private:
    static constexpr T kNone = 0;
    bool given_ = false;
    std::vector<T> values_;
};

Values<jbyte> values(JNIEnv* env, jbyteArray array);
Values<jint> values(JNIEnv* env, jintArray array);
Values<jlong> values(JNIEnv* env, jlongArray array);
Values<jfloat> values(JNIEnv* env, jfloatArray array);
Values<jdouble> values(JNIEnv* env, jdoubleArray array);

jbyteArray java(JNIEnv* env, const char* text);  // null for null
jbyteArray java(JNIEnv* env, const std::vector<jbyte>& bytes);
jintArray java(JNIEnv* env, const std::vector<jint>& numbers);
jfloatArray java(JNIEnv* env, const std::vector<jfloat>& numbers);
jdoubleArray java(JNIEnv* env, const std::vector<jdouble>& numbers);

// `count` features, for the library to write. Goes back where they do not fit into an array of Java.
std::vector<jfloat> room_for(JNIEnv* env, size_t count, size_t features);

// Texts, each with a 0 after it. Goes back where the last has none.
class Texts {
public:
    Texts(JNIEnv* env, jbyteArray joined);
    samclip_names names() const { return {starts_.data(), starts_.size()}; }
    const char* only(JNIEnv* env) const;  // goes back where there is not one

private:
    Values<jbyte> bytes_;
    std::vector<const char*> starts_;
};

// A size, or null.
class SizeOrNull {
public:
    SizeOrNull(JNIEnv* env, jintArray sides);
    const samclip_size* get() const { return given_ ? &size_ : nullptr; }

private:
    bool given_ = false;
    samclip_size size_{};
};

// Pictures of Java's `Image.numbers` and `Image.buffers`. They lie in the buffers, which Java holds during the call.
std::vector<samclip_image> images(JNIEnv* env, jintArray numbers, jobjectArray planes);

// A progress function and its task: the library's task, and the Java one that its steps are told to.
struct Task {
    samclip_task* task = nullptr;
    jweak listener = nullptr;
};
int tell(void* context, const char* what, size_t done, size_t total);  // samclip_progress; context: a Task
inline samclip_task* task_of(jlong handle) {
    return handle == 0 ? nullptr : reinterpret_cast<Task*>(static_cast<intptr_t>(handle))->task;
}

}  // namespace samclip_jni
