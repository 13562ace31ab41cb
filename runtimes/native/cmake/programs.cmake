# The command line tool, the examples, the tests and the fuzzers. All land in the build folder itself.

# A program of the library's inside: it sees the internal headers, and links the static library.
function(add_inside_program name)
    add_executable(${name} ${ARGN})
    target_include_directories(${name} PRIVATE src)
    target_link_libraries(${name} PRIVATE samclip_edge_static ${dependencies})
endfunction()

if(SAMCLIP_EDGE_CLI OR SAMCLIP_EDGE_FUZZ)
    find_package(JPEG REQUIRED) # both for photo_files
    find_package(PNG REQUIRED)
endif()
if(SAMCLIP_EDGE_CLI)
    add_executable(samclip-edge-cli cli/main.cpp photo_files/photo.cpp photo_files/picture.cpp)
    target_include_directories(samclip-edge-cli PRIVATE photo_files)
    target_link_libraries(samclip-edge-cli PRIVATE samclip_edge nlohmann_json::nlohmann_json JPEG::JPEG PNG::PNG)
    set_target_properties(samclip-edge-cli PROPERTIES INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR})
endif()

# What `samclip-edge bench --runtime native` runs.
add_executable(samclip-edge-measure bench/measure.cpp)
target_link_libraries(samclip-edge-measure PRIVATE samclip_edge)

if(SAMCLIP_EDGE_EXAMPLES)
    find_package(OpenCV REQUIRED COMPONENTS videoio highgui imgcodecs imgproc)
    add_executable(example_click examples/click.c)
    target_link_libraries(example_click PRIVATE samclip_edge)
    add_executable(example_camera examples/camera.cpp)
    target_link_libraries(example_camera PRIVATE samclip_edge ${OpenCV_LIBS} Threads::Threads)
    target_include_directories(example_camera SYSTEM PRIVATE ${OpenCV_INCLUDE_DIRS})
endif()

if(SAMCLIP_EDGE_TESTS)
    enable_testing()
    file(GLOB units CONFIGURE_DEPENDS tests/test_*.cpp)
    file(GLOB probes CONFIGURE_DEPENDS tests/probe_*.cpp)
    file(GLOB apps CONFIGURE_DEPENDS tests/*.c)

    add_inside_program(unit_tests tests/main.cpp ${units})
    find_path(DOCTEST_INCLUDE_DIR doctest/doctest.h REQUIRED)
    target_include_directories(unit_tests SYSTEM PRIVATE ${DOCTEST_INCLUDE_DIR})
    target_compile_definitions(unit_tests PRIVATE
        SAMCLIP_EDGE_BUNDLE="${CMAKE_CURRENT_SOURCE_DIR}/../../samclip_edge/data/photo")
    # What one thread does hundreds of times is not for the sanitizer of threads or for QEMU, which make minutes of a
    # second. Nor are QEMU's many threads on few cores.
    if(CMAKE_CROSSCOMPILING)
        set(without --test-case-exclude=memory* --source-file-exclude=*test_threads.cpp)
    elseif(SAMCLIP_EDGE_SANITIZE STREQUAL thread)
        set(without --test-case-exclude=memory*)
    endif()
    add_test(NAME unit_tests COMMAND unit_tests ${without})
    set(tsan TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/tests/tsan.txt)
    set_tests_properties(unit_tests PROPERTIES ENVIRONMENT ${tsan})

    # The engine for TensorRT, over stand-ins of NVIDIA's libraries.
    if(NOT SAMCLIP_EDGE_TENSORRT)
        file(GLOB stand_ins CONFIGURE_DEPENDS tests/stand_in_tensorrt/*.cpp tests/tensorrt/*.cpp)
        add_inside_program(tensorrt_tests tests/main.cpp ${stand_ins}
            src/engine/built_engine.cpp src/engine/cuda.cpp src/engine/engine_tensorrt.cpp src/engine/sessions.cpp
            src/engine/tensorrt_library.cpp)
        target_include_directories(tensorrt_tests PRIVATE tests/stand_in_tensorrt)
        target_include_directories(tensorrt_tests SYSTEM PRIVATE ${DOCTEST_INCLUDE_DIR})
        target_compile_definitions(tensorrt_tests PRIVATE SAMCLIP_EDGE_TENSORRT
            SAMCLIP_EDGE_BUNDLE="${CMAKE_CURRENT_SOURCE_DIR}/../../samclip_edge/data/photo")
        if(NOT CMAKE_CROSSCOMPILING) # under QEMU it takes more than ten minutes
            add_test(NAME tensorrt_tests COMMAND tensorrt_tests)
            set_tests_properties(tensorrt_tests PROPERTIES ENVIRONMENT ${tsan})
        endif()
    endif()

    # Probes answer pytest's questions.
    foreach(probe ${probes})
        get_filename_component(name ${probe} NAME_WE)
        add_inside_program(${name} ${probe})
    endforeach()

    # The header and the shared library, as an app in C meets them.
    foreach(app ${apps})
        get_filename_component(name ${app} NAME_WE)
        add_executable(${name} ${app})
        target_compile_options(${name} PRIVATE -Werror)
        target_link_libraries(${name} PRIVATE samclip_edge)
        if(SAMCLIP_EDGE_SANITIZE)
            set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX) # which brings the sanitizer's part for C++
        endif()
        add_test(NAME ${name} COMMAND ${name})
    endforeach()

    if(CMAKE_SYSTEM_PROCESSOR STREQUAL aarch64)
        add_executable(run_graph tests/aarch64/run_graph.cpp)
        target_link_libraries(run_graph PRIVATE onnxruntime::onnxruntime)
        add_test(NAME pages_of_16_kib COMMAND sh -c "${CMAKE_READELF} -lW $<TARGET_FILE:samclip_edge> | \
            awk '$1 == \"LOAD\" {parts++; odd += $NF != \"0x4000\"} END {exit odd || !parts}'")
    endif()
endif()

if(SAMCLIP_EDGE_FUZZ)
    file(GLOB fuzzers CONFIGURE_DEPENDS tests/fuzz_*.cpp)
    foreach(fuzzer ${fuzzers})
        get_filename_component(name ${fuzzer} NAME_WE)
        add_inside_program(${name} ${fuzzer})
        target_compile_definitions(${name} PRIVATE
            SAMCLIP_EDGE_BUNDLE="${CMAKE_CURRENT_SOURCE_DIR}/../../samclip_edge/data/photo")
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    endforeach()
    target_sources(fuzz_photo PRIVATE photo_files/photo.cpp)
    target_link_libraries(fuzz_photo PRIVATE JPEG::JPEG PNG::PNG)
endif()
