# Options of the build. Three-state options take AUTO (use it when it is there), ON (fail when it is not) or OFF.
function(minidl_three_state name default help)
  set(${name} ${default} CACHE STRING "${help} (${ARGN})")
  set_property(CACHE ${name} PROPERTY STRINGS ${ARGN})
  if(NOT "${${name}}" IN_LIST ARGN)
    list(JOIN ARGN ", " allowed)
    message(FATAL_ERROR "${name} is '${${name}}'; it must be one of: ${allowed}")
  endif()
endfunction()

minidl_three_state(MINIDL_CUDA AUTO "Build the CUDA backend" AUTO ON OFF)
option(MINIDL_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(MINIDL_BENCH "Build the benchmarks" OFF)
option(MINIDL_WERROR "Treat warnings as errors" OFF)
option(MINIDL_COVERAGE "Instrument for line coverage" OFF)
set(MINIDL_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, e.g. address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# The CUDA backend has no sources yet: AUTO builds for the CPU, ON says so instead of building something else in silence.
if(MINIDL_CUDA STREQUAL "ON")
  message(FATAL_ERROR "MINIDL_CUDA=ON: this version of libminidl has no CUDA backend; configure with MINIDL_CUDA=AUTO or OFF")
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
