#include "engine/litert_library.hpp"

#include <dlfcn.h>

#include <cstdlib>

#include "error.hpp"

namespace samclip {

namespace {

constexpr const char* kVariable = "SAMCLIP_EDGE_LITERT";
constexpr const char* kLibrary = "libLiteRt.so";

const char* path() {
    const char* given = std::getenv(kVariable);
    return given == nullptr || *given == 0 ? kLibrary : given;
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
    void* found = dlsym(library, (std::string("LiteRt") + name).c_str());
    if (found == nullptr) {
        throw InputError(std::string(path()) + ": has no LiteRt" + name + "; bring LiteRT 2.3 or later");
    }
    function = reinterpret_cast<Function>(found);
}

LiteRt opened() {
    void* const library = dlopen(path(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        throw InputError(std::string(path()) + ": LiteRT does not load (" + dlerror() + "); set " + kVariable +
                         " to its " + kLibrary + ", or export the bundle for target onnx");
    }
    LiteRt api = {};
#define SAMCLIP_FIND(name) find(library, #name, api.name)
    SAMCLIP_FIND(CreateEnvironment);
    SAMCLIP_FIND(CreateModelFromBuffer);
    SAMCLIP_FIND(GetNumModelSignatures);
    SAMCLIP_FIND(GetModelSignature);
    SAMCLIP_FIND(GetNumSignatureInputs);
    SAMCLIP_FIND(GetSignatureInputName);
    SAMCLIP_FIND(GetSignatureInputTensorByIndex);
    SAMCLIP_FIND(GetNumSignatureOutputs);
    SAMCLIP_FIND(GetSignatureOutputName);
    SAMCLIP_FIND(GetSignatureOutputTensorByIndex);
    SAMCLIP_FIND(GetRankedTensorType);
    SAMCLIP_FIND(CreateOptions);
    SAMCLIP_FIND(SetOptionsHardwareAccelerators);
    SAMCLIP_FIND(CreateOpaqueOptions);
    SAMCLIP_FIND(AddOpaqueOptions);
    SAMCLIP_FIND(CreateCompiledModel);
    SAMCLIP_FIND(RunCompiledModel);
    SAMCLIP_FIND(GetCompiledModelInputBufferRequirements);
    SAMCLIP_FIND(GetCompiledModelOutputBufferRequirements);
    SAMCLIP_FIND(CreateManagedTensorBufferFromRequirements);
    SAMCLIP_FIND(LockTensorBuffer);
    SAMCLIP_FIND(UnlockTensorBuffer);
    SAMCLIP_FIND(DestroyModel);
    SAMCLIP_FIND(DestroyOptions);
    SAMCLIP_FIND(DestroyCompiledModel);
    SAMCLIP_FIND(DestroyTensorBuffer);
#undef SAMCLIP_FIND
    // The CPU alone, so that it looks for no libraries of GPUs; and errors alone go to stderr.
    constexpr int64_t kWhole = 2, kAccelerators = 24, kLeastSeverity = 25, kErrors = 3;
    const LiteRtOption options[] = {{kAccelerators, kWhole, kLiteRtCpu}, {kLeastSeverity, kWhole, kErrors}};
    if (api.CreateEnvironment(2, options, &api.environment) != 0) {
        throw Error(SAMCLIP_ENGINE, std::string(path()) + ": LiteRT does not start");
    }
    return api;
}

}  // namespace

const LiteRt& litert() {
    static const LiteRt& api = *new LiteRt(opened());  // never deleted: models may be closed at the end of a process
    return api;
}

}  // namespace samclip
