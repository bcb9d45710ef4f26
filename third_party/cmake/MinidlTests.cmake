# minidl_test(FOLDER/NAME [PROGRAM...]): a GoogleTest program, run by CTest under that name with the label of its folder; it may start the
# PROGRAMs. The target minidl_FOLDER_tests builds those of a folder. Tests that exercise threads carry the label `tsan`, too, and are what
# the tsan preset runs.
set(MINIDL_TSAN_TESTS core/caching_allocator_test core/parallel_test core/rng_test core/profile_test core/tape_test kernels/gemm_test
    kernels/conv2d_test kernels/pool2d_test kernels/gram_test kernels/reduce_test kernels/instance_norm_test kernels/elementwise_test
    layers/ops_test layers/transform_net_strips_test optim/lbfgs_state_test apps/gatys_test apps/nst_gatys_test apps/photo_batches_test apps/photo_cache_test)

add_custom_target(minidl_tsan_tests)  # builds them

set(test_timeout 900)
if(CMAKE_CROSSCOMPILING_EMULATOR)
  set(test_timeout 3600)
endif()

# What every test includes is most of its compile time: precompiled once, or included by force where that is switched off.
set(test_prelude ${PROJECT_SOURCE_DIR}/tests/support/prelude.h)
add_library(minidl_test_settings INTERFACE)
target_include_directories(minidl_test_settings INTERFACE ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(minidl_test_settings INTERFACE minidl_settings minidl_style_static minidl_static minidl_apps_common GTest::gtest_main)
target_compile_definitions(minidl_test_settings INTERFACE
  MINIDL_SOURCE_DIR="${PROJECT_SOURCE_DIR}" MINIDL_BINARY_DIR="${PROJECT_BINARY_DIR}")
# What a test itself computes is little, and much of it is compiled: no more optimisation than that takes, and no checks of undefined
# behaviour beside those of the library and the programs, with which it takes twice as long.
target_compile_options(minidl_test_settings INTERFACE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
if(MINIDL_SANITIZE MATCHES "undefined")
  target_compile_options(minidl_test_settings INTERFACE -fno-sanitize=undefined)
endif()
if(CMAKE_DISABLE_PRECOMPILE_HEADERS)
  target_compile_options(minidl_test_settings INTERFACE SHELL:-include ${test_prelude})
endif()
add_library(minidl_test_prelude OBJECT ${PROJECT_SOURCE_DIR}/tests/support/prelude.cpp)
target_precompile_headers(minidl_test_prelude PRIVATE ${test_prelude})
target_link_libraries(minidl_test_prelude PRIVATE minidl_test_settings)

function(minidl_test path)
  get_filename_component(folder ${path} DIRECTORY)
  string(REPLACE "/" "_" target ${path})
  add_executable(${target} ${path}.cpp)
  target_link_libraries(${target} PRIVATE minidl_test_settings)
  target_precompile_headers(${target} REUSE_FROM minidl_test_prelude)
  if(ARGN)
    add_dependencies(${target} ${ARGN})
  endif()
  add_test(NAME ${path} COMMAND ${target})
  set(labels ${folder})
  if(NOT TARGET minidl_${folder}_tests)
    add_custom_target(minidl_${folder}_tests)
  endif()
  add_dependencies(minidl_${folder}_tests ${target})
  if(path IN_LIST MINIDL_TSAN_TESTS)
    list(APPEND labels tsan)
    add_dependencies(minidl_tsan_tests ${target})
  endif()
  set_tests_properties(${path} PROPERTIES LABELS "${labels}" TIMEOUT ${test_timeout})
endfunction()

# minidl_simd_tests(SETS TEST...): each TEST again with MINIDL_SIMD set to each of the SETS, as TEST.SET with the label `simd`; skipped where
# the processor does not have the set.
function(minidl_simd_tests sets)
  foreach(path ${ARGN})
    string(REPLACE "/" "_" target ${path})
    foreach(set ${sets})
      add_test(NAME ${path}.${set} COMMAND ${target})
      set_tests_properties(${path}.${set} PROPERTIES LABELS simd TIMEOUT ${test_timeout} ENVIRONMENT MINIDL_SIMD=${set}
        SKIP_REGULAR_EXPRESSION "MINIDL_SIMD names the instruction set")
    endforeach()
  endforeach()
  list(JOIN sets " " names)
  target_compile_definitions(kernels_simd_test PRIVATE MINIDL_SIMD_TESTS="${names}")
endfunction()

# minidl_cuda_tests(TEST...): each TEST again as TEST.cuda with the label `cuda`, its operations on the first CUDA device, where every tensor is
# an allocation of its own; skipped where there is no device. On the emulated device also as TEST.cuda.reverse and TEST.cuda.random with the
# label `cuda_schedules`: no result may depend on the order in which blocks and threads run and copies are done (docs/emulator.md).
function(minidl_cuda_tests)
  if(NOT MINIDL_CUDA_BACKEND)
    return()
  endif()
  set(on_device MINIDL_TEST_DEVICE=cuda MINIDL_CUDA_CACHING=0)
  foreach(path ${ARGN})
    string(REPLACE "/" "_" target ${path})
    add_test(NAME ${path}.cuda COMMAND ${target})
    set_tests_properties(${path}.cuda PROPERTIES LABELS cuda TIMEOUT ${test_timeout} ENVIRONMENT "${on_device}"
      SKIP_REGULAR_EXPRESSION "'cuda' is not available")
    if(MINIDL_CUDA_BACKEND STREQUAL "EMULATED")
      add_test(NAME ${path}.cuda.reverse COMMAND ${target})
      add_test(NAME ${path}.cuda.random COMMAND ${target})
      set_tests_properties(${path}.cuda.reverse ${path}.cuda.random PROPERTIES LABELS cuda_schedules TIMEOUT ${test_timeout})
      set_tests_properties(${path}.cuda.reverse PROPERTIES ENVIRONMENT "${on_device};MINIDL_EMULATOR_SCHEDULE=reverse")
      set_tests_properties(${path}.cuda.random PROPERTIES
        ENVIRONMENT "${on_device};MINIDL_EMULATOR_SCHEDULE=random;MINIDL_EMULATOR_COPIES=random")
    endif()
    if(NOT TARGET minidl_cuda_tests)
      add_custom_target(minidl_cuda_tests)
    endif()
    add_dependencies(minidl_cuda_tests ${target})
  endforeach()
endfunction()

# minidl_sees_cuda(TARGET...): these call the runtime themselves, that of the emulator or the toolkit's.
function(minidl_sees_cuda)
  foreach(target ${ARGN})
    if(MINIDL_CUDA_BACKEND STREQUAL "EMULATED")
      target_link_libraries(${target} PRIVATE minidl_emulator)
    else()
      target_link_libraries(${target} PRIVATE CUDA::cudart_static)
    endif()
  endforeach()
endfunction()

# minidl_cuda_misaligned_tests(TEST...): each of these TESTs again as TEST.cuda.misaligned, with half of its tensors at addresses that are no
# multiples of 16.
function(minidl_cuda_misaligned_tests)
  if(NOT MINIDL_CUDA_BACKEND)
    return()
  endif()
  foreach(path ${ARGN})
    string(REPLACE "/" "_" target ${path})
    add_test(NAME ${path}.cuda.misaligned COMMAND ${target})
    set_tests_properties(${path}.cuda.misaligned PROPERTIES LABELS cuda TIMEOUT ${test_timeout}
      ENVIRONMENT "MINIDL_TEST_DEVICE=cuda;MINIDL_CUDA_CACHING=0;MINIDL_TEST_MISALIGNED=1" SKIP_REGULAR_EXPRESSION "'cuda' is not available")
  endforeach()
endfunction()
