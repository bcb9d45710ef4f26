# Installation: both kinds of both libraries, the headers, the programs, and what find_package and pkg-config read.
include(CMakePackageConfigHelpers)

set(MINIDL_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/minidl)
set(MINIDL_HEADER_DIR ${CMAKE_INSTALL_INCLUDEDIR}/minidl)

# The names that users of the package link to stand for the same things in a tree that adds this one as a subfolder.
set(kind static)
if(BUILD_SHARED_LIBS)
  set(kind shared)
endif()
add_library(minidl::minidl ALIAS minidl_${kind})
add_library(minidl::style ALIAS minidl_style_${kind})

foreach(kind static shared)
  set_target_properties(minidl_style_${kind} PROPERTIES EXPORT_NAME style_${kind})
  install(TARGETS minidl_${kind} minidl_style_${kind} EXPORT minidl-${kind}-targets
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT minidl-${kind}-targets NAMESPACE minidl:: DESTINATION ${MINIDL_PACKAGE_DIR})
endforeach()

# Public headers of the framework are those that lie directly in its folders; what lies deeper (kernels/cpu, core/codec, ...) is internal.
foreach(folder core kernels layers optim)
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.h)
  list(FILTER headers EXCLUDE REGEX "kernels/(arguments|checks|dispatch|engine|filter_cache|norm_checks)\\.h$")
  install(FILES ${headers} DESTINATION ${MINIDL_HEADER_DIR}/${folder})
endforeach()
install(FILES apps/builtin_models.h apps/color_transfer.h apps/distill.h apps/distill_judge.h apps/distill_objective.h apps/distill_settings.h apps/distill_student.h apps/fast_style.h
  apps/fast_style_objective.h apps/fast_style_settings.h apps/gatys.h apps/gatys_objective.h
              apps/gatys_settings.h apps/loss_form.h apps/loss_scale.h apps/memory_plan.h apps/stylizer.h
        DESTINATION ${MINIDL_HEADER_DIR}/apps)
install(FILES apps/minidl.h ${MINIDL_INCLUDE_DIR}/minidl/version.h DESTINATION ${MINIDL_HEADER_DIR})

# find_package(minidl [version] [COMPONENTS static|shared])
configure_package_config_file(third_party/cmake/minidl-config.cmake.in ${PROJECT_BINARY_DIR}/package/minidl-config.cmake
                              INSTALL_DESTINATION ${MINIDL_PACKAGE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/minidl-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/minidl-config.cmake ${PROJECT_BINARY_DIR}/package/minidl-config-version.cmake
              third_party/cmake/MinidlModules.cmake DESTINATION ${MINIDL_PACKAGE_DIR})

# pkg-config [--static] minidl, minidl_style. Paths are relative to the .pc file, so the installed folder can be moved.
file(RELATIVE_PATH MINIDL_PREFIX_FROM_PC ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
if(MINIDL_CUDA_BACKEND STREQUAL "NVCC")
  list(APPEND minidl_private_libs -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lrt -ldl)
endif()
list(JOIN minidl_private_libs " " MINIDL_PRIVATE_LIBS)
foreach(name minidl minidl_style)
  configure_file(third_party/cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/package/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
