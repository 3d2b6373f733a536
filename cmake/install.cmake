# What `cmake --install` puts where; tests/install proves it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/tweedie")

install(TARGETS tweedie EXPORT tweedieTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
# The program finds LibTorch where the build found it; CMake's own choice of such paths leaves out
# those below the source tree, where the private virtual environment lies.
get_filename_component(torch_libraries "${Torch_DIR}/../../../lib" ABSOLUTE)
set_target_properties(tweedie_cli PROPERTIES INSTALL_RPATH "${torch_libraries}")
install(TARGETS tweedie_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY tweedie/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tweedie
  FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN "pch*.h" EXCLUDE)
install(DIRECTORY configs models DESTINATION ${CMAKE_INSTALL_DATADIR}/tweedie)

install(EXPORT tweedieTargets NAMESPACE tweedie:: DESTINATION ${package})
configure_package_config_file(cmake/tweedieConfig.cmake.in "${PROJECT_BINARY_DIR}/tweedieConfig.cmake"
  INSTALL_DESTINATION ${package} PATH_VARS CMAKE_INSTALL_DATADIR)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/tweedieConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/tweedieConfig.cmake"
  "${PROJECT_BINARY_DIR}/tweedieConfigVersion.cmake" cmake/dependencies.cmake DESTINATION ${package})
