#pragma once
// Launches over several arrays, whose blocks are numbered one after the other.
#include <minidl/core/cuda/launch.cuh>

namespace minidl::cuda {

/// The array that a block does: the last one whose first block is this one or before it.
MINIDL_DEVICE int array_of_block(const unsigned* first_block, int arrays, unsigned block) {
  int which = 0;
  for (int last = arrays - 1; which < last;) {
    const int middle = (which + last + 1) / 2;
    if (first_block[middle] <= block) {
      which = middle;
    } else {
      last = middle - 1;
    }
  }
  return which;
}

}  // namespace minidl::cuda
