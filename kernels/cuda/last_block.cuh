#pragma once
// Blocks of one launch that finish each other's work: each leaves a part, and the one that comes last adds all parts,
// in the order that its code says, so that the result does not depend on which one that was.
#include <minidl/core/cuda/launch.cuh>

namespace minidl::cuda {

/// Called by all threads of `blocks` blocks of a launch, those that share a counter, once each. True in the one that
/// comes last, for all its threads, which then read what thread 0 of the others stored before, or all of them before a
/// barrier. `arrived`, of global memory, is 0 before and after the launch.
MINIDL_DEVICE bool is_last_block(unsigned* arrived, unsigned blocks) {
  MINIDL_SHARED(unsigned, before, [1]);
  if (threadIdx.x == 0) {
    __threadfence();
    const unsigned others = atomicAdd(arrived, 1u);
    __threadfence();
    if (others == blocks - 1) atomicExch(arrived, 0u);
    store(&before[0], others);
  }
  __syncthreads();
  return load(&before[0]) == blocks - 1;
}

}  // namespace minidl::cuda
