// Every way to cut a product on tensor cores into tiles and parts, which the sizes of the other tests would not choose.
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_mma.h>

#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>

namespace minidl::cuda {
namespace {

using test::random_integers;

struct Type {
  const char* name;
  Dtype dtype;
  decltype(&gather_mma_tf32) gather;
  decltype(&outer_mma_tf32) outer;
};
constexpr Type kTypes[] = {{"tf32", Dtype::f32, gather_mma_tf32, outer_mma_tf32},
                           {"tf32x3", Dtype::f32, gather_mma_tf32x3, outer_mma_tf32x3},
                           {"bf16", Dtype::bf16, gather_mma_bf16, outer_mma_bf16},
                           {"fp16", Dtype::f16, gather_mma_fp16, outer_mma_fp16}};

class MmaPlans : public ::testing::TestWithParam<Type> {
 protected:
  void SetUp() override {
    if (test::on_cpu()) GTEST_SKIP() << "tensor cores are those of a CUDA device";
  }
  /// The same values on the device, as the products read them.
  static Tensor operand(const Tensor& x) {
    const Tensor values = x.to(test::device());
    const int64_t channels = x.shape()[x.shape().rank() - 1];
    const Tensor made = mma_operand(GetParam().dtype, values.data<float>(), x.count() / channels, channels);
    return made ? made : values;
  }
};
INSTANTIATE_TEST_SUITE_P(All, MmaPlans, ::testing::ValuesIn(kTypes),
                         [](const auto& type) { return std::string(type.param.name); });

Windows windows_of(const Conv2dDesc& d, Dtype dtype) {
  return {.n = static_cast<int>(d.n),
          .in_h = static_cast<int>(d.in_h),
          .in_w = static_cast<int>(d.in_w),
          .in_c = static_cast<int>(operand_channels(dtype, d.in_c)),
          .mode = d.window.padding.mode,
          .k_h = static_cast<int>(d.k_h),
          .k_w = static_cast<int>(d.k_w),
          .windows_h = static_cast<int>(d.out_h()),
          .windows_w = static_cast<int>(d.out_w()),
          .begin_h = static_cast<int>(-d.window.padding.top),
          .begin_w = static_cast<int>(-d.window.padding.left)};
}

/// Two pictures of 9 x 15 pixels, more than a tile has rows; 20 channels are no multiple of those of a chunk in 16
/// bits.
Conv2dDesc problem(int64_t out_c, const Padding& padding) {
  return Conv2dDesc::make({2, 9, 15, 20}, {out_c, 3, 3, 20}, {1, 1, padding});
}

TEST_P(MmaPlans, GatheredProductsAreExactOnIntegers) {
  const DeviceScope scope(test::device().index);
  for (const auto& [out_c, padding] : {std::pair{int64_t{136}, Padding::zero(1)}, {7, Padding::reflect(1)}}) {
    const Conv2dDesc d = problem(out_c, padding);
    const Tensor input = random_integers(d.input_shape(), 1), weight = random_integers(d.weight_shape(), 2),
                 bias = random_integers({out_c}, 3);
    const std::vector<double> expected = test::reference_conv2d(d, input, weight, bias, Activation::relu);
    const Tensor picture = operand(input), filters = operand(weight), device_bias = bias.to(test::device());
    const Windows windows = windows_of(d, GetParam().dtype);
    const auto steps = static_cast<int>((windows.length() * static_cast<int64_t>(size_of(GetParam().dtype)) + 63) / 64);
    for (int tile = 0; tile < static_cast<int>(std::size(kMmaTiles)); ++tile) {
      for (const int parts : {1, 3}) {
        Tensor output = Tensor::full(d.output_shape(), std::numeric_limits<float>::quiet_NaN(), test::device());
        const GatherOutput out{.output = output.data<float>(),
                               .channels = static_cast<int>(out_c),
                               .out_h = windows.windows_h,
                               .out_w = windows.windows_w,
                               .bias = device_bias.data<float>(),
                               .relu = true};
        GetParam().gather({tile, parts, (steps + parts - 1) / parts}, windows, picture.raw(), filters.raw(), out,
                          current_stream());
        EXPECT_TRUE(test::equals(output.to(Device::cpu()), expected))
            << "tile " << tile << ", " << parts << " parts, " << out_c << " channels";
      }
    }
  }
}

/// All that a product does on the way out, to every second pixel of an output whose pairs are not aligned, from windows
/// two apart: of one part, which the kernel writes, and of three, which are added first.
TEST_P(MmaPlans, WritesAllThatTheOutputAsksFor) {
  const DeviceScope scope(test::device().index);
  constexpr int64_t kOutC = 16;
  const Conv2dDesc d = Conv2dDesc::make({2, 9, 15, 20}, {kOutC, 3, 3, 20}, {2, 2, Padding::zero(1)});
  const Tensor input = random_integers(d.input_shape(), 1), weight = random_integers(d.weight_shape(), 2),
               bias = random_integers({kOutC}, 3);
  const std::vector<double> sums = test::reference_conv2d(d, input, weight, Tensor(), Activation::none);
  Windows windows = windows_of(d, GetParam().dtype);
  windows.stride_h = windows.stride_w = 2;
  const int out_h = 2 * windows.windows_h + 1, out_w = 2 * windows.windows_w;
  const Shape shape{2, out_h, out_w, kOutC};
  const Tensor before = random_integers(shape, 4);
  BitMask mask(shape, Device::cpu());
  for (int64_t i = 0; i < BitMask::bytes(shape); ++i) mask.data()[i] = static_cast<uint8_t>(i * 73 % 256);
  std::vector<double> expected(before.data<float>(), before.data<float>() + before.count());
  std::vector<bool> positive(expected.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const auto pixel = static_cast<int64_t>(i) / kOutC, channel = static_cast<int64_t>(i) % kOutC;
    const int64_t w = pixel % windows.windows_w, row = pixel / windows.windows_w, h = row % windows.windows_h;
    const int64_t at = ((row / windows.windows_h * out_h + 2 * h + 1) * out_w + 2 * w) * kOutC + channel;
    const double result = std::max(0.0, 0.5 * sums[i] + double{bias.data<float>()[channel]});
    double& value = expected[static_cast<size_t>(at)];
    value = (mask.span()[at] ? result : 0.0) + 2.0 * value;
    positive[static_cast<size_t>(at)] = value > 0.0;
  }

  const Tensor picture = operand(input), filters = operand(weight), device_bias = bias.to(test::device());
  const BitMask device_mask = mask.to(test::device());
  const auto steps = static_cast<int>((windows.length() * static_cast<int64_t>(size_of(GetParam().dtype)) + 63) / 64);
  for (const int parts : {1, 3}) {
    Tensor output = Tensor::empty({shape.count() + 1}, Dtype::f32, test::device()).slice(1, shape.count() + 1);
    output.copy_from(before.reshape({shape.count()}));
    Tensor bits = Tensor::zeros({shape.count() / 8}, Dtype::u8, test::device());
    const GatherOutput out{.output = output.data<float>(),
                           .channels = kOutC,
                           .out_h = out_h,
                           .out_w = out_w,
                           .out_stride_h = 2,
                           .out_stride_w = 2,
                           .out_begin_h = 1,
                           .bias = device_bias.data<float>(),
                           .relu = true,
                           .scale = 0.5f,
                           .beta = 2.0f,
                           .mask = device_mask.span(),
                           .positive = bits.data<uint8_t>()};
    GetParam().gather({0, parts, (steps + parts - 1) / parts}, windows, picture.raw(), filters.raw(), out,
                      current_stream());
    EXPECT_TRUE(test::equals(output.to(Device::cpu()), expected)) << parts << " parts";
    const Tensor written = bits.to(Device::cpu());
    const BitSpan span{written.data<uint8_t>()};
    for (size_t i = 0; i < positive.size(); ++i) ASSERT_EQ(span[static_cast<int64_t>(i)], positive[i]) << i;
  }
}

TEST(OuterPlan, HasNoMorePartsThanAGrid) {
  const OuterPlan plan = plan_outer_mma(
      {.windows = {.n = 8, .in_h = 4096, .in_w = 4096, .in_c = 3, .windows_h = 4096, .windows_w = 4096}, .rows = 64});
  EXPECT_LE(plan.parts, 65535);
  EXPECT_GE(int64_t{plan.part} * plan.parts, int64_t{8} * 4096 * 4096);
}

TEST_P(MmaPlans, SumsOverWindowsAreExactOnIntegers) {
  const DeviceScope scope(test::device().index);
  for (const int64_t out_c : {136, 7}) {
    const Conv2dDesc d = problem(out_c, Padding::zero(1));
    const Tensor input = random_integers(d.input_shape(), 1), grad_output = random_integers(d.output_shape(), 2);
    const std::vector<double> expected = test::reference_conv2d_backward_weight(d, input, grad_output);
    const Tensor picture = operand(input), rows = operand(grad_output);
    const OuterProduct product{.windows = windows_of(d, GetParam().dtype), .rows = static_cast<int>(out_c)};
    const auto windows = static_cast<int>(product.windows.count());
    for (int tile = 0; tile < static_cast<int>(std::size(kOuterTiles)); ++tile) {
      for (const int part : {windows, 100}) {
        Tensor grad = Tensor::full(d.weight_shape(), std::numeric_limits<float>::quiet_NaN(), test::device());
        GetParam().outer({tile, part, (windows + part - 1) / part}, product, rows.raw(), picture.raw(),
                         static_cast<int>(d.in_c), grad.data<float>(), current_stream());
        EXPECT_TRUE(test::equals(grad.to(Device::cpu()), expected))
            << "tile " << tile << ", parts of " << part << " windows, " << out_c << " channels";
      }
    }
  }
}

TEST(MmaPlan, TakesLargeTilesWhereTheyOccupyADevice) {
  const auto tile = [](int64_t rows, int64_t columns, int64_t terms) {
    const TileSize& size = kMmaTiles[plan_mma(rows, columns, terms, 4).tile];
    return std::pair{size.rows, size.columns};
  };
  EXPECT_EQ(tile(512 * 512, 64, 576), (std::pair{256, 64}));
  EXPECT_EQ(tile(128 * 128, 256, 2304), (std::pair{128, 256}));
  EXPECT_EQ(tile(512 * 512, 3, 2592), (std::pair{128, 8}));
}

TEST(MmaPlan, CutsLongSumsOfFewResults) {
  EXPECT_EQ(plan_mma(512 * 512, 64, 576, 4).parts, 1);
  const MmaPlan small = plan_mma(16 * 16, 512, 4608, 4);
  EXPECT_GT(small.parts, 1);
  EXPECT_EQ(small.parts, (4608 / 16 + small.steps_of_part - 1) / small.steps_of_part);
}

}  // namespace
}  // namespace minidl::cuda
