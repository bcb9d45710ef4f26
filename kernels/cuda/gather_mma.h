#pragma once
#include <minidl/kernels/cuda/gather_product.h>

/// gather_product() on tensor cores.
namespace minidl::cuda {

/// How a product is cut: into blocks of rows x columns results, and its terms into parts whose sums are added in order.
/// By the sizes alone, so that results do not depend on the device.
struct MmaPlan {
  int tile;           // of kMmaTiles
  int parts = 1;      // more than one for results so few that they would not occupy a device
  int steps_of_part;  // of 64 bytes of terms
};
inline constexpr TileSize kMmaTiles[] = {{64, 64}, {128, 64}, {128, 128}, {256, 64}, {128, 256}, {128, 8}, {256, 32}};

/// Rows whose moments a warp leaves together, its own, by tile.
inline constexpr int kMmaMomentRows[] = {32, 64, 64, 64, 64, 32, 64};
inline constexpr int kFewestMomentRows = 32;

/// In plans: what 64 bytes of a row cost that a block copies, in products of one row and one column of 64 bytes. Not
/// measured.
inline constexpr int64_t kMmaRowCost = 64;

/// `element` is the bytes of an operand's number.
MmaPlan plan_mma(int64_t rows, int64_t columns, int64_t terms, int64_t element);
/// The same with as many terms of added rows: in as many parts.
MmaPlan with_added(MmaPlan plan, int64_t terms, int64_t added, int64_t element);

/// Of operands as mma_operand() makes them: fp32 with a multiple of 4 channels, bf16 or fp16 with a multiple of 8, both
/// at multiples of 16 bytes. At most kMostMmaTaps rows and columns of taps. Allocates mma_workspace() bytes.
inline constexpr int kMostMmaTaps = 15;
void gather_mma_tf32(const MmaPlan& plan, const Windows& windows, const void* picture, const void* weight,
                     const GatherOutput& output, cudaStream_t stream);
void gather_mma_tf32x3(const MmaPlan& plan, const Windows& windows, const void* picture, const void* weight,
                       const GatherOutput& output, cudaStream_t stream);
void gather_mma_bf16(const MmaPlan& plan, const Windows& windows, const void* picture, const void* weight,
                     const GatherOutput& output, cudaStream_t stream);
void gather_mma_fp16(const MmaPlan& plan, const Windows& windows, const void* picture, const void* weight,
                     const GatherOutput& output, cudaStream_t stream);

/// Writes the sums of partials [parts, windows, channels], added in order, as `output` says, of products whose operands
/// are rounded by Format (half_formats.cuh; void: they have 32 bits).
template <typename Format>
void add_parts(const Windows& windows, int parts, const float* partials, const GatherOutput& output,
               cudaStream_t stream);

/// Rows of the tiles of which a product leaves moments (GatherOutput::moments); 0: it leaves none, its terms are cut
/// into parts, or its tiles would have rows of two pictures.
int moment_rows(const MmaPlan& plan, const Windows& windows);

int64_t mma_workspace(const MmaPlan& plan, const Windows& windows, int channels);

}  // namespace minidl::cuda
