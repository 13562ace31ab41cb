# Sets `dependencies`: the targets that the library is compiled and linked with.
find_package(Threads REQUIRED)
find_package(onnxruntime REQUIRED)

set(fetched)
if(SAMCLIP_EDGE_FETCH)
    include(FetchContent)
    if(POLICY CMP0135)
        cmake_policy(SET CMP0135 NEW) # a file of an archive is as old as its unpacking
    endif()
endif()

# Header-only: nothing of it is left for those who link the library.
find_package(nlohmann_json 3.9 CONFIG QUIET)
if(NOT nlohmann_json_FOUND)
    find_path(NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp)
    if(NLOHMANN_JSON_INCLUDE_DIR)
        add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
        target_include_directories(nlohmann_json::nlohmann_json INTERFACE ${NLOHMANN_JSON_INCLUDE_DIR})
    elseif(SAMCLIP_EDGE_FETCH)
        FetchContent_Declare(nlohmann_json
            URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
            URL_HASH SHA256=d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
        set(JSON_SystemInclude ON CACHE INTERNAL "its warnings are not ours")
        list(APPEND fetched nlohmann_json)
    else()
        message(FATAL_ERROR "nlohmann-json is missing: install nlohmann-json3-dev, or pass -DSAMCLIP_EDGE_FETCH=ON")
    endif()
endif()

find_package(utf8proc QUIET)
if(NOT utf8proc_FOUND)
    if(NOT SAMCLIP_EDGE_FETCH)
        message(FATAL_ERROR "utf8proc is missing: install libutf8proc-dev, or pass -DSAMCLIP_EDGE_FETCH=ON")
    endif()
    FetchContent_Declare(utf8proc
        URL https://github.com/JuliaStrings/utf8proc/archive/refs/tags/v2.9.0.tar.gz
        URL_HASH SHA256=18c1626e9fc5a2e192311e36b3010bfc698078f692888940f1fa150547abb0c1)
    set(UTF8PROC_INSTALL OFF CACHE INTERNAL "it becomes a part of the library")
    list(APPEND fetched utf8proc)
endif()

if(fetched)
    FetchContent_MakeAvailable(${fetched})
endif()
set(dependencies onnxruntime::onnxruntime nlohmann_json::nlohmann_json Threads::Threads ${CMAKE_DL_LIBS})
if(TARGET utf8proc)
    set_target_properties(utf8proc PROPERTIES POSITION_INDEPENDENT_CODE ON)
    list(APPEND dependencies utf8proc)
else()
    list(APPEND dependencies utf8proc::utf8proc)
endif()

if(SAMCLIP_EDGE_TENSORRT)
    find_package(CUDAToolkit REQUIRED)
    find_path(NVINFER_INCLUDE_DIR NvInfer.h REQUIRED)
    find_library(NVINFER_LIBRARY nvinfer REQUIRED)
    find_library(NVONNXPARSER_LIBRARY nvonnxparser REQUIRED)
    add_library(nvinfer INTERFACE IMPORTED)
    target_include_directories(nvinfer INTERFACE ${NVINFER_INCLUDE_DIR})
    target_link_libraries(nvinfer INTERFACE ${NVINFER_LIBRARY} ${NVONNXPARSER_LIBRARY} CUDA::cudart)
    target_compile_definitions(nvinfer INTERFACE SAMCLIP_EDGE_TENSORRT)
    list(APPEND dependencies nvinfer)
endif()
