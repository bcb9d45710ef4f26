// backward_data of a convolution with the gradient of a Gram matrix as more terms of its sums.
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/precision_scope.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>
#include <support/sanitizer.h>

namespace minidl {
namespace {

using test::random_integers;
using test::throws_error;

struct AddedCase {
  const char* engine;
  Precision precision;
  int64_t h, w, in_c, out_c, k;
};
std::ostream& operator<<(std::ostream& out, const AddedCase& c) {
  return out << c.engine << " " << c.h << "x" << c.w << " " << c.in_c << "->" << c.out_c << " " << c.k << "x" << c.k;
}

Conv2dDesc desc_of(const AddedCase& c) {
  return Conv2dDesc::make({1, c.h, c.w, c.in_c}, {c.out_c, c.k, c.k, c.in_c}, {1, 1, Padding::zero(c.k / 2)});
}

class Conv2dAdded : public ::testing::TestWithParam<AddedCase> {
 protected:
  void SetUp() override {
    if (test::on_cpu()) GTEST_SKIP() << "engines of the CPU do not add: MINIDL_TEST_DEVICE=cuda";
    execution::set_conv2d_engine(GetParam().engine);
  }
  void TearDown() override { execution::set_conv2d_engine(""); }

  const execution::PrecisionScope scope_{GetParam().precision};
  const Conv2dDesc desc_ = desc_of(GetParam());
};

TEST_P(Conv2dAdded, IsTheSumOfBothOnIntegers) {
  if (test::kUnderSanitizer && desc_.in_c > 500) GTEST_SKIP() << "takes long, and goes where the others go";
  ASSERT_TRUE(adds_as_it_goes(desc_, test::device()));
  const Tensor weight = random_integers(desc_.weight_shape(), 1),
               grad_output = random_integers(desc_.output_shape(), 2),
               features = random_integers(desc_.input_shape(), 3, -2, 2),
               half = random_integers({1, desc_.in_c, desc_.in_c}, 4);
  Tensor matrix = half.clone();  // symmetric
  for (int64_t i = 0; i < desc_.in_c; ++i) {
    for (int64_t j = 0; j < i; ++j) matrix.data<float>()[j * desc_.in_c + i] = half.span<float>()[i * desc_.in_c + j];
  }
  const auto run = [&](const Tensor& w, const Tensor& g, const Tensor& f, const Tensor& m, const Accumulate& how,
                       Tensor& grad) {
    const GramContribution added{f, m};
    conv2d_backward_data(desc_, w, g, how, grad, &added);
  };
  Tensor expected = Tensor::full(desc_.input_shape(), NAN), grad = expected.clone();
  ON_DEVICE(conv2d_backward_data)(desc_, weight, grad_output, Accumulate{}, expected);
  ON_DEVICE(gram_backward_symmetric)(features, matrix, 1.0f, Accumulate{1.0f}, expected);
  test::OnDevice{run}(weight, grad_output, features, matrix, Accumulate{}, grad);
  EXPECT_TRUE(test::equals(grad, expected));
  EXPECT_TRUE(test::accumulates(desc_.input_shape(), [&](const Accumulate& how, Tensor& sum) {
    test::OnDevice{run}(weight, grad_output, features, matrix, how, sum);
  }));
}

/// Of a convolution that was pooled, as of one whose pooled gradient was spread before.
TEST_P(Conv2dAdded, IsAddedToAPooledGradient) {
  if (desc_.out_h() < 2 || desc_.out_w() < 2) GTEST_SKIP() << "no window of 2 x 2";
  if (test::kUnderSanitizer && desc_.in_c > 100) GTEST_SKIP() << "takes long, and goes where the others go";
  const Tensor weight = random_integers(desc_.weight_shape(), 1),
               features = random_integers(desc_.input_shape(), 3, -2, 2),
               matrix = Tensor::full({1, desc_.in_c, desc_.in_c}, 2.0f),
               input = random_integers(desc_.input_shape(), 5);
  for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
    const Tensor grad_output = random_integers(pool_of(desc_, kind).output_shape(), 2, -2, 2);
    const auto run = [&](const Tensor& x, const Tensor& w, const Tensor& g, const Tensor& f, const Tensor& m,
                         Tensor& expected, Tensor& grad) {
      PoolRoute route = PoolRoute::make(desc_, kind, x.device());
      Tensor output = Tensor::empty(g.shape(), Dtype::f32, x.device());
      conv2d_pool2d_forward(desc_, kind, x, w, Tensor(), output, &route);
      const GramContribution added{f, m};
      conv2d_pool2d_backward_data(desc_, w, route, g, {}, grad, &added);
      conv2d_backward_data(desc_, w, unpool_gradient(desc_, route, g), {}, expected, &added);
    };
    Tensor expected = Tensor::full(desc_.input_shape(), NAN), grad = expected.clone();
    test::OnDevice{run}(input, weight, grad_output, features, matrix, expected, grad);
    EXPECT_TRUE(test::equals(grad, expected));
  }
}

/// Terms of both kinds that end within a step and with one, more and fewer of one kind than of the other, all tiles,
/// and sums in parts, which may begin among the added ones.
const AddedCase kCases[] = {
    {"mma_tf32", Precision::tf32, 5, 7, 4, 8, 3},      {"mma_tf32", Precision::tf32, 9, 8, 16, 64, 3},
    {"mma_tf32", Precision::tf32, 13, 11, 68, 12, 3},  {"mma_tf32", Precision::tf32, 12, 23, 132, 4, 1},
    {"mma_tf32", Precision::tf32, 20, 17, 260, 36, 3}, {"mma_tf32", Precision::tf32, 4, 4, 64, 260, 3},
    {"mma_tf32", Precision::tf32, 3, 2, 516, 512, 1},  {"mma_tf32", Precision::tf32, 1, 1, 1028, 512, 1},
    {"mma_tf32", Precision::tf32, 1, 1, 1028, 8, 3},   {"mma_3xtf32", Precision::fp32, 9, 8, 16, 64, 3},
    {"mma_3xtf32", Precision::fp32, 4, 4, 64, 260, 3}, {"mma_bf16", Precision::bf16, 5, 7, 8, 8, 3},
    {"mma_bf16", Precision::bf16, 9, 8, 16, 64, 3},    {"mma_bf16", Precision::bf16, 12, 23, 136, 4, 1},
    {"mma_bf16", Precision::bf16, 4, 4, 64, 260, 3},   {"mma_bf16", Precision::bf16, 3, 2, 520, 512, 1},
    {"mma_bf16", Precision::bf16, 1, 1, 1032, 8, 3},
};
INSTANTIATE_TEST_SUITE_P(Cases, Conv2dAdded, ::testing::ValuesIn(kCases));

TEST(Conv2dAddedRefusals, WhatCannotBeAddedIsRefused) {
  const AddedCase usual{"", Precision::fp32, 4, 4, 8, 8, 3};
  const Conv2dDesc desc = desc_of(usual);
  EXPECT_FALSE(adds_as_it_goes(desc, Device::cpu()));
  const Tensor weight = Tensor::zeros(desc.weight_shape()), features = Tensor::zeros(desc.input_shape()),
               matrix = Tensor::zeros({1, 8, 8});
  Tensor grad = features.clone();
  const auto add = [&](const Tensor& f, const Tensor& m) {
    const GramContribution added{f, m};
    conv2d_backward_data(desc, weight, features, {}, grad, &added);
  };
  EXPECT_TRUE(throws_error([&] { add(features, matrix); }, "adds nothing as it goes"));
  EXPECT_TRUE(throws_error([&] { add(features, weight); }, "matrix has shape"));
  EXPECT_TRUE(throws_error([&] { add(matrix, matrix); }, "features has shape"));
  if (test::on_cpu()) return;
  const execution::PrecisionScope scope(Precision::tf32);
  EXPECT_TRUE(adds_as_it_goes(desc, test::device()));
  Conv2dDesc other = desc;
  other.n = 2;
  EXPECT_FALSE(adds_as_it_goes(other, test::device())) << "several pictures";
  other = Conv2dDesc::make({1, 4, 4, 3}, {8, 3, 3, 3}, {1, 1, Padding::zero(1)});
  EXPECT_FALSE(adds_as_it_goes(other, test::device())) << "channels that do not fill 16 bytes";
  other = Conv2dDesc::make({1, 4, 4, 8}, {8, 3, 3, 8}, {2, 2, Padding::zero(1)});
  EXPECT_FALSE(adds_as_it_goes(other, test::device())) << "strides";
  other = Conv2dDesc::make({1, 4, 4, 8}, {8, 3, 3, 8}, {1, 1, Padding::reflect(1)});
  EXPECT_FALSE(adds_as_it_goes(other, test::device())) << "reflected";
  const execution::PrecisionScope bf16(Precision::bf16);
  EXPECT_TRUE(adds_as_it_goes(desc, test::device()));
  const execution::PrecisionScope fp16(Precision::fp16);
  EXPECT_FALSE(adds_as_it_goes(desc, test::device())) << "numbers of style terms are too small for fp16";
}

}  // namespace
}  // namespace minidl
