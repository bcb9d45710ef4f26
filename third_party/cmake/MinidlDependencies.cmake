# Every dependency is a system package. What is missing is reported all at once, with the names to install.
find_package(Threads REQUIRED)
include(MinidlModules)  # what the libraries link to

macro(minidl_require package debian_package)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    list(APPEND minidl_missing ${debian_package})
  endif()
endmacro()

# Headers only: nothing of them is left in the libraries.
minidl_require(nlohmann_json nlohmann-json3-dev)
minidl_require(CLI11 libcli11-dev)
if(MINIDL_TESTS)
  minidl_require(GTest libgtest-dev)
endif()
if(MINIDL_BENCH)
  minidl_require(benchmark libbenchmark-dev)
endif()

if(minidl_missing)
  list(REMOVE_DUPLICATES minidl_missing)
  list(JOIN minidl_missing " " names)
  message(FATAL_ERROR "libminidl needs packages that are not installed: ${names}\n"
                      "Install them with: bash third_party/install.sh   (or: apt-get install ${names})")
endif()
