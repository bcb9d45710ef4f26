# Compile settings and the helper functions that the folders' lists use.

# `#include <minidl/core/tensor.h>` works in the tree as it does when installed: a folder of links stands in for the prefix.
set(MINIDL_INCLUDE_DIR ${PROJECT_BINARY_DIR}/include)
file(MAKE_DIRECTORY ${MINIDL_INCLUDE_DIR}/minidl)
foreach(folder core kernels layers optim apps)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${MINIDL_INCLUDE_DIR}/minidl/${folder} SYMBOLIC)
endforeach()
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/apps/minidl.h ${MINIDL_INCLUDE_DIR}/minidl/minidl.h SYMBOLIC)
configure_file(${PROJECT_SOURCE_DIR}/core/version.h.in ${MINIDL_INCLUDE_DIR}/minidl/version.h @ONLY)

set(cxx_options
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # g++ 12 warns about its own std::string (GCC bug 105651)
  -ffp-contract=off  # a*b+c is rounded twice unless the source says MulAdd: the same numbers from every compiler
  -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.  # no path of the build machine in a binary
  $<$<BOOL:${MINIDL_WERROR}>:-Werror>
  "$<$<BOOL:${MINIDL_COVERAGE}>:--coverage;-fprofile-update=atomic>")  # threads count the same lines
# The same rounding on the device: a kernel asks for multiply_add where it wants one.
set(cuda_options --fmad=false -Xcompiler=-Wall,-Wextra,-ffp-contract=off,-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.
  "$<$<BOOL:${MINIDL_WERROR}>:-Werror=all-warnings>")
add_library(minidl_settings INTERFACE)
target_compile_options(minidl_settings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${cxx_options}>" "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_options}>")
target_link_options(minidl_settings INTERFACE LINKER:--as-needed $<$<BOOL:${MINIDL_COVERAGE}>:--coverage>)
if(MINIDL_SANITIZE)
  target_compile_options(minidl_settings INTERFACE -fsanitize=${MINIDL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(minidl_settings INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)  # false alarms in what they insert
  if(MINIDL_SANITIZE MATCHES "address.*undefined|undefined.*address")
    # A quarter of the time that compilation takes. The address sanitizer finds what null and object-size do; for vptr there is nothing else.
    target_compile_options(minidl_settings INTERFACE -fno-sanitize=null,object-size,vptr)
  endif()
  target_link_options(minidl_settings INTERFACE -fsanitize=${MINIDL_SANITIZE})
endif()

# minidl_library(NAME [LIBRARY...]): NAME_objects (compiled once), NAME_static and NAME_shared, which link the same kind of each LIBRARY for
# their users, too. In the tree everything links NAME_static.
function(minidl_library name)
  add_library(${name}_objects OBJECT)
  set_target_properties(${name}_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)  # for the shared library
  add_library(${name}_objects_interface INTERFACE)  # include path and dependencies, without the objects
  target_include_directories(${name}_objects_interface INTERFACE
    $<BUILD_INTERFACE:${MINIDL_INCLUDE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${name}_objects PRIVATE minidl_settings PUBLIC ${name}_objects_interface)
  set(objects $<TARGET_OBJECTS:${name}_objects>)
  if(TARGET ${name}_cuda)
    list(APPEND objects $<TARGET_OBJECTS:${name}_cuda>)
    set_target_properties(${name}_cuda PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(${name}_cuda PRIVATE minidl_settings ${name}_objects_interface)
    target_compile_definitions(${name}_objects PRIVATE MINIDL_HAS_CUDA)
  endif()
  foreach(kind static shared)
    string(TOUPPER ${kind} upper)
    add_library(${name}_${kind} ${upper} ${objects})
    target_include_directories(${name}_${kind} PUBLIC
      $<BUILD_INTERFACE:${MINIDL_INCLUDE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_compile_features(${name}_${kind} PUBLIC cxx_std_20)
    set_target_properties(${name}_${kind} PROPERTIES OUTPUT_NAME ${name} INSTALL_RPATH $ORIGIN
      VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  endforeach()
  target_link_libraries(${name}_shared PRIVATE $<BUILD_INTERFACE:minidl_settings>)
  if(NOT MINIDL_SANITIZE)  # the runtimes of the sanitizers are linked to programs only
    target_link_options(${name}_shared PRIVATE LINKER:--no-undefined)
  endif()
  foreach(library ${ARGN})
    target_link_libraries(${name}_objects PUBLIC ${library}_objects_interface)
    target_link_libraries(${name}_static PUBLIC ${library}_static)
    target_link_libraries(${name}_shared PUBLIC ${library}_shared)
  endforeach()
endfunction()

# minidl_sources(LIBRARY FILE...): sources of this folder, listed by name.
function(minidl_sources library)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE files)
  target_sources(${library}_objects PRIVATE ${files})
endfunction()

# What sees the headers of CUDA: kernels (.cu) and code that uses the runtime (.cpp), compiled by nvcc and the host compiler, or all by the
# latter with the headers of the emulator.
if(MINIDL_CUDA_BACKEND)
  add_library(minidl_cuda OBJECT)
  set(oldest 0)
  if(MINIDL_CUDA_BACKEND STREQUAL "NVCC")
    list(SORT CMAKE_CUDA_ARCHITECTURES COMPARE NATURAL)
    list(GET CMAKE_CUDA_ARCHITECTURES 0 oldest)
    string(REGEX MATCH "^[0-9]+" oldest ${oldest})
  endif()
  target_compile_definitions(minidl_cuda PRIVATE MINIDL_CUDA_OLDEST_ARCHITECTURE=${oldest})
  if(MINIDL_CUDA_BACKEND STREQUAL "EMULATED" AND NOT CMAKE_CROSSCOMPILING)
    include(CheckCXXSourceRuns)
    check_cxx_source_runs("int main() { return !__builtin_cpu_supports(\"fma\"); }" MINIDL_HOST_HAS_FMA)
  endif()
endif()

# minidl_cuda_sources(FILE...): such sources of this folder; nothing in a build without CUDA.
function(minidl_cuda_sources)
  if(NOT TARGET minidl_cuda)
    return()
  endif()
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE files)
  target_sources(minidl_cuda PRIVATE ${files})
  if(MINIDL_CUDA_BACKEND STREQUAL "EMULATED")
    list(FILTER files INCLUDE REGEX "\\.cu$")
    set(options -x c++)
    if(MINIDL_HOST_HAS_FMA)
      list(APPEND options -mfma)  # multiply_add in one instruction, where the library for all processors calls a function
    endif()
    if(MINIDL_EMULATED_RACES)
      list(APPEND options -fsanitize=thread -Wno-tsan)  # calls the emulator at every access; no sanitizer is linked
    endif()
    set_source_files_properties(${files} TARGET_DIRECTORY minidl_cuda PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${options}")
  endif()
endfunction()

# minidl_links(LIBRARY TARGET...): private dependencies of the objects and of both libraries made of them.
function(minidl_links library)
  foreach(kind objects static shared)
    target_link_libraries(${library}_${kind} PRIVATE ${ARGN})
  endforeach()
endfunction()

# minidl_uses_headers(LIBRARY TARGET...): private dependencies of which nothing is left in the libraries.
function(minidl_uses_headers library)
  target_link_libraries(${library}_objects PRIVATE ${ARGN})
endfunction()

# minidl_program(NAME SOURCE...): a command-line program in bin/.
function(minidl_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE minidl_settings minidl_apps_common)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

function(minidl_print_summary)
  message(STATUS "libminidl ${PROJECT_VERSION}")
  message(STATUS "  build type   ${CMAKE_BUILD_TYPE} ${MINIDL_SANITIZE}")
  set(architectures "")
  if(MINIDL_CUDA_BACKEND STREQUAL "NVCC")
    set(architectures " for compute capability ${CMAKE_CUDA_ARCHITECTURES}")
  endif()
  message(STATUS "  CUDA         ${MINIDL_CUDA_BACKEND}${architectures} (MINIDL_CUDA=${MINIDL_CUDA})")
  message(STATUS "  cuDNN        ${MINIDL_HAS_CUDNN} (MINIDL_CUDNN=${MINIDL_CUDNN})")
  message(STATUS "  tests        ${MINIDL_TESTS}")
  message(STATUS "  benchmarks   ${MINIDL_BENCH}")
endfunction()
