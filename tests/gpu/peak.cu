#include <gpu/peak.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/core/cuda/launch.cuh>
#include <minidl/kernels/cuda/mma_tile.cuh>
#include <minidl/kernels/cuda/mma_types.cuh>

// Multiply-adds and products of fragments in registers: what the fp32 units and tensor cores do when nothing else holds
// them up.
namespace minidl::test {
namespace {

using cuda::multiply_add;
using cuda::store;

constexpr int kThreads = 256, kChains = 16, kTensorChains = 8;

MINIDL_KERNEL(kThreads, multiply_adds_kernel, int64_t fmas, float factor, float* sink) {
  float chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = static_cast<float>(threadIdx.x + static_cast<unsigned>(i));
  for (int64_t k = 0; k < fmas; ++k) {
    MINIDL_UNROLL
    for (int i = 0; i < kChains; ++i) chains[i] = multiply_add(chains[i], factor, 1.0f);
  }
  float sum = 0.0f;
  for (int i = 0; i < kChains; ++i) sum += chains[i];
  if (threadIdx.x == 0) store(sink + blockIdx.x, sum);
}

template <typename Type>
MINIDL_KERNEL(kThreads, tensor_products_kernel, int64_t products, float* sink) {
  constexpr uint32_t kOne = 0x3f800000;  // of f32; two small numbers in 16 bits
  const uint32_t four[4] = {kOne, kOne, kOne, kOne}, two[2] = {kOne, kOne};
  typename Type::template Operand<4> a;
  typename Type::template Operand<2> b;
  Type::prepare(four, a);
  Type::prepare(two, b);
  float chains[kTensorChains][4] = {};
  for (int64_t k = 0; k < products; ++k) {
    MINIDL_UNROLL
    for (int i = 0; i < kTensorChains; ++i) Type::multiply(chains[i], a, b);
  }
  float sum = 0.0f;
  for (int i = 0; i < kTensorChains; ++i) sum += chains[i][0] + chains[i][1] + chains[i][2] + chains[i][3];
  if (threadIdx.x == 0) store(sink + blockIdx.x, sum);
}

template <typename Type>
double run_products(int64_t blocks, int64_t products, float* sink) {
  MINIDL_LAUNCH(tensor_products_kernel<Type>, cuda::blocks_for(blocks, 1), kThreads, 0, cuda::current_stream(),
                products, sink);
  constexpr int kFlops = 2 * 16 * 8 * cuda::kMmaBytes / int{sizeof(typename Type::Element)};  // of one
  return static_cast<double>(blocks * (kThreads / 32) * kTensorChains * kFlops) * static_cast<double>(products);
}

}  // namespace

double run_multiply_adds(int64_t blocks, int64_t fmas, float* sink) {
  MINIDL_LAUNCH(multiply_adds_kernel, cuda::blocks_for(blocks, 1), kThreads, 0, cuda::current_stream(), fmas, 0.999f,
                sink);
  return 2.0 * static_cast<double>(blocks * kThreads * kChains) * static_cast<double>(fmas);
}

double run_tensor_products(Precision precision, int64_t blocks, int64_t products, float* sink) {
  switch (precision) {
    case Precision::fp16:
      return run_products<cuda::MmaFp16>(blocks, products, sink);
    case Precision::bf16:
      return run_products<cuda::MmaBf16>(blocks, products, sink);
    default:
      return run_products<cuda::MmaTf32>(blocks, products, sink);
  }
}

}  // namespace minidl::test
