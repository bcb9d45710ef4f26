// Operands that are left for the next convolution: the same bytes as without them. That they are there at all is counted
// in emulator/iteration_test.
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/half.h>
#include <minidl/kernels/instance_norm.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/upsample_conv2d.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>

#include <gtest/gtest.h>
#include <optional>

namespace minidl {
namespace {

using test::copy_on_device;
using test::random_uniform;

struct Chain {
  Precision precision;
  int64_t n, h, w, in_c, c, out_c;
};
std::ostream& operator<<(std::ostream& out, const Chain& c) {
  return out << to_string(c.precision) << " " << c.n << "x" << c.h << "x" << c.w << " " << c.in_c << "->" << c.c << "->"
             << c.out_c;
}

Conv2dDesc conv3x3(const Shape& input, int64_t out_c) {
  return Conv2dDesc::make(input, {out_c, 3, 3, input[3]}, {1, 1, Padding::zero(1)});
}
Tensor output_of(const Shape& shape) {
  return copy_on_device(Tensor::full(shape, NAN));
}

bool same_on_host(const Tensor& a, const Tensor& b) {
  return test::same_bytes(a.to(Device::cpu()), b.to(Device::cpu()));
}

class RoundedResults : public ::testing::TestWithParam<Chain> {
 protected:
  void SetUp() override {
    if (test::on_cpu()) GTEST_SKIP() << "engines of the CPU leave nothing: MINIDL_TEST_DEVICE=cuda";
    scope_.emplace(chain_.precision);
  }
  /// What a second convolution makes of this, the weight the same in all calls.
  Tensor next(const Tensor& input) const {
    const Conv2dDesc desc = conv3x3(input.shape(), chain_.out_c);
    Tensor output = output_of(desc.output_shape());
    conv2d_forward(desc, input, copy_on_device(random_uniform(desc.weight_shape(), 7)), Tensor(), Activation::none,
                   output);
    return output;
  }
  Tensor upsampled(const Tensor& input) const {
    const auto desc =
        UpsampleConv2dDesc::make(input.shape(), {chain_.out_c, 3, 3, input.shape()[3]}, Padding::Mode::reflect);
    Tensor output = output_of(desc.output_shape());
    upsample_conv2d_forward(desc, input, copy_on_device(random_uniform(desc.weight_shape(), 7)), Tensor(), output);
    return output;
  }
  Tensor weight_of(const Conv2dDesc& desc) const { return copy_on_device(random_uniform(desc.weight_shape(), 2)); }

  const Chain chain_ = GetParam();
  std::optional<execution::PrecisionScope> scope_;
  const Conv2dDesc first_ = conv3x3({chain_.n, chain_.h, chain_.w, chain_.in_c}, chain_.c);
  const Tensor input_ = copy_on_device(random_uniform(first_.input_shape(), 1)),
               bias_ = copy_on_device(random_uniform({chain_.c}, 3));
};

TEST_P(RoundedResults, AreThoseOfAReluForTheNextConvolution) {
  Tensor output = output_of(first_.output_shape());
  conv2d_forward(first_, input_, weight_of(first_), bias_, Activation::relu, output);
  const Tensor expected = next(output.clone());
  EXPECT_TRUE(same_on_host(next(output), expected));
  EXPECT_TRUE(same_on_host(next(output), expected)) << "once more, when they are used";
}

TEST_P(RoundedResults, AreThoseOfTheFirstPictures) {
  Tensor output = output_of(first_.output_shape());
  conv2d_forward(first_, input_, weight_of(first_), bias_, Activation::relu, output);
  const Tensor first = std::as_const(output).slice(0, 1);
  const Tensor expected = next(first.clone());
  EXPECT_TRUE(same_on_host(next(first), expected));
}

TEST_P(RoundedResults, AreNotThoseOfOtherChannels) {
  Tensor output = output_of(first_.output_shape());
  conv2d_forward(first_, input_, weight_of(first_), bias_, Activation::relu, output);
  const Tensor other = std::as_const(output).reshape({chain_.n, 1, chain_.h, chain_.w * chain_.c});
  const Tensor expected = next(other.clone());
  EXPECT_TRUE(same_on_host(next(other), expected));
}

TEST_P(RoundedResults, AreGoneWhenTheOutputIsWritten) {
  Tensor output = output_of(first_.output_shape());
  conv2d_forward(first_, input_, weight_of(first_), bias_, Activation::relu, output);
  affine(-2.0f, output, 1.0f, output);
  const Tensor expected = next(output.clone());
  EXPECT_TRUE(same_on_host(next(output), expected));
}

/// With a ReLU, and added to a residual; over its input, too.
TEST_P(RoundedResults, AreThoseOfANorm) {
  const Shape shape = first_.output_shape(), statistics{chain_.n, chain_.c};
  const Tensor residual = copy_on_device(random_uniform(shape, 9));
  for (const bool adds : {false, true}) {
    for (const bool in_place : {false, true}) {
      Tensor x = copy_on_device(random_uniform(shape, 10)), separate = output_of(shape), mean = output_of(statistics),
             rstd = output_of(statistics);
      Tensor& output = in_place ? x : separate;
      instance_norm_forward(x, bias_, bias_, 1e-5f, adds ? Activation::none : Activation::relu, output, mean, rstd,
                            adds ? residual : Tensor());
      const Tensor expected = next(output.clone());
      EXPECT_TRUE(same_on_host(next(output), expected));
      EXPECT_TRUE(same_on_host(next(output), expected)) << "once more, when they are used";
    }
  }
}

/// A norm whose output has nothing but 16 bits: what a convolution makes of it, on every engine.
TEST_P(RoundedResults, AreAllThatANormWrites) {
  const Dtype type = conv2d_input_type(test::device(), chain_.c);
  const bool fits = chain_.precision != Precision::tf32 && chain_.c % 8 == 0;
  ASSERT_EQ(type, !fits ? Dtype::f32 : chain_.precision == Precision::bf16 ? Dtype::bf16 : Dtype::f16);
  const Shape shape = first_.output_shape(), statistics{chain_.n, chain_.c};
  const Tensor x = copy_on_device(random_uniform(shape, 10)), residual = copy_on_device(random_uniform(shape, 9));
  Tensor values = output_of(shape), mean = output_of(statistics), rstd = output_of(statistics);
  instance_norm_forward(x, bias_, bias_, 1e-5f, Activation::relu, values, mean, rstd, residual);
  for (const Dtype written : {Dtype::bf16, Dtype::f16}) {
    Tensor rounded = Tensor::empty(shape, written, test::device());
    instance_norm_forward(x, bias_, bias_, 1e-5f, Activation::relu, rounded, mean, rstd, residual);
    EXPECT_TRUE(same_on_host(rounded, values.to(written)));
    const Tensor expected = next(as_f32(rounded));
    EXPECT_TRUE(same_on_host(next(rounded), expected));
    EXPECT_TRUE(same_on_host(upsampled(rounded), upsampled(as_f32(rounded))));
  }
}

TEST_P(RoundedResults, AreThoseOfAPool) {
  for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
    const Shape pooled = pool_of(first_, kind).output_shape();
    if (pooled.count() == 0) continue;
    Tensor output = output_of(pooled);
    PoolRoute route = PoolRoute::make(first_, kind, test::device());
    conv2d_pool2d_forward(first_, kind, input_, weight_of(first_), bias_, output, &route);
    const Tensor expected = next(output.clone());
    EXPECT_TRUE(same_on_host(next(output), expected));
  }
}

TEST_P(RoundedResults, AreThoseOfAPictureWhoseMeanIsTakenOff) {
  const Tensor mean = copy_on_device(random_uniform({chain_.in_c}, 9));
  Tensor plain = output_of(first_.input_shape()), left = output_of(first_.input_shape());
  add_per_channel(-2.0f, input_, mean, plain);
  add_per_channel(-2.0f, input_, mean, left, true);
  EXPECT_TRUE(same_on_host(left, plain));
  EXPECT_TRUE(same_on_host(next(left), next(plain)));
}

/// Two writers, of which the second adds, and one that writes after them.
TEST_P(RoundedResults, AreGradientsOfAPool) {
  for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
    const Shape pooled = pool_of(first_, kind).output_shape();
    if (pooled.count() == 0) continue;
    Tensor output = output_of(pooled);
    PoolRoute route = PoolRoute::make(first_, kind, test::device());
    conv2d_pool2d_forward(first_, kind, input_, weight_of(first_), bias_, output, &route);
    const Conv2dDesc second = conv3x3(pooled, chain_.out_c);
    const Tensor grad_output = copy_on_device(random_uniform(second.output_shape(), 4));
    const auto input_gradient = [&](const Tensor& grad) {
      Tensor result = output_of(first_.input_shape());
      conv2d_pool2d_backward_data(first_, weight_of(first_), route, grad, {}, result);
      return result;
    };
    Tensor grad = output_of(pooled), plain = output_of(pooled);
    for (const float beta : {0.0f, 1.0f}) {
      conv2d_backward_data(second, weight_of(second), grad_output, {beta}, grad, nullptr, &route);
      conv2d_backward_data(second, weight_of(second), grad_output, {beta}, plain);
      EXPECT_TRUE(same_on_host(grad, plain)) << "beta " << beta;
      const Tensor expected = input_gradient(plain);
      EXPECT_TRUE(same_on_host(input_gradient(grad), expected)) << "beta " << beta;
    }
    conv2d_backward_data(second, weight_of(second), grad_output, {}, grad, nullptr, &route);
    affine(3.0f, grad, 1.0f, grad);
    const Tensor expected = input_gradient(grad.clone());
    EXPECT_TRUE(same_on_host(input_gradient(grad), expected)) << "written to";
  }
}

TEST_P(RoundedResults, AreGradientsOfARelu) {
  const Conv2dDesc second = conv3x3(first_.output_shape(), chain_.out_c);
  const Tensor grad_output = copy_on_device(random_uniform(second.output_shape(), 4));
  BitMask positive(first_.output_shape(), test::device());
  positive_mask(copy_on_device(random_uniform(first_.output_shape(), 5)), positive);
  const auto input_gradient = [&](const Tensor& grad) {
    Tensor result = output_of(first_.input_shape());
    conv2d_backward_data(first_, weight_of(first_), grad, {}, result);
    return result;
  };
  for (const float beta : {0.0f, 1.0f}) {
    Tensor grad = copy_on_device(random_uniform(first_.output_shape(), 6));
    conv2d_backward_data(second, weight_of(second), grad_output, {beta, &positive}, grad);
    const Tensor expected = input_gradient(grad.clone());
    EXPECT_TRUE(same_on_host(input_gradient(grad), expected)) << "beta " << beta;
    conv2d_backward_data(second, weight_of(second), grad_output, {beta, &positive}, grad);
    conv2d_backward_data(second, weight_of(second), grad_output, {1.0f}, grad);
    const Tensor sum = input_gradient(grad.clone());
    EXPECT_TRUE(same_on_host(input_gradient(grad), sum)) << "added to, beta " << beta;
  }
}

/// Of a norm's input, for both gradients of the convolution before it.
TEST_P(RoundedResults, AreGradientsOfANorm) {
  const Shape shape = first_.output_shape(), statistics{chain_.n, chain_.c};
  const Tensor x = copy_on_device(random_uniform(shape, 10)), grad_output = copy_on_device(random_uniform(shape, 4)),
               mean = copy_on_device(random_uniform(statistics, 11)),
               rstd = copy_on_device(random_uniform(statistics, 12, 0.5f, 2.0f));
  const auto gradients = [&](const Tensor& grad) {
    Tensor input = output_of(first_.input_shape()), weight = output_of(first_.weight_shape());
    grad.share_derived();
    conv2d_backward_data(first_, weight_of(first_), grad, {}, input);
    conv2d_backward_weight(first_, input_, grad, 0.0f, weight);
    return std::pair(input, weight);
  };
  for (const float beta : {0.0f, 1.0f}) {
    Tensor grad = copy_on_device(random_uniform(shape, 6));
    instance_norm_backward(x, bias_, mean, rstd, grad_output, {.grad_input = &grad, .how = {beta}});
    const auto [expected_input, expected_weight] = gradients(grad.clone());
    const auto [input, weight] = gradients(grad);
    EXPECT_TRUE(same_on_host(input, expected_input)) << "beta " << beta;
    EXPECT_TRUE(same_on_host(weight, expected_weight)) << "beta " << beta;
  }
}

/// With `shares`, the next convolution leaves the features' operand to the style term, whose matrix has one, too.
TEST_P(RoundedResults, AreWhatAStyleTermAdds) {
  const Conv2dDesc second = conv3x3(first_.output_shape(), chain_.out_c);
  if (!adds_as_it_goes(second, test::device())) GTEST_SKIP() << "added by a pass of its own";
  const Tensor grad_output = copy_on_device(random_uniform(second.output_shape(), 4)),
               target = copy_on_device(random_uniform({1, chain_.c, chain_.c}, 8));
  for (const bool shares : {false, true}) {
    Tensor features = output_of(first_.output_shape());
    conv2d_forward(first_, input_, weight_of(first_), bias_, Activation::relu, features);
    if (shares) features.share_derived();
    const Tensor expected_next = next(features.clone()), actual_next = next(features);
    EXPECT_TRUE(same_on_host(actual_next, expected_next));
    Tensor matrix = output_of({1, chain_.c, chain_.c});
    gram_difference(features, 1.0f, target, 0.5f, matrix);
    const auto input_gradient = [&](const Tensor& f, const Tensor& m) {
      Tensor grad = output_of(second.input_shape());
      const GramContribution added{f, m};
      conv2d_backward_data(second, weight_of(second), grad_output, {}, grad, &added);
      return grad;
    };
    const Tensor expected = input_gradient(features.clone(), matrix.clone());
    EXPECT_TRUE(same_on_host(input_gradient(features, matrix), expected)) << shares;
    EXPECT_TRUE(same_on_host(input_gradient(features, matrix), expected)) << "once more";
  }
}

/// Of the last layer, above which no convolution adds it.
TEST_P(RoundedResults, AreAGradientOfAStyleTerm) {
  if (chain_.n > 1 || chain_.c % 8 != 0) GTEST_SKIP() << "one picture, and channels that fill an operand";
  const Tensor target = copy_on_device(random_uniform({1, chain_.c, chain_.c}, 8));
  Tensor features = output_of(first_.output_shape());
  conv2d_forward(first_, input_, weight_of(first_), bias_, Activation::relu, features);
  features.share_derived();
  BitMask positive(first_.output_shape(), test::device());
  positive_mask(features, positive);
  Tensor matrix = output_of({1, chain_.c, chain_.c});
  gram_difference(features, 1.0f, target, 0.5f, matrix);
  Tensor grad = output_of(features.shape()), plain = output_of(features.shape());
  gram_backward_symmetric(features.clone(), matrix.clone(), 2.0f, {0.0f, &positive}, plain);
  gram_backward_symmetric(features, matrix, 2.0f, {0.0f, &positive}, grad);
  EXPECT_LT(test::normalised_error(grad.to(Device::cpu()), test::to_doubles(plain.to(Device::cpu()))),
            chain_.precision == Precision::bf16 ? 5e-3 : 1e-30);
  const auto input_gradient = [&](const Tensor& of) {
    Tensor result = output_of(first_.input_shape());
    conv2d_backward_data(first_, weight_of(first_), of, {}, result);
    return result;
  };
  const Tensor expected = input_gradient(grad.clone());
  EXPECT_TRUE(same_on_host(input_gradient(grad), expected));
}

/// All tiles, maps so small that sums are in parts, channels that fill no operand, and 32 bits, where nothing is left.
INSTANTIATE_TEST_SUITE_P(
    Chains, RoundedResults,
    ::testing::Values(Chain{Precision::bf16, 1, 5, 7, 3, 8, 12}, Chain{Precision::bf16, 2, 12, 10, 8, 64, 8},
                      Chain{Precision::bf16, 1, 4, 7, 128, 72, 128}, Chain{Precision::bf16, 1, 12, 11, 16, 128, 20},
                      Chain{Precision::bf16, 1, 6, 5, 8, 12, 8}, Chain{Precision::fp16, 2, 9, 8, 6, 24, 12},
                      Chain{Precision::fp16, 1, 2, 3, 128, 40, 8}, Chain{Precision::tf32, 1, 5, 7, 3, 8, 12},
                      Chain{Precision::tf32, 2, 4, 7, 16, 72, 64}));

}  // namespace
}  // namespace minidl
