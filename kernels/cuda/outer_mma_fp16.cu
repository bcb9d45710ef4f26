#include <minidl/kernels/cuda/outer_mma.cuh>

namespace minidl::cuda {

void outer_mma_fp16(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture, int in_c,
                    float* output, cudaStream_t stream) {
  outer_mma<MmaFp16>(plan, product, rows, picture, in_c, output, stream);
}

Tensor outer_mma_fp16_parts(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture,
                            cudaStream_t stream) {
  return outer_mma_parts<MmaFp16>(plan, product, rows, picture, stream);
}

}  // namespace minidl::cuda
