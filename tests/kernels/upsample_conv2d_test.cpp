#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/upsample.h>
#include <minidl/kernels/upsample_conv2d.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>
#include <utility>

namespace minidl {
namespace {

using test::equals;
using test::normalised_error;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

std::vector<UpsampleConv2dDesc> all_cases() {
  std::vector<UpsampleConv2dDesc> cases;
  for (const Padding::Mode mode : {Padding::Mode::reflect, Padding::Mode::zero, Padding::Mode::replicate}) {
    cases.push_back({1, 1, 1, 1, 1, mode});
    cases.push_back({2, 1, 5, 3, 4, mode});
    cases.push_back({1, 4, 1, 4, 3, mode});
    cases.push_back({3, 2, 3, 33, 7, mode});
    cases.push_back({1, 13, 9, 16, 33, mode});
    cases.push_back({2, 9, 37, 64, 32, mode});
  }
  return cases;
}

Window window(const UpsampleConv2dDesc& desc) {
  return {1, 1, {desc.padding, 1, 1, 1, 1}};
}
/// The two operations of which this is one: the convolution of the upsampled map.
Conv2dDesc convolution(const UpsampleConv2dDesc& desc) {
  return Conv2dDesc::make({desc.n, 2 * desc.in_h, 2 * desc.in_w, desc.in_c}, desc.weight_shape(), window(desc));
}
Tensor upsampled(const Tensor& input) {
  const Shape& shape = input.shape();
  Tensor output = Tensor::empty({shape[0], 2 * shape[1], 2 * shape[2], shape[3]});
  ON_DEVICE(upsample_nearest_forward)(input, 2, output);
  return output;
}

/// Operands of a case, whole numbers or not.
struct Operands {
  Tensor input, weight, bias, grad_output;
  Operands(const UpsampleConv2dDesc& desc, bool whole)
      : input(whole ? random_integers(desc.input_shape(), 1) : random_uniform(desc.input_shape(), 1)),
        weight(whole ? random_integers(desc.weight_shape(), 2) : random_uniform(desc.weight_shape(), 2)),
        bias(random_integers({desc.out_c}, 3)),
        grad_output(whole ? random_integers(desc.output_shape(), 4) : random_uniform(desc.output_shape(), 4)) {}
};

Tensor forward(const UpsampleConv2dDesc& desc, const Operands& x) {
  Tensor output = Tensor::full(desc.output_shape(), std::numeric_limits<float>::quiet_NaN());
  ON_DEVICE(upsample_conv2d_forward)(desc, x.input, x.weight, x.bias, output);
  return output;
}
Tensor plain_forward(const UpsampleConv2dDesc& desc, const Operands& x) {
  Tensor output = Tensor::empty(desc.output_shape());
  ON_DEVICE(conv2d_forward)(convolution(desc), upsampled(x.input), x.weight, x.bias, Activation::none, output);
  return output;
}

Tensor backward_data(const UpsampleConv2dDesc& desc, const Operands& x) {
  Tensor grad = Tensor::full(desc.input_shape(), std::numeric_limits<float>::quiet_NaN());
  ON_DEVICE(upsample_conv2d_backward_data)(desc, x.weight, x.grad_output, Accumulate{}, grad);
  return grad;
}
Tensor plain_backward_data(const UpsampleConv2dDesc& desc, const Operands& x) {
  Tensor large = Tensor::empty(convolution(desc).input_shape()), grad = Tensor::empty(desc.input_shape());
  ON_DEVICE(conv2d_backward_data)(convolution(desc), x.weight, x.grad_output, Accumulate{}, large);
  ON_DEVICE(upsample_nearest_backward)(large, 2, Accumulate{}, grad);
  return grad;
}

Tensor backward_weight(const UpsampleConv2dDesc& desc, const Operands& x) {
  Tensor grad = Tensor::full(desc.weight_shape(), std::numeric_limits<float>::quiet_NaN());
  ON_DEVICE(upsample_conv2d_backward_weight)(desc, x.input, x.grad_output, 0.0f, grad);
  return grad;
}
Tensor plain_backward_weight(const UpsampleConv2dDesc& desc, const Operands& x) {
  Tensor grad = Tensor::empty(desc.weight_shape());
  ON_DEVICE(conv2d_backward_weight)(convolution(desc), upsampled(x.input), x.grad_output, 0.0f, grad);
  return grad;
}

class UpsampleConv2d : public testing::TestWithParam<UpsampleConv2dDesc> {
 protected:
  const UpsampleConv2dDesc& desc() const { return GetParam(); }
};

/// A precision and what it may lose; the CPU has one for this operation.
std::vector<std::pair<Precision, double>> grades() {
  if (test::on_cpu()) return {{Precision::fp32, 1e-6}};
  return {{Precision::fp32, 3e-6}, {Precision::tf32, 1e-3}, {Precision::bf16, 8e-3}, {Precision::fp16, 1e-3}};
}

/// The plain pair, by the definition of a convolution.
struct Plain {
  Tensor output, grad_input, grad_weight;
  Plain(const UpsampleConv2dDesc& desc, const Operands& x) {
    execution::set_conv2d_engine("reference");
    output = plain_forward(desc, x);
    grad_input = plain_backward_data(desc, x);
    grad_weight = plain_backward_weight(desc, x);
    execution::set_conv2d_engine("");
  }
};

TEST_P(UpsampleConv2d, EqualsThePlainPairOnIntegers) {
  const Operands x(desc(), true);
  const Plain plain(desc(), x);
  for (const auto& [precision, bound] : grades()) {
    const execution::PrecisionScope scope(precision);
    EXPECT_TRUE(equals(forward(desc(), x), plain.output)) << to_string(precision);
    EXPECT_TRUE(equals(backward_data(desc(), x), plain.grad_input)) << to_string(precision);
    EXPECT_TRUE(equals(backward_weight(desc(), x), plain.grad_weight)) << to_string(precision);
  }
}

TEST_P(UpsampleConv2d, EqualsThePlainPairUpToRounding) {
  const Operands x(desc(), false);
  const Plain plain(desc(), x);
  const bool cancels = desc().input_shape().count() == 1;  // what few terms sum to may be small beside them
  for (const auto& [precision, of_many] : grades()) {
    const double bound = cancels ? 8 * of_many : of_many;
    const execution::PrecisionScope scope(precision);
    EXPECT_LE(normalised_error(forward(desc(), x), plain.output), bound) << to_string(precision);
    EXPECT_LE(normalised_error(backward_data(desc(), x), plain.grad_input), bound) << to_string(precision);
    EXPECT_LE(normalised_error(backward_weight(desc(), x), plain.grad_weight), bound) << to_string(precision);
  }
}

/// Each of the four outputs of a pixel is a 2x2 convolution of the input whose taps are sums of the weight's: row p of
/// them adds taps {0}, {1, 2} or {0, 1}, {2}.
TEST_P(UpsampleConv2d, IsFourConvolutionsOfTheSmallMap) {
  const Operands x(desc(), true);
  const Tensor output = forward(desc(), x);
  for (int64_t phase = 0; phase < 4; ++phase) {
    const int64_t p = phase / 2, q = phase % 2;
    Tensor summed = Tensor::zeros({desc().out_c, 2, 2, desc().in_c});
    for (int64_t i = 0; i < x.weight.count(); ++i) {
      const int64_t c = i % desc().in_c, tap = i / desc().in_c % 9, k = i / desc().in_c / 9;
      const int64_t row = (tap / 3 + 1 - p) / 2, column = (tap % 3 + 1 - q) / 2;
      summed.data<float>()[((k * 2 + row) * 2 + column) * desc().in_c + c] += std::as_const(x.weight).data<float>()[i];
    }
    const Padding::Mode mode = desc().padding == Padding::Mode::zero ? Padding::Mode::zero : Padding::Mode::replicate;
    const Window of_phase{1, 1, {mode, 1 - p, p, 1 - q, q}};
    const Conv2dDesc small = Conv2dDesc::make(desc().input_shape(), summed.shape(), of_phase);
    Tensor expected = Tensor::empty(small.output_shape());
    ON_DEVICE(conv2d_forward)(small, x.input, summed, x.bias, Activation::none, expected);
    Tensor found = Tensor::empty(expected.shape());
    for (int64_t i = 0; i < found.count(); ++i) {
      const int64_t k = i % desc().out_c, w = i / desc().out_c % desc().in_w, row = i / desc().out_c / desc().in_w;
      found.data<float>()[i] = output.data<float>()[((2 * row + p) * 2 * desc().in_w + 2 * w + q) * desc().out_c + k];
    }
    EXPECT_TRUE(equals(found, expected)) << "row " << p << ", column " << q;
  }
}

TEST_P(UpsampleConv2d, GradientsAccumulate) {
  const Operands x(desc(), true);
  EXPECT_TRUE(test::accumulates(desc().input_shape(), [&](const Accumulate& how, Tensor& grad) {
    ON_DEVICE(upsample_conv2d_backward_data)(desc(), x.weight, x.grad_output, how, grad);
  }));
  Tensor grad = random_integers(desc().weight_shape(), 5);
  const Tensor before = grad.clone(), once = backward_weight(desc(), x);
  ON_DEVICE(upsample_conv2d_backward_weight)(desc(), x.input, x.grad_output, 1.0f, grad);
  for (int64_t i = 0; i < grad.count(); ++i) {
    ASSERT_EQ(grad.span<float>()[i], before.span<float>()[i] + once.span<float>()[i]);
  }
}

TEST_P(UpsampleConv2d, TheBytesDoNotDependOnThreads) {
  const Operands x(desc(), false);
  EXPECT_TRUE(test::same_for_all_threads([&] { return forward(desc(), x); }));
  EXPECT_TRUE(test::same_for_all_threads([&] { return backward_data(desc(), x); }));
  EXPECT_TRUE(test::same_for_all_threads([&] { return backward_weight(desc(), x); }));
}

std::string name_of(const testing::TestParamInfo<UpsampleConv2dDesc>& of) {
  const UpsampleConv2dDesc& d = of.param;
  const char* mode = d.padding == Padding::Mode::zero      ? "zero"
                     : d.padding == Padding::Mode::reflect ? "reflect"
                                                           : "replicate";
  std::string name = mode;
  for (const int64_t extent : {d.n, d.in_h, d.in_w, d.in_c, d.out_c}) name.append("_").append(std::to_string(extent));
  return name;
}

INSTANTIATE_TEST_SUITE_P(Shapes, UpsampleConv2d, testing::ValuesIn(all_cases()), name_of);

TEST(UpsampleConv2dChecks, RefusalsNameTheShapes) {
  using Desc = UpsampleConv2dDesc;
  EXPECT_TRUE(throws_error(
      [] {
        Desc::make({1, 4, 4, 3}, {8, 3, 3, 4}, Padding::Mode::zero);
      },
      "input [1,4,4,3] does not fit weight [8,3,3,4]"));
  EXPECT_TRUE(throws_error([] { Desc::make({1, 4, 4, 3}, {8, 5, 5, 3}, Padding::Mode::zero); }, "[out,3,3,c]"));
  EXPECT_TRUE(throws_error([] { Desc::make({1, 0, 4, 3}, {8, 3, 3, 3}, Padding::Mode::zero); }, "must not be empty"));
  const Desc desc = Desc::make({1, 2, 3, 4}, {5, 3, 3, 4}, Padding::Mode::reflect);
  const Operands x(desc, true);
  Tensor output = Tensor::empty({1, 2, 3, 5}), grad = Tensor::empty(desc.input_shape());
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_conv2d_forward)
        (desc, x.input, x.weight, x.bias, output);
      },
      "output has shape [1,2,3,5], it must be [1,4,6,5]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_conv2d_backward_data)
        (desc, x.weight, x.input, Accumulate{}, grad);
      },
      "grad_output has shape [1,2,3,4], it must be [1,4,6,5]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_conv2d_backward_weight)
        (desc, x.input, x.grad_output, 0.0f, grad);
      },
      "grad_weight has shape [1,2,3,4], it must be [5,3,3,4]"));
}

}  // namespace
}  // namespace minidl
