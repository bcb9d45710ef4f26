#pragma once
// What CUDA kernels and their launchers are written with. The same source is compiled by nvcc and, where the device is
// emulated, by the host compiler (docs/emulator.md); nothing but this file and mma.cuh tells the two apart.
#include <cuda_pipeline.h>
#include <cuda_runtime.h>
#include <minidl/core/error.h>

#include <cstddef>
#include <cstdint>
#include <utility>

// MINIDL_KERNEL(kThreads, name, parameters...) { ... }: a kernel for blocks of at most kThreads threads; commas stand
//   between parameters as usual, and a template<> may stand before it.
// MINIDL_KERNEL_RESIDENT(kThreads, kBlocks, name, ...): the same with registers for kBlocks blocks on a multiprocessor.
// MINIDL_DEVICE: before a function that kernels call.
// MINIDL_SHARED(float, tile, [32][33]): an array in shared memory, aligned to 16 bytes or more.
// MINIDL_DYNAMIC_SHARED(float, buffer): float* to the shared memory whose size the launch gives.
// MINIDL_UNROLL: before a loop whose index chooses among registers.
// MINIDL_NO_UNROLL: before one whose body is too long for copies of it.
#ifdef MINIDL_CUDA_EMULATED

#define MINIDL_KERNEL_RESIDENT(threads, blocks, kernel, ...) MINIDL_KERNEL(threads, kernel, __VA_ARGS__)
#define MINIDL_KERNEL(threads, kernel, ...) \
  void kernel(__VA_ARGS__ __VA_OPT__(, )::minidl::emulator::KernelTraits<(threads), #kernel>)
#define MINIDL_DEVICE inline __attribute__((always_inline))
#define MINIDL_UNROLL
#define MINIDL_NO_UNROLL
#define MINIDL_SHARED(type, name, extents)        \
  typedef type name##_type extents;               \
  static constexpr char name##_key = 0;           \
  name##_type& name = *static_cast<name##_type*>( \
      ::minidl::emulator::current_block->shared().variable(&name##_key, #name, sizeof(name##_type)))
#define MINIDL_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::minidl::emulator::current_block->shared().dynamic())

#else

#define MINIDL_KERNEL_RESIDENT(threads, blocks, kernel, ...) \
  __global__ void __launch_bounds__(threads, blocks) kernel(__VA_ARGS__)
#define MINIDL_KERNEL(threads, kernel, ...) MINIDL_KERNEL_RESIDENT(threads, 1, kernel, __VA_ARGS__)
#define MINIDL_DEVICE __device__ __forceinline__
#define MINIDL_UNROLL _Pragma("unroll")
#define MINIDL_NO_UNROLL _Pragma("unroll 1")
#define MINIDL_SHARED(type, name, extents) __shared__ __align__(16) type name extents
#define MINIDL_DYNAMIC_SHARED(type, name)                          \
  extern __shared__ __align__(128) unsigned char name##_storage[]; \
  type* const name = reinterpret_cast<type*>(name##_storage)

#endif

namespace minidl::cuda {

/// *pointer of global or shared memory. Kernels access memory through load and store, so that the emulator can check
/// and count; in compiled kernels they are nothing. T may be a vector (float4), whose alignment the address must have.
template <typename T>
MINIDL_DEVICE T load(const T* pointer) {
#ifdef MINIDL_CUDA_EMULATED
  emulator::on_access(pointer, sizeof(T), alignof(T), emulator::Access::read);
#endif
  return *pointer;
}

template <typename T>
MINIDL_DEVICE void store(T* pointer, T value) {
#ifdef MINIDL_CUDA_EMULATED
  emulator::on_access(pointer, sizeof(T), alignof(T), emulator::Access::write);
#endif
  *pointer = value;
}

/// a b + c, rounded once.
MINIDL_DEVICE float multiply_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}

/// Starts to copy kBytes (4, 8 or 16; both addresses are multiples of it) from global to shared memory, or to fill them
/// with zeros when `inside` is false; then nothing is read, and `global` may be any number. Copies since the last
/// commit are one group.
template <int kBytes>
MINIDL_DEVICE void async_copy(void* shared, const void* global, bool inside = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "asynchronous copies are of 4, 8 or 16 bytes");
#ifdef MINIDL_CUDA_EMULATED
  __pipeline_memcpy_async(shared, global, kBytes, inside ? 0 : kBytes);
#else
  // Of __pipeline_memcpy_async, which takes the number of zeros, the compiler makes two copies, one of them without
  // zeros.
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const auto from = static_cast<unsigned long long>(__cvta_generic_to_global(global));
  if constexpr (kBytes == 16) {  // past the first cache, which needs no copy of what goes to shared memory
    asm volatile("{ .reg .pred p; setp.eq.u32 p, %2, 0; cp.async.cg.shared.global [%0], [%1], 16, p; }" ::"r"(to),
                 "l"(from), "r"(unsigned{inside})
                 : "memory");
  } else {
    asm volatile("{ .reg .pred p; setp.eq.u32 p, %2, 0; cp.async.ca.shared.global [%0], [%1], %3, p; }" ::"r"(to),
                 "l"(from), "r"(unsigned{inside}), "n"(kBytes)
                 : "memory");
  }
#endif
}
MINIDL_DEVICE void async_commit() {
  __pipeline_commit();
}
/// Waits until at most kGroups of this thread's latest groups are under way. Other threads see the bytes after a
/// barrier.
template <int kGroups>
MINIDL_DEVICE void async_wait() {
  __pipeline_wait_prior(kGroups);
}

/// Most blocks along the second and the third dimension of a grid.
inline constexpr int64_t kMostBlocksAcross = 65535;

/// Blocks of `size` threads for `count` threads. Throws Error for more than a grid has.
inline unsigned blocks_for(int64_t count, int64_t size) {
  const int64_t blocks = (count + size - 1) / size;
  MINIDL_CHECK(blocks <= 0x7fffffff, "[cuda] {} elements are too many for one launch", count);
  return static_cast<unsigned>(blocks);
}

/// Launches a kernel; arguments are converted to its parameters. Throws Error with the kernel's name when that is
/// refused; what goes wrong in the kernel is known when something waits for it.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t dynamic_shared,
            cudaStream_t stream, Arguments&&... arguments) {
  constexpr size_t kUsualShared = 48 << 10;  // a kernel that wants more has to say so
  cudaError_t error = cudaSuccess;
  if (dynamic_shared > kUsualShared) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(dynamic_shared));
  }
  if (error == cudaSuccess) {
    cudaLaunchConfig_t configuration{};
    configuration.gridDim = grid;
    configuration.blockDim = block;
    configuration.dynamicSmemBytes = dynamic_shared;
    configuration.stream = stream;
    error = cudaLaunchKernelEx(&configuration, kernel, std::forward<Arguments>(arguments)...);
  }
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // so that nobody finds it again
  fail("[cuda] launch of {} failed: {} ({}); grid {}x{}x{}, block {}x{}x{}, {} bytes of shared memory", name,
       cudaGetErrorName(error), cudaGetErrorString(error), grid.x, grid.y, grid.z, block.x, block.y, block.z,
       dynamic_shared);
}

}  // namespace minidl::cuda

/// The one way to launch. A kernel that is a template with several arguments stands in parentheses.
#define MINIDL_LAUNCH(kernel, grid, block, dynamic_shared, stream, ...) \
  ::minidl::cuda::launch(#kernel, kernel, grid, block, dynamic_shared, stream __VA_OPT__(, ) __VA_ARGS__)
