#include <minidl/kernels/cuda/gather_mma.cuh>

namespace minidl::cuda {

void gather_mma_tf32(const MmaPlan& plan, const Windows& windows, const void* picture, const void* weight,
                     const GatherOutput& output, cudaStream_t stream) {
  gather_mma<MmaTf32>(plan, windows, picture, weight, output, stream);
}

}  // namespace minidl::cuda
