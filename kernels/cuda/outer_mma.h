#pragma once
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/outer_product.h>

/// outer_product() on tensor cores.
namespace minidl::cuda {

/// How the product is cut, by the sizes alone.
struct OuterPlan {
  int tile;         // of kOuterTiles
  int part, parts;  // windows of a part; parts
};
inline constexpr TileSize kOuterTiles[] = {{32, 128}, {64, 64}, {128, 64}, {128, 128}};
OuterPlan plan_outer_mma(const OuterProduct& product);

/// Of operands as mma_operand() makes them, whose channels are up to a multiple of 16 bytes: product.windows.in_c is
/// that of the picture in memory, of which the output has in_c. Windows are
/// cut by the sizes alone; each part is summed in fp32, the parts in order in f64.
void outer_mma_tf32(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture, int in_c,
                    float* output, cudaStream_t stream);
void outer_mma_tf32x3(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture,
                      int in_c, float* output, cudaStream_t stream);
void outer_mma_bf16(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture, int in_c,
                    float* output, cudaStream_t stream);
void outer_mma_fp16(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture, int in_c,
                    float* output, cudaStream_t stream);

/// As outer_product_parts().
Tensor outer_mma_tf32_parts(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture,
                            cudaStream_t stream);
Tensor outer_mma_tf32x3_parts(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture,
                              cudaStream_t stream);
Tensor outer_mma_bf16_parts(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture,
                            cudaStream_t stream);
Tensor outer_mma_fp16_parts(const OuterPlan& plan, const OuterProduct& product, const void* rows, const void* picture,
                            cudaStream_t stream);

/// Bytes that it allocates.
int64_t outer_mma_workspace(const OuterPlan& plan, const OuterProduct& product);

}  // namespace minidl::cuda
