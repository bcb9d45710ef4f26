#include <gpu/instructions.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/cuda/half_formats.cuh>
#include <minidl/kernels/cuda/mma_types.cuh>

namespace minidl::cuda {
namespace {

constexpr unsigned kAll = 0xffffffffu;

/// What belongs to a lane of the rows.
struct Rows {
  const uint32_t* input;
  uint32_t* output;
  MINIDL_DEVICE uint32_t operator()(int row) const { return load(input + row * 32 + threadIdx.x); }
  MINIDL_DEVICE void write(int row, uint32_t value) const { store(output + row * 32 + threadIdx.x, value); }
  MINIDL_DEVICE void write(int row, int value) const { write(row, static_cast<uint32_t>(value)); }
  MINIDL_DEVICE void write(int row, float value) const { write(row, __float_as_uint(value)); }
};

MINIDL_KERNEL(32, shuffles_kernel, Rows rows) {
  const uint32_t value = rows(0);
  rows.write(0, __shfl_sync(kAll, value, 5));
  rows.write(1, __shfl_sync(kAll, value, 3, 8));
  rows.write(2, __shfl_up_sync(kAll, value, 2));
  rows.write(3, __shfl_down_sync(kAll, value, 3, 16));
  rows.write(4, __shfl_xor_sync(kAll, value, 6));
  const long long bits = __double_as_longlong(__shfl_down_sync(kAll, static_cast<double>(value) / 3.0, 8));
  rows.write(5, static_cast<uint32_t>(bits));
  rows.write(6, static_cast<uint32_t>(bits >> 32));
}

MINIDL_KERNEL(32, votes_kernel, Rows rows) {
  const uint32_t value = rows(0);
  rows.write(0, __ballot_sync(kAll, value % 3 == 0));
  rows.write(1, __any_sync(kAll, value % 3 == 0) != 0 ? 1 : 0);
  rows.write(2, __all_sync(kAll, value % 3 == 0) != 0 ? 1 : 0);
  rows.write(3, __any_sync(kAll, value % 2 > 1) != 0 ? 1 : 0);  // of none
  rows.write(4, __all_sync(kAll, value % 2 < 2) != 0 ? 1 : 0);  // of all
}

MINIDL_KERNEL(32, warp_reductions_kernel, Rows rows) {
  const uint32_t bits = rows(0);
  const int value = static_cast<int>(bits);
  rows.write(0, __reduce_add_sync(kAll, value));
  rows.write(1, __reduce_min_sync(kAll, value));
  rows.write(2, __reduce_max_sync(kAll, value));
  rows.write(3, __reduce_and_sync(kAll, bits));
  rows.write(4, __reduce_or_sync(kAll, bits));
  rows.write(5, __reduce_xor_sync(kAll, bits));
}

MINIDL_KERNEL(32, integers_kernel, Rows rows) {
  const int a = static_cast<int>(rows(0)), b = static_cast<int>(rows(1));
  rows.write(0, __popc(rows(0)));
  rows.write(1, min(a, b));
  rows.write(2, max(a, b));
  rows.write(3, abs(a));
  rows.write(4, a / (b | 1));
  rows.write(5, a % (b | 1));
}

/// An integer in [-64, 64) made of a word.
MINIDL_DEVICE float small(uint32_t bits) {
  return static_cast<float>(static_cast<int>(bits % 128) - 64);
}

MINIDL_KERNEL(32, floats_kernel, Rows rows) {
  const float a = small(rows(0)), b = small(rows(1)), c = small(rows(2));
  rows.write(0, multiply_add(1.0f + a * 0x1p-13f, 1.0f + b * 0x1p-13f, -1.0f + c * 0x1p-20f));
  rows.write(1, a / (b + 0.5f));
  rows.write(2, sqrtf(fabsf(a)));
  const double quotient = static_cast<double>(a) / (static_cast<double>(b) + 0.5);
  const long long bits = __double_as_longlong(quotient);
  rows.write(3, static_cast<uint32_t>(bits));
  rows.write(4, static_cast<uint32_t>(bits >> 32));
  const double largest = __longlong_as_double(max(__double_as_longlong(fabs(quotient)), __double_as_longlong(2.0)));
  rows.write(5, static_cast<float>(largest));
}

MINIDL_KERNEL(32, conversions_kernel, Rows rows) {
  const float a = small(rows(0)) / 7.0f;
  const uint16_t half = __half_as_ushort(__float2half_rn(a)), bf16 = __bfloat16_as_ushort(__float2bfloat16_rn(a));
  rows.write(0, uint32_t{half});
  rows.write(1, uint32_t{bf16});
  rows.write(2, to_tf32(a));
  rows.write(3, __half2float(__ushort_as_half(half)));
  rows.write(4, __bfloat162float(__ushort_as_bfloat16(bf16)));
}

MINIDL_KERNEL(32, tf32_kernel, Rows rows) {
  rows.write(0, to_tf32(__uint_as_float(rows(0))));
  rows.write(1, nearest_tf32(rows(0)));
}

template <typename Type>
MINIDL_KERNEL(32, mma_kernel, Rows rows) {
  const uint32_t a[4] = {rows(0), rows(1), rows(2), rows(3)}, b[2] = {rows(4), rows(5)};
  float sums[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  Type::multiply(sums, {{a[0], a[1], a[2], a[3]}}, {{b[0], b[1]}});
  for (int i = 0; i < 4; ++i) rows.write(i, sums[i]);
}

MINIDL_KERNEL(32, ldmatrix_kernel, Rows rows) {
  MINIDL_SHARED(uint32_t, tile, [32][4]);
  for (int i = 0; i < 4; ++i) store(&tile[i * 8 + threadIdx.x / 4][threadIdx.x % 4], rows(i));
  __syncwarp();
  uint32_t r[4], transposed[4], two[2];
  ldmatrix_x4(r, &tile[threadIdx.x][0]);
  ldmatrix_x4_trans(transposed, &tile[threadIdx.x][0]);
  ldmatrix_x2(two, &tile[threadIdx.x][0]);
  for (int i = 0; i < 4; ++i) rows.write(i, r[i]);
  for (int i = 0; i < 4; ++i) rows.write(4 + i, transposed[i]);
  for (int i = 0; i < 2; ++i) rows.write(8 + i, two[i]);
}

/// A copy of kBytes by each of the first lanes; every third one brings zeros and has no address that could be read.
template <int kBytes>
MINIDL_DEVICE void copy_row(uint32_t* tile, const uint32_t* input) {
  constexpr int kWords = kBytes / 4;
  const int copy = static_cast<int>(threadIdx.x);
  if (copy >= 32 / kWords) return;
  const bool read = copy % 3 != 0;
  const uint32_t* anywhere = copy % 2 == 0 ? nullptr : input + (int64_t{1} << 50);
  async_copy<kBytes>(tile + copy * kWords, read ? input + copy * kWords : anywhere, read);
}

MINIDL_KERNEL(32, async_copies_kernel, Rows rows) {
  MINIDL_SHARED(uint32_t, tile, [3][32]);
  copy_row<4>(tile[0], rows.input);
  copy_row<8>(tile[1], rows.input);
  copy_row<16>(tile[2], rows.input);
  async_commit();
  async_wait<0>();
  __syncthreads();
  for (int i = 0; i < 3; ++i) rows.write(i, load(&tile[i][threadIdx.x]));
}

MINIDL_KERNEL(32, atomics_kernel, Rows rows) {
  int* const words = reinterpret_cast<int*>(rows.output);
  const int value = static_cast<int>(rows(0) % 1000) - 500;
  atomicAdd(words, value);
  atomicMax(words + 1, value);
  atomicMin(words + 2, value);
  if (threadIdx.x == 7) atomicExch(words + 3, value);
}

}  // namespace

void run_shuffles(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(shuffles_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_votes(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(votes_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_warp_reductions(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(warp_reductions_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_integers(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(integers_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_floats(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(floats_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_conversions(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(conversions_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_tf32(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(tf32_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_mma_tf32(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(mma_kernel<MmaTf32>, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_mma_bf16(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(mma_kernel<MmaBf16>, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_mma_f16(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(mma_kernel<MmaFp16>, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_ldmatrix(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(ldmatrix_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_async_copies(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(async_copies_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}
void run_atomics(const uint32_t* input, uint32_t* output) {
  MINIDL_LAUNCH(atomics_kernel, 1, 32, 0, current_stream(), Rows{input, output});
}

}  // namespace minidl::cuda
