// LiteRT's C interface (google-ai-edge/LiteRT, `litert/c`), as far as it is used here. The library is an app's own, and
// is opened when a bundle asks for it: libLiteRt.so, as the Android package and the Python wheel of LiteRT 2.3 have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace samclip {

struct LiteRtHandle;
using LiteRtObject = LiteRtHandle*;  // an environment, a model, a signature, a tensor, options, a buffer

constexpr int kLiteRtCpu = 1;
constexpr int kLiteRtRead = 0, kLiteRtWrite = 1;
constexpr int kLiteRtFloat32 = 1, kLiteRtInt32 = 2;

// A tensor's type, as the library lays it out.
struct LiteRtType {
    int element;
    unsigned int rank : 7;
    unsigned int has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
};

// An option of an environment, whose value is a whole number.
struct LiteRtOption {
    int64_t tag;
    int64_t kind;  // of the value
    int64_t value;
};

// The functions, each under its own name without `LiteRt`. All but the last return 0, or a status.
struct LiteRt {
    int (*CreateEnvironment)(int, const LiteRtOption*, LiteRtObject*);
    int (*CreateModelFromBuffer)(LiteRtObject, const void*, size_t, LiteRtObject*);
    int (*GetNumModelSignatures)(LiteRtObject, size_t*);
    int (*GetModelSignature)(LiteRtObject, size_t, LiteRtObject*);
    int (*GetNumSignatureInputs)(LiteRtObject, size_t*);
    int (*GetSignatureInputName)(LiteRtObject, size_t, const char**);
    int (*GetSignatureInputTensorByIndex)(LiteRtObject, size_t, LiteRtObject*);
    int (*GetNumSignatureOutputs)(LiteRtObject, size_t*);
    int (*GetSignatureOutputName)(LiteRtObject, size_t, const char**);
    int (*GetSignatureOutputTensorByIndex)(LiteRtObject, size_t, LiteRtObject*);
    int (*GetRankedTensorType)(LiteRtObject, LiteRtType*);
    int (*CreateOptions)(LiteRtObject*);
    int (*SetOptionsHardwareAccelerators)(LiteRtObject, int);
    int (*CreateOpaqueOptions)(const char*, void*, void (*)(void*), LiteRtObject*);
    int (*AddOpaqueOptions)(LiteRtObject, LiteRtObject);
    int (*CreateCompiledModel)(LiteRtObject, LiteRtObject, LiteRtObject, LiteRtObject*);
    int (*RunCompiledModel)(LiteRtObject, size_t, size_t, LiteRtObject*, size_t, LiteRtObject*);
    int (*GetCompiledModelInputBufferRequirements)(LiteRtObject, size_t, size_t, LiteRtObject*);
    int (*GetCompiledModelOutputBufferRequirements)(LiteRtObject, size_t, size_t, LiteRtObject*);
    int (*CreateManagedTensorBufferFromRequirements)(LiteRtObject, const LiteRtType*, LiteRtObject, LiteRtObject*);
    int (*LockTensorBuffer)(LiteRtObject, void**, int);
    int (*UnlockTensorBuffer)(LiteRtObject);
    void (*DestroyModel)(LiteRtObject);
    void (*DestroyOptions)(LiteRtObject);
    void (*DestroyCompiledModel)(LiteRtObject);
    void (*DestroyTensorBuffer)(LiteRtObject);

    LiteRtObject environment;  // of the process
};

// Opened at the first call. Throws InputError where it is not here, or is older.
const LiteRt& litert();

}  // namespace samclip
