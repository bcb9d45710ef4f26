// Every way to cut a product on tensor cores into tiles and parts, which the sizes of the other tests would not choose.
#include <minidl/kernels/cuda/window_products.h>
#include <support/compare.h>
#include <support/mma_products.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>

#include <string_view>

namespace minidl::cuda {
namespace {

using test::random_integers;
using test::windows_of;
using MmaPlans = test::MmaProducts;

MINIDL_ON_TENSOR_CORES(MmaPlans);

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
    const int steps = steps_of(windows);
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

/// What pool2d() makes of the values before it; and which window of its cell is the largest, or 4.
struct PooledCells {
  std::vector<double> largest, average;
  std::vector<uint8_t> choice;

  PooledCells(const Conv2dDesc& d, const std::vector<double>& whole) {
    const int64_t rows = d.out_h() / 2, columns = d.out_w() / 2;
    for (int64_t i = 0; i < d.n * rows * columns * d.out_c; ++i) {
      const int64_t c = i % d.out_c, cell = i / d.out_c, w = cell % columns, row = cell / columns, h = row % rows;
      double sum = 0.0, most = 0.0;
      uint8_t chosen = 4;
      for (int64_t k = 0; k < 4; ++k) {
        const int64_t pixel = (row / rows * d.out_h() + 2 * h + k / 2) * d.out_w() + 2 * w + k % 2;
        const double value = whole[static_cast<size_t>(pixel * d.out_c + c)];
        sum += value;
        if (value > most) most = value, chosen = static_cast<uint8_t>(k);
      }
      largest.push_back(most), average.push_back(sum / 4), choice.push_back(chosen);
    }
  }
};

/// A last odd row and column of windows belong to no cell.
TEST_P(MmaPlans, PoolsWhatItWrites) {
  const DeviceScope scope(test::device().index);
  for (const int64_t out_c : {136, 8}) {
    const Conv2dDesc d = problem(out_c, Padding::zero(1));
    const Tensor input = random_integers(d.input_shape(), 1), weight = random_integers(d.weight_shape(), 2),
                 bias = random_integers({out_c}, 3);
    const std::vector<double> whole = test::reference_conv2d(d, input, weight, bias, Activation::relu);
    const PooledCells expected(d, whole);
    const Tensor picture = operand(input), filters = operand(weight), device_bias = bias.to(test::device());
    Windows windows = windows_of(d, GetParam().dtype);
    windows.in_cells = true;
    const int steps = steps_of(windows);
    const auto count = static_cast<int64_t>(expected.largest.size());
    Tensor unwritten = Tensor::zeros({count}, Dtype::u8);
    std::fill_n(unwritten.data<uint8_t>(), count, uint8_t{9});
    for (int tile = 0; tile < static_cast<int>(std::size(kMmaTiles)); ++tile) {
      for (const bool max_pooled : {true, false}) {
        SCOPED_TRACE(::testing::Message() << "tile " << tile << ", " << out_c << " channels");
        const int64_t unaligned = tile % 2;
        Tensor output = Tensor::full({count + 1}, -1.0f, test::device()).slice(unaligned, unaligned + count);
        Tensor choice = unwritten.to(test::device());
        BitMask positive = BitMask(d.output_shape(), test::device());
        const GatherOutput out{.output = output.data<float>(),
                               .channels = static_cast<int>(out_c),
                               .out_h = windows.windows_h,
                               .out_w = windows.windows_w,
                               .bias = device_bias.data<float>(),
                               .positive = max_pooled ? nullptr : positive.data(),
                               .pools = true,
                               .max_pooled = max_pooled,
                               .choice = max_pooled ? choice.data<uint8_t>() : nullptr};
        GetParam().gather({tile, 1, steps}, windows, picture.raw(), filters.raw(), out, current_stream());
        EXPECT_TRUE(test::equals(output.to(Device::cpu()), max_pooled ? expected.largest : expected.average));
        if (max_pooled) {
          const Tensor written = choice.to(Device::cpu());
          EXPECT_TRUE(std::equal(expected.choice.begin(), expected.choice.end(), written.data<uint8_t>()));
          continue;
        }
        const BitMask written = positive.to(Device::cpu());
        for (int64_t i = 0; i < d.output_shape().count(); ++i) {
          const int64_t pixel = i / out_c, w = pixel % d.out_w(), h = pixel / d.out_w() % d.out_h();
          if (h == d.out_h() - 1 || w == d.out_w() - 1) continue;
          ASSERT_EQ(written.span()[i], whole[static_cast<size_t>(i)] > 0.0) << i;
        }
      }
    }
  }
}

/// Wherever in a cell it is, and nowhere else.
TEST_P(MmaPlans, PoolsNanToNan) {
  const DeviceScope scope(test::device().index);
  const Conv2dDesc d = Conv2dDesc::make({1, 4, 4, 8}, {8, 1, 1, 8}, {1, 1, Padding()});
  const Tensor weight = random_integers(d.weight_shape(), 2);
  Windows windows = windows_of(d, GetParam().dtype);
  windows.in_cells = true;
  for (int64_t pixel = 0; pixel < 16; ++pixel) {
    Tensor input = random_integers(d.input_shape(), 1);
    input.data<float>()[pixel * 8] = std::numeric_limits<float>::quiet_NaN();
    const Tensor picture = operand(input), filters = operand(weight);
    for (const bool max_pooled : {true, false}) {
      Tensor output = Tensor::empty({2, 2, 8}, Dtype::f32, test::device());
      const GatherOutput out{.output = output.data<float>(),
                             .channels = 8,
                             .out_h = 4,
                             .out_w = 4,
                             .pools = true,
                             .max_pooled = max_pooled};
      GetParam().gather({0, 1, 1}, windows, picture.raw(), filters.raw(), out, current_stream());
      const Tensor written = output.to(Device::cpu());
      for (int64_t i = 0; i < written.count(); ++i) {
        const bool hit = i / 8 == pixel / 8 * 2 + pixel % 4 / 2;
        ASSERT_EQ(std::isnan(written.data<float>()[i]), hit) << "pixel " << pixel << ", result " << i;
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
  const int steps = steps_of(windows);
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

/// Eleven bits of a number, to nearest and halves away from zero: rounded by the kernel as TF32, in two parts kept.
TEST_P(MmaPlans, RoundsNumbersOf32Bits) {
  if (GetParam().dtype != Dtype::f32) GTEST_SKIP() << "numbers of 16 bits are rounded before";
  const DeviceScope scope(test::device().index);
  const bool rounds = std::string_view(GetParam().name) == "tf32";
  const std::vector<float> values{2049.0f, 2051.0f, 2050.0f, -2049.0f, -2051.0f, 4097.0f, 4098.0f, 4102.0f};
  const std::vector<double> rounded{2050.0, 2052.0, 2050.0, -2050.0, -2052.0, 4096.0, 4100.0, 4104.0};
  Tensor input = Tensor::zeros({8, 4}), weight = Tensor::zeros({1, 4});
  for (int64_t i = 0; i < 8; ++i) input.data<float>()[i * 4] = values[static_cast<size_t>(i)];
  weight.data<float>()[0] = 1.0f;
  const Tensor picture = operand(input), filters = operand(weight);
  const Windows windows{.n = 1, .in_h = 1, .in_w = 8, .in_c = 4, .windows_h = 1, .windows_w = 8};
  Tensor output = Tensor::empty({8}, Dtype::f32, test::device());
  GetParam().gather({0, 1, 1}, windows, picture.raw(), filters.raw(),
                    {.output = output.data<float>(), .channels = 1, .out_h = 1, .out_w = 8}, current_stream());
  const std::vector<double> exact(values.begin(), values.end());
  EXPECT_TRUE(test::equals(output.to(Device::cpu()), rounds ? rounded : exact));
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

/// Windows of one pixel, which are copied as a matrix.
TEST_P(MmaPlans, SumsOverPixelsAreExactOnIntegers) {
  const DeviceScope scope(test::device().index);
  const Conv2dDesc d = Conv2dDesc::make({2, 9, 15, 140}, {36, 1, 1, 140}, {1, 1, Padding()});
  const Tensor input = random_integers(d.input_shape(), 1), grad_output = random_integers(d.output_shape(), 2);
  const std::vector<double> expected = test::reference_conv2d_backward_weight(d, input, grad_output);
  const Tensor picture = operand(input), rows = operand(grad_output);
  const OuterProduct product{.windows = windows_of(d, GetParam().dtype), .rows = 36};
  ASSERT_TRUE(product.windows.are_pixels());
  for (int tile = 0; tile < static_cast<int>(std::size(kOuterTiles)); ++tile) {
    Tensor grad = Tensor::full(d.weight_shape(), std::numeric_limits<float>::quiet_NaN(), test::device());
    GetParam().outer({tile, 100, 3}, product, rows.raw(), picture.raw(), 140, grad.data<float>(), current_stream());
    EXPECT_TRUE(test::equals(grad.to(Device::cpu()), expected)) << "tile " << tile;
  }
}

/// A map whose windows in cells are fewer, so that a plan of their own would be in one part.
TEST(WindowProductsPlan, IsThatOfAllWindows) {
  Windows windows{.n = 1, .in_h = 91, .in_w = 93, .in_c = 512, .k_h = 3, .k_w = 3, .windows_h = 91, .windows_w = 93};
  const MmaPlan whole = plan_mma(windows.count(), 512, windows.length(), 4);
  windows.in_cells = true;
  ASSERT_NE(plan_mma(windows.count(), 512, windows.length(), 4).parts, whole.parts);
  EXPECT_EQ(products_tf32.pools(windows, 512), whole.parts == 1);
}

TEST(MmaPlan, TakesLargeTilesWhereTheyOccupyADevice) {
  const auto tile = [](int64_t rows, int64_t columns, int64_t terms) {
    const TileSize& size = kMmaTiles[plan_mma(rows, columns, terms, 4).tile];
    return std::pair{size.rows, size.columns};
  };
  EXPECT_EQ(tile(512 * 512, 64, 576), (std::pair{256, 64}));
  EXPECT_EQ(tile(128 * 128, 256, 2304), (std::pair{128, 256}));
  EXPECT_EQ(tile(512 * 512, 3, 2592), (std::pair{128, 8}));
  EXPECT_EQ(tile(512 * 512, 32, 256), (std::pair{256, 32}));
}

TEST(MmaPlan, CutsLongSumsOfFewResults) {
  EXPECT_EQ(plan_mma(512 * 512, 64, 576, 4).parts, 1);
  const MmaPlan small = plan_mma(16 * 16, 512, 4608, 4);
  EXPECT_GT(small.parts, 1);
  EXPECT_EQ(small.parts, (4608 / 16 + small.steps_of_part - 1) / small.steps_of_part);
}

}  // namespace
}  // namespace minidl::cuda
