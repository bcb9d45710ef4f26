#pragma once
// The products on tensor cores, called by themselves: of each kind of number.
#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_mma.h>
#include <support/device.h>

namespace minidl::test {

struct MmaType {
  const char* name;
  Dtype dtype;
  int64_t products;  // on tensor cores, for each
  decltype(&cuda::gather_mma_tf32) gather;
  decltype(&cuda::outer_mma_tf32) outer;
};
inline constexpr MmaType kMmaTypes[] = {{"tf32", Dtype::f32, 1, cuda::gather_mma_tf32, cuda::outer_mma_tf32},
                                        {"tf32x3", Dtype::f32, 3, cuda::gather_mma_tf32x3, cuda::outer_mma_tf32x3},
                                        {"bf16", Dtype::bf16, 1, cuda::gather_mma_bf16, cuda::outer_mma_bf16},
                                        {"fp16", Dtype::f16, 1, cuda::gather_mma_fp16, cuda::outer_mma_fp16}};

class MmaProducts : public ::testing::TestWithParam<MmaType> {
 protected:
  void SetUp() override {
    if (on_cpu()) GTEST_SKIP() << "tensor cores are those of a CUDA device";
  }
  /// The same values on the device, as the products read them.
  static Tensor operand(const Tensor& x) {
    const Tensor values = x.to(device());
    const int64_t channels = x.shape()[x.shape().rank() - 1];
    const Tensor made = cuda::mma_operand(GetParam().dtype, values.data<float>(), x.count() / channels, channels);
    return made ? made : values;
  }
  /// Of 64 bytes, for all terms.
  static int steps_of(const cuda::Windows& windows) {
    return static_cast<int>((windows.length() * static_cast<int64_t>(size_of(GetParam().dtype)) + 63) / 64);
  }
};
#define MINIDL_ON_TENSOR_CORES(suite)                                                  \
  INSTANTIATE_TEST_SUITE_P(All, suite, ::testing::ValuesIn(::minidl::test::kMmaTypes), \
                           [](const auto& type) { return std::string(type.param.name); })

inline cuda::Windows windows_of(const Conv2dDesc& d, Dtype dtype) {
  return {.n = static_cast<int>(d.n),
          .in_h = static_cast<int>(d.in_h),
          .in_w = static_cast<int>(d.in_w),
          .in_c = static_cast<int>(cuda::operand_channels(dtype, d.in_c)),
          .mode = d.window.padding.mode,
          .k_h = static_cast<int>(d.k_h),
          .k_w = static_cast<int>(d.k_w),
          .windows_h = static_cast<int>(d.out_h()),
          .windows_w = static_cast<int>(d.out_w()),
          .stride_h = static_cast<int>(d.window.stride_h),
          .stride_w = static_cast<int>(d.window.stride_w),
          .begin_h = static_cast<int>(-d.window.padding.top),
          .begin_w = static_cast<int>(-d.window.padding.left)};
}

}  // namespace minidl::test
