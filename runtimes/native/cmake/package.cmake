# What is installed, in two components, and the two Debian packages that `cpack -G DEB` makes of them.
include(CMakePackageConfigHelpers)
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/samclip_edge)

install(TARGETS samclip_edge EXPORT samclip_edgeTargets
    LIBRARY COMPONENT runtime NAMELINK_COMPONENT development)
install(TARGETS samclip_edge_static EXPORT samclip_edgeTargets ARCHIVE COMPONENT development)
if(TARGET samclip-edge-cli)
    install(TARGETS samclip-edge-cli RUNTIME COMPONENT runtime)
endif()
if(NOT SAMCLIP_EDGE_TENSORRT)
    set(without_tensorrt PATTERN samclip_edge_tensorrt.h EXCLUDE)
endif()
install(DIRECTORY include/ TYPE INCLUDE COMPONENT development ${without_tensorrt})

install(EXPORT samclip_edgeTargets NAMESPACE samclip_edge:: DESTINATION ${config_folder} COMPONENT development)
configure_package_config_file(cmake/samclip_edgeConfig.cmake.in samclip_edgeConfig.cmake
    INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(samclip_edgeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/samclip_edgeConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/samclip_edgeConfigVersion.cmake
    cmake/Findonnxruntime.cmake cmake/Findutf8proc.cmake
    DESTINATION ${config_folder} COMPONENT development)

# Relative, so that the folder can be moved.
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_prefix ${pc_prefix})
configure_file(cmake/samclip_edge.pc.in samclip_edge.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/samclip_edge.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

foreach(component runtime development)
    string(TOUPPER ${component} name)
    set(CPACK_DEBIAN_${name}_PACKAGE_NAME libsamclip-edge${PROJECT_VERSION_MAJOR})
    set(CPACK_DEBIAN_${name}_PACKAGE_SECTION libs)
    if(component STREQUAL development)
        set(CPACK_DEBIAN_${name}_PACKAGE_NAME libsamclip-edge-dev)
        set(CPACK_DEBIAN_${name}_PACKAGE_SECTION libdevel)
    endif()
    install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/../../LICENSE RENAME copyright
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${CPACK_DEBIAN_${name}_PACKAGE_NAME} COMPONENT ${component})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME samclip-edge)
set(CPACK_PACKAGE_CONTACT "The authors of samclip-edge")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime development)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "SAM and CLIP in one network: the library and its command line tool
It runs bundles that samclip-edge exported, over ONNX Runtime 1.20 or later, which is to be where the loader looks.")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "SAM and CLIP in one network: headers and libraries to build against")
set(CPACK_COMPONENT_DEVELOPMENT_DEPENDS runtime)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
# Where dpkg-shlibdeps finds what no package has: the tool's own library, and perhaps ONNX Runtime.
get_target_property(onnxruntime_file onnxruntime::onnxruntime LOCATION)
get_filename_component(onnxruntime_folder ${onnxruntime_file} DIRECTORY)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_CURRENT_BINARY_DIR} ${onnxruntime_folder})
if(PROJECT_IS_TOP_LEVEL)
    include(CPack)
endif()
