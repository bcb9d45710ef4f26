// Which pixels the products on tensor cores read: taps of every shape, paddings that reach far beyond a picture, and
// steps that end anywhere among the taps.
#include <support/compare.h>
#include <support/mma_products.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>

#include <vector>

namespace minidl::cuda {
namespace {

using test::random_integers;
using test::windows_of;
using MmaWindows = test::MmaProducts;

MINIDL_ON_TENSOR_CORES(MmaWindows);

struct Case {
  int64_t in_h, in_w, in_c, k_h, k_w;
  Padding padding;
  int64_t stride_h = 1, stride_w = 1;

  Conv2dDesc desc() const {
    return Conv2dDesc::make({2, in_h, in_w, in_c}, {9, k_h, k_w, in_c}, {stride_h, stride_w, padding});
  }
};
using Mode = Padding::Mode;

const std::vector<Case> kCases = {
    {4, 3, 5, 3, 3, Padding::zero(1)},  // channels that are padded
    {7, 5, 12, 5, 2, {Mode::zero, 2, 1, 1, 0}},
    {5, 9, 12, 1, 7, {Mode::zero, 0, 0, 3, 3}},
    {1, 2, 8, 15, 15, Padding::zero(14)},           // windows begin and end outside
    {3, 2, 8, 3, 5, {Mode::zero, 40, 37, 41, 36}},  // many are all outside
    {6, 7, 8, 4, 4, {Mode::zero, 1, 2, 2, 1}, 2, 3},
    {7, 5, 12, 5, 2, {Mode::reflect, 2, 1, 1, 3}},
    {5, 9, 4, 2, 7, {Mode::reflect, 1, 0, 3, 3}},
    {6, 7, 8, 4, 4, {Mode::reflect, 1, 2, 2, 1}, 2, 3},
    {6, 7, 4, 4, 4, {Mode::reflect, 3, 2, 2, 3}},  // a step is a row of taps
    {7, 5, 12, 5, 2, {Mode::replicate, 9, 1, 6, 3}},
    {5, 9, 8, 2, 7, {Mode::replicate, 1, 7, 3, 12}},
};

TEST_P(MmaWindows, OfConvolutionsAreExactOnIntegers) {
  const DeviceScope scope(test::device().index);
  for (const Case& c : kCases) {
    const Conv2dDesc d = c.desc();
    SCOPED_TRACE(::testing::Message() << d.str());
    const Tensor input = random_integers(d.input_shape(), 1), weight = random_integers(d.weight_shape(), 2);
    const Tensor picture = operand(input), filters = operand(weight);
    const Windows windows = windows_of(d, GetParam().dtype);
    Tensor output = Tensor::full(d.output_shape(), std::numeric_limits<float>::quiet_NaN(), test::device());
    GetParam().gather(
        {0, 1, steps_of(windows)}, windows, picture.raw(), filters.raw(),
        {.output = output.data<float>(), .channels = 9, .out_h = windows.windows_h, .out_w = windows.windows_w},
        current_stream());
    EXPECT_TRUE(
        test::equals(output.to(Device::cpu()), test::reference_conv2d(d, input, weight, Tensor(), Activation::none)));
  }
}

TEST_P(MmaWindows, OfGradientsOfWeightsAreExactOnIntegers) {
  const DeviceScope scope(test::device().index);
  for (const Case& c : kCases) {
    const Conv2dDesc d = c.desc();
    SCOPED_TRACE(::testing::Message() << d.str());
    const Tensor input = random_integers(d.input_shape(), 1), grad_output = random_integers(d.output_shape(), 2);
    const Tensor picture = operand(input), rows = operand(grad_output);
    const OuterProduct product{.windows = windows_of(d, GetParam().dtype), .rows = 9};
    Tensor grad = Tensor::full(d.weight_shape(), std::numeric_limits<float>::quiet_NaN(), test::device());
    const auto windows = static_cast<int>(product.windows.count());
    GetParam().outer({0, windows, 1}, product, rows.raw(), picture.raw(), static_cast<int>(c.in_c), grad.data<float>(),
                     current_stream());
    EXPECT_TRUE(test::equals(grad.to(Device::cpu()), test::reference_conv2d_backward_weight(d, input, grad_output)));
  }
}

/// Nine channels of ten that the output has: pairs of what is written are aligned, and the last of them is none.
TEST_P(MmaWindows, OddChannelsAmongMoreAreWrittenAlone) {
  const DeviceScope scope(test::device().index);
  constexpr int64_t kPixels = 70, kTerms = 80;
  const Conv2dDesc d = Conv2dDesc::make({1, 1, kPixels, kTerms}, {9, 1, 1, kTerms}, {});
  const Tensor input = random_integers(d.input_shape(), 1), weight = random_integers(d.weight_shape(), 2),
               before = random_integers({kPixels, 10}, 3);
  const std::vector<double> sums = test::reference_conv2d(d, input, weight, Tensor(), Activation::none);
  const Tensor picture = operand(input), filters = operand(weight);
  const Windows windows = windows_of(d, GetParam().dtype);
  // The last pixel of an output whose pixels lie ten apart ends with its ninth channel.
  const int64_t count = kPixels * 10 - 1;
  std::vector<double> expected = test::to_doubles(before.reshape({kPixels * 10}).slice(0, count));
  for (int64_t i = 0; i < kPixels * 9; ++i)
    expected[static_cast<size_t>(i / 9 * 10 + i % 9)] += sums[static_cast<size_t>(i)];
  for (const int parts : {1, 2}) {
    Tensor output = before.reshape({kPixels * 10}).slice(0, count).to(test::device());
    GetParam().gather({0, parts, (steps_of(windows) + parts - 1) / parts}, windows, picture.raw(), filters.raw(),
                      {.output = output.data<float>(),
                       .channels = 9,
                       .pitch = 10,
                       .out_h = windows.windows_h,
                       .out_w = windows.windows_w,
                       .beta = 1.0f},
                      current_stream());
    EXPECT_TRUE(test::equals(output.to(Device::cpu()), expected)) << parts << " parts";
  }
}

}  // namespace
}  // namespace minidl::cuda
