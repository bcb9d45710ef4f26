// What convolutions on tensor cores leave of each channel for the norm behind them: moments of tiles of their rows.
#include <minidl/kernels/cuda/result_moments.h>
#include <minidl/kernels/instance_norm.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/upsample_conv2d.h>
#include <support/compare.h>
#include <support/mma_products.h>
#include <support/norm_reference.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>

namespace minidl::cuda {
namespace {

using test::copy_on_device;
using test::normalised_error;
using test::random_integers;
using test::random_uniform;
using MomentsOfTiles = test::MmaProducts;

MINIDL_ON_TENSOR_CORES(MomentsOfTiles);

TileMoments tile_moments(const Tensor& moments, int64_t index) {
  const float* const four = moments.data<float>() + 4 * index;
  return {four[0], four[1], four[2], four[3]};
}

/// moments [n, tiles, c, 4] of values [n, positions, c] in tiles of `rows`: exact where division is, of integers.
void expect_moments(const Tensor& moments, const std::vector<double>& values, int64_t rows) {
  const int64_t n = moments.shape()[0], tiles = moments.shape()[1], c = moments.shape()[2];
  const int64_t positions = std::ssize(values) / n / c;
  ASSERT_EQ(tiles, divided_up(positions, rows));
  for (int64_t i = 0; i < n * tiles * c; ++i) {
    const int64_t begin = i / c % tiles * rows, end = std::min(positions, begin + rows),
                  first = i / c / tiles * positions;
    const auto value = [&](int64_t position) { return values[static_cast<size_t>((first + position) * c + i % c)]; };
    double sum = 0.0, squares = 0.0;
    for (int64_t position = begin; position < end; ++position) sum += value(position);
    const auto count = static_cast<double>(end - begin);
    const double mean = sum / count;
    for (int64_t position = begin; position < end; ++position) squares += std::pow(value(position) - mean, 2);
    const TileMoments found = tile_moments(moments, i);
    EXPECT_EQ(found.count, count);
    EXPECT_EQ(found.shift, value(begin));
    EXPECT_NEAR(static_cast<double>(found.shift) + found.mean, mean, end - begin == rows ? 0.0 : 1e-4) << i;
    EXPECT_NEAR(found.squares, squares, 1e-6 * squares) << i;
  }
}

TEST_P(MomentsOfTiles, AreThoseOfIntegers) {
  const DeviceScope scope(test::device().index);
  for (const auto& [n, h, w, out_c] : {std::array{1, 9, 15, 136}, {2, 8, 16, 7}, {3, 8, 8, 16}, {1, 1, 3, 8}}) {
    const Conv2dDesc d = Conv2dDesc::make({n, h, w, 8}, {out_c, 3, 3, 8}, {1, 1, Padding::zero(1)});
    const Tensor input = random_integers(d.input_shape(), 1), weight = random_integers(d.weight_shape(), 2),
                 bias = random_integers({out_c}, 3), picture = operand(input), filters = operand(weight),
                 device_bias = bias.to(test::device());
    const std::vector<double> expected = test::reference_conv2d(d, input, weight, bias);
    const Windows windows = test::windows_of(d, GetParam().dtype);
    for (int tile = 0; tile < static_cast<int>(std::size(kMmaTiles)); ++tile) {
      const MmaPlan plan{tile, 1, steps_of(windows)};
      const int64_t rows = kMmaMomentRows[tile], tiles = divided_up(h * w, rows);
      ASSERT_EQ(moment_rows(plan, windows), rows);
      SCOPED_TRACE(::testing::Message() << "tile " << tile << " of " << d.str());
      Tensor output = Tensor::full(d.output_shape(), NAN, test::device()),
             moments = Tensor::full({n, tiles, out_c, 4}, NAN, test::device());
      GetParam().gather(plan, windows, picture.raw(), filters.raw(),
                        {.output = output.data<float>(),
                         .channels = out_c,
                         .out_h = h,
                         .out_w = w,
                         .bias = device_bias.data<float>(),
                         .moments = static_cast<TileMoments*>(moments.raw()),
                         .moments_apart = tiles * out_c},
                        current_stream());
      EXPECT_TRUE(test::equals(output.to(Device::cpu()), expected));
      expect_moments(moments.to(Device::cpu()), expected, rows);
    }
  }
}

/// A convolution and a norm behind it.
struct Behind {
  Precision precision;
  const char* engine;
  int64_t n, h, w, in_c, c, stride;
  bool leaves;        // moments
  float mean = 0.0f;  // of the convolution's results, whose deviation is about 1
};
std::ostream& operator<<(std::ostream& out, const Behind& c) {
  return out << to_string(c.precision) << c.engine << " " << c.n << "x" << c.h << "x" << c.w << " " << c.in_c << "->"
             << c.c << " stride " << c.stride << " mean " << c.mean;
}

class NormBehindConvolution : public ::testing::TestWithParam<Behind> {
 protected:
  void SetUp() override {
    if (test::on_cpu()) GTEST_SKIP() << "engines of the CPU leave nothing: MINIDL_TEST_DEVICE=cuda";
    execution::set_conv2d_engine(case_.engine);
  }
  void TearDown() override { execution::set_conv2d_engine(""); }

  static constexpr float kEps = 1e-5f;

  Tensor filters(const Shape& shape) const {
    const float most = std::sqrt(9.0f / static_cast<float>(shape[1] * shape[2] * shape[3]));
    return copy_on_device(random_uniform(shape, 2, -most, most));
  }
  Tensor bias() const { return copy_on_device(random_uniform({case_.c}, 3, case_.mean, case_.mean + 1.0f)); }
  static Tensor output_of(const Shape& shape) { return copy_on_device(Tensor::full(shape, NAN)); }

  /// Of what a convolution wrote, against the definition; a second time, too, as for a backward pass.
  void expect_normalised(const Tensor& x) const {
    const Shape statistics{x.shape()[0], case_.c};
    const Tensor weight = random_uniform({case_.c}, 4), shift = random_uniform({case_.c}, 5),
                 host = x.to(Device::cpu());
    const test::NormReference reference(host, statistics[0], kEps);
    Tensor first;
    for (const bool again : {false, true}) {
      Tensor output = output_of(x.shape()), mean = output_of(statistics), rstd = output_of(statistics);
      instance_norm_forward(x, copy_on_device(weight), copy_on_device(shift), kEps, Activation::none, output, mean,
                            rstd);
      const Tensor result = output.to(Device::cpu());
      EXPECT_LT(normalised_error(mean.to(Device::cpu()), reference.mean), 1e-7);
      EXPECT_LT(normalised_error(rstd.to(Device::cpu()), reference.rstd), 1e-7);
      EXPECT_LT(normalised_error(result, reference.forward(weight, shift, false)), case_.mean == 0.0f ? 3e-7 : 1e-6);
      if (again) {
        EXPECT_TRUE(test::same_bytes(result, first));
      }
      first = result;
    }
  }

  const Behind case_ = GetParam();
  const execution::PrecisionScope scope_{case_.precision};
};

TEST_P(NormBehindConvolution, AgreesWithTheDefinition) {
  const Conv2dDesc d = Conv2dDesc::make({case_.n, case_.h, case_.w, case_.in_c}, {case_.c, 3, 3, case_.in_c},
                                        {case_.stride, case_.stride, Padding::reflect(1)});
  const Tensor input = copy_on_device(random_uniform(d.input_shape(), 1));
  Tensor output = output_of(d.output_shape());
  conv2d_forward(d, input, filters(d.weight_shape()), bias(), Activation::none, output);
  EXPECT_EQ(static_cast<bool>(moments_left(output)), case_.leaves);
  expect_normalised(output);
  output.fill(1.0f);
  EXPECT_FALSE(moments_left(output)) << "of what is not there any more";
}

TEST_P(NormBehindConvolution, OfAnUpsampledPictureAgreesWithTheDefinition) {
  const auto d = UpsampleConv2dDesc::make({case_.n, case_.h, case_.w, case_.in_c}, {case_.c, 3, 3, case_.in_c},
                                          Padding::Mode::reflect);
  const Tensor input = copy_on_device(random_uniform(d.input_shape(), 1));
  Tensor output = output_of(d.output_shape());
  upsample_conv2d_forward(d, input, filters(d.weight_shape()), bias(), output);
  // There are no pairs of its windows, and in fp32 it is computed on ordinary cores.
  const bool is_paired = case_.c <= 4;
  EXPECT_EQ(static_cast<bool>(moments_left(output)), case_.precision != Precision::fp32 && (case_.leaves || is_paired));
  expect_normalised(output);
}

TEST_P(NormBehindConvolution, OfAReluReadsIt) {
  const Conv2dDesc d =
      Conv2dDesc::make({case_.n, case_.h, case_.w, case_.in_c}, {case_.c, 1, 1, case_.in_c}, {1, 1, Padding()});
  Tensor output = output_of(d.output_shape());
  conv2d_forward(d, copy_on_device(random_uniform(d.input_shape(), 1)), filters(d.weight_shape()), bias(),
                 Activation::relu, output);
  EXPECT_FALSE(moments_left(output));
}

/// Many tiles, one, a ragged last one, pictures of whole tiles and not, terms cut into parts, pairs of windows, fp32 on
/// ordinary cores.
INSTANTIATE_TEST_SUITE_P(Convolutions, NormBehindConvolution,
                         ::testing::Values(Behind{Precision::bf16, "", 1, 23, 29, 8, 12, 1, true},
                                           Behind{Precision::bf16, "", 2, 16, 16, 8, 8, 1, true},
                                           Behind{Precision::bf16, "", 3, 7, 9, 3, 16, 1, false},
                                           Behind{Precision::bf16, "", 1, 40, 33, 3, 72, 2, true},
                                           Behind{Precision::bf16, "", 1, 2, 3, 512, 72, 1, false},
                                           Behind{Precision::bf16, "", 1, 12, 8, 8, 3, 1, false},
                                           Behind{Precision::bf16, "", 1, 19, 21, 8, 16, 1, true, 1e4f},
                                           Behind{Precision::fp16, "", 1, 19, 21, 8, 16, 1, true},
                                           Behind{Precision::tf32, "", 2, 24, 16, 12, 40, 1, true},
                                           Behind{Precision::fp32, "mma_3xtf32", 1, 19, 21, 8, 12, 1, true, 1e4f},
                                           Behind{Precision::fp32, "", 1, 19, 21, 8, 12, 1, false}));

}  // namespace
}  // namespace minidl::cuda
