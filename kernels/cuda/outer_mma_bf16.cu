#include <minidl/kernels/cuda/outer_mma.cuh>

namespace minidl::cuda {

void outer_mma_bf16(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture, int in_c,
                    float* output, cudaStream_t stream) {
  outer_mma<MmaBf16>(plan, product, rows, picture, in_c, output, stream);
}

}  // namespace minidl::cuda
