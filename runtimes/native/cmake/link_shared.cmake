# How the shared library is linked where libraries are ELF files: what it exports, and which ONNX Runtime it takes.

# Templates of the C++ library would be exported without the list, since its headers say that they are visible.
set(exports ${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map)
target_link_options(samclip_edge PRIVATE LINKER:--gc-sections LINKER:--version-script=${exports})
set_target_properties(samclip_edge PROPERTIES LINK_DEPENDS ${exports})

# ONNX Runtime exports its one function under its release's own symbol version: what is linked with 1.32.0 would not be
# loaded with 1.32.1. So the library is linked with a stand-in, which has ONNX Runtime's name but no symbol versions.
# Then any ONNX Runtime does; the engine asks it for the API that it knows.
get_target_property(onnxruntime_file onnxruntime::onnxruntime LOCATION)
get_filename_component(onnxruntime_folder ${onnxruntime_file} DIRECTORY)
execute_process(COMMAND ${CMAKE_READELF} -d ${onnxruntime_file} OUTPUT_VARIABLE elf)
if(NOT elf MATCHES "\\(SONAME\\)[^[]*\\[([^]]+)\\]")
    message(FATAL_ERROR "${onnxruntime_file} is not a shared library that has a name")
endif()
set(stand_in_folder ${CMAKE_CURRENT_BINARY_DIR}/stand_in)
add_library(samclip_edge_stand_in SHARED cmake/stand_in.c)
set_target_properties(samclip_edge_stand_in PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${stand_in_folder} NO_SONAME ON)
target_link_options(samclip_edge_stand_in PRIVATE LINKER:-soname,${CMAKE_MATCH_1})

list(REMOVE_ITEM dependencies onnxruntime::onnxruntime)
target_link_libraries(samclip_edge PRIVATE ${dependencies} -lsamclip_edge_stand_in)
list(APPEND dependencies onnxruntime::onnxruntime)
# By its bare name, for CMake would send the loader to the folder of a file.
target_link_options(samclip_edge PRIVATE -L${stand_in_folder})
add_dependencies(samclip_edge samclip_edge_stand_in)
set_target_properties(samclip_edge PROPERTIES BUILD_RPATH ${onnxruntime_folder})
target_link_options(samclip_edge INTERFACE $<BUILD_INTERFACE:LINKER:-rpath-link,${onnxruntime_folder}>)
# An app links without ONNX Runtime at hand; the loader finds it when the app starts.
target_link_options(samclip_edge INTERFACE LINKER:--allow-shlib-undefined)
