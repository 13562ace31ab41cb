# Finds ONNX Runtime 1.20 or later: in ONNXRUNTIME_ROOT, which may be an unpacked release, an unpacked Android package, or
# any folder with its headers and its library; without that, by ONNX Runtime's own configuration, as Debian installs it.
# Makes the target onnxruntime::onnxruntime.
if(NOT TARGET onnxruntime::onnxruntime AND NOT ONNXRUNTIME_ROOT)
    find_package(onnxruntime CONFIG QUIET)
endif()
if(TARGET onnxruntime::onnxruntime)
    set(onnxruntime_FOUND TRUE)
    return()
endif()

set(onnxruntime_where)
if(ONNXRUNTIME_ROOT)
    set(onnxruntime_where PATHS ${ONNXRUNTIME_ROOT} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
endif()
find_path(onnxruntime_INCLUDE_DIR onnxruntime_c_api.h ${onnxruntime_where}
    PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session headers)
# An Android package holds a library for each kind of CPU, under jni/.
find_library(onnxruntime_LIBRARY onnxruntime ${onnxruntime_where} PATH_SUFFIXES lib lib64 jni/${ANDROID_ABI})
if(onnxruntime_INCLUDE_DIR)
    file(STRINGS ${onnxruntime_INCLUDE_DIR}/onnxruntime_c_api.h onnxruntime_api REGEX "^#define ORT_API_VERSION [0-9]+")
    string(REGEX MATCH "[0-9]+" onnxruntime_api "${onnxruntime_api}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(onnxruntime
    REQUIRED_VARS onnxruntime_LIBRARY onnxruntime_INCLUDE_DIR
    REASON_FAILURE_MESSAGE "pass -DONNXRUNTIME_ROOT=FOLDER, which holds its headers and its library")
if(onnxruntime_FOUND)
    if(onnxruntime_api LESS 20)
        message(FATAL_ERROR "${onnxruntime_INCLUDE_DIR}: ONNX Runtime 1.${onnxruntime_api}; 1.20 or later is needed")
    endif()
    add_library(onnxruntime::onnxruntime UNKNOWN IMPORTED)
    set_target_properties(onnxruntime::onnxruntime PROPERTIES
        IMPORTED_LOCATION ${onnxruntime_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${onnxruntime_INCLUDE_DIR})
endif()
mark_as_advanced(onnxruntime_INCLUDE_DIR onnxruntime_LIBRARY)
