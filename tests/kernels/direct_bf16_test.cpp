// Pictures that are cut into regions in both dimensions, against another engine on integers, with which both are exact;
// conv2d_test has the small ones.
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/execution.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/sanitizer.h>
#include <support/threads.h>

#include <utility>

namespace minidl {
namespace {

using test::random_integers;

class DirectBf16 : public ::testing::Test {
 protected:
  void SetUp() override { execution::set_precision(Precision::bf16); }
  void TearDown() override {
    execution::set_conv2d_engine("");
    execution::set_precision(Precision::fp32);
  }
};

/// What `compute` gives with this engine is what it gives with im2col.
void expect_exact(const Conv2dDesc& desc, const std::function<Tensor()>& compute) {
  execution::set_conv2d_engine("im2col");
  const Tensor expected = compute();
  execution::set_conv2d_engine("direct_bf16");
  EXPECT_TRUE(test::equals(compute(), expected)) << desc.str();
}

/// More than what is rounded as a whole picture; regions of unequal height and width.
std::vector<Conv2dDesc> large_cases() {
  return {Conv2dDesc::make({1, 271, 517, 64}, {40, 3, 3, 64}, {1, 1, Padding::zero(1)}),
          Conv2dDesc::make({1, 541, 1035, 16}, {8, 3, 3, 16}, {2, 2, Padding::reflect(1)}),
          Conv2dDesc::make({2, 190, 301, 160}, {16, 1, 1, 160}, {}),
          Conv2dDesc::make({1, 601, 1403, 11}, {24, 2, 5, 11}, {1, 1, {Padding::Mode::replicate, 0, 1, 3, 1}})};
}

/// The large cases are what they are for: other pictures are rounded whole.
TEST_F(DirectBf16, CutsLargePictures) {
  for (const Conv2dDesc& desc : large_cases()) {
    const Conv2dProblem problem{desc, Conv2dDirection::forward};
    execution::set_conv2d_engine("direct_bf16");
    const Conv2dEngine& engine = conv2d_engine_for(problem, Device::cpu());
    ASSERT_STREQ(engine.name, "direct_bf16");
    const test::WithThreads one(1);
    EXPECT_LT(engine.workspace_bytes(problem), desc.input_shape().count() * 2 / 4) << desc.str();
  }
}

TEST_F(DirectBf16, RegionsAddUpToThePicture) {
  std::vector<Conv2dDesc> cases = large_cases();
  if (test::kUnderSanitizer) cases.resize(2, cases.front());
  for (const Conv2dDesc& desc : cases) {
    const Tensor input = random_integers(desc.input_shape(), 1), weight = random_integers(desc.weight_shape(), 2),
                 bias = random_integers({desc.out_c}, 3);
    expect_exact(desc, [&] {
      Tensor output = Tensor::empty(desc.output_shape());
      BitMask mask(desc.output_shape(), Device::cpu());
      conv2d_forward(desc, input, weight, bias, Activation::relu, output, &mask);
      int64_t wrong = 0;
      for (int64_t i = 0; i < output.count(); ++i)
        wrong += mask.span()[i] != (std::as_const(output).data<float>()[i] > 0.0f);
      EXPECT_EQ(wrong, 0) << desc.str();
      return output;
    });
    const Tensor grad_output = random_integers(desc.output_shape(), 4), before = random_integers(desc.input_shape(), 5);
    const BitMask relu_mask = test::positive(random_integers(desc.input_shape(), 6));
    expect_exact(desc, [&] {
      Tensor grad_input = before.clone();
      conv2d_backward_data(desc, weight, grad_output, {2.0f, &relu_mask}, grad_input);
      return grad_input;
    });
  }
}

/// Of the kinds of pooling, the one that keeps choices.
TEST_F(DirectBf16, PoolsInRegions) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 271, 517, 64}, {64, 3, 3, 64}, {1, 1, Padding::zero(1)});
  constexpr PoolKind kKind = PoolKind::max;
  const Tensor input = random_integers(desc.input_shape(), 1), weight = random_integers(desc.weight_shape(), 2);
  const Shape pooled = pool_of(desc, kKind).output_shape();
  const Tensor grad_output = random_integers(pooled, 4);
  Tensor output = Tensor::empty(pooled);
  expect_exact(desc, [&] {
    PoolRoute route = PoolRoute::make(desc, kKind, Device::cpu());
    Tensor grad_input = Tensor::empty(desc.input_shape());
    conv2d_pool2d_forward(desc, kKind, input, weight, {}, output, &route);
    conv2d_pool2d_backward_data(desc, weight, route, grad_output, {}, grad_input);
    return grad_input;
  });
  expect_exact(desc, [&] {
    conv2d_pool2d_forward(desc, kKind, input, weight, {}, output, nullptr);
    return output.clone();
  });
}

TEST_F(DirectBf16, SameBytesForAllThreadCounts) {
  execution::set_conv2d_engine("direct_bf16");
  for (const Conv2dDesc& desc : {large_cases()[1], large_cases()[2]}) {
    const Tensor input = test::random_uniform(desc.input_shape(), 1),
                 weight = test::random_uniform(desc.weight_shape(), 2);
    EXPECT_TRUE(test::same_for_all_threads([&] {
      Tensor output = Tensor::empty(desc.output_shape());
      conv2d_forward(desc, input, weight, {}, Activation::none, output);
      return output;
    })) << desc.str();
  }
}

/// Filters of a weight that is used with several strides, each of which packs them in another order, and with pictures
/// of which some phases of a stride have no pixel.
TEST_F(DirectBf16, KeepsFiltersForEachStride) {
  const Tensor weight = random_integers({16, 3, 3, 5}, 1);
  const Tensor inputs[] = {random_integers({1, 14, 13, 5}, 2), random_integers({1, 1, 2, 5}, 3)};
  for (int repeat = 0; repeat < 6; ++repeat) {
    const Tensor& input = inputs[repeat % 2];
    for (const int64_t stride : {1, 2, 3, 5}) {
      const Conv2dDesc desc = Conv2dDesc::make(input.shape(), weight.shape(), {stride, stride, Padding::zero(1)});
      const Tensor grad_output = random_integers(desc.output_shape(), 3);
      expect_exact(desc, [&] {
        Tensor output = Tensor::empty(desc.output_shape());
        conv2d_forward(desc, input, weight, {}, Activation::none, output);
        return output;
      });
      expect_exact(desc, [&] {
        Tensor grad_input = Tensor::empty(desc.input_shape());
        conv2d_backward_data(desc, weight, grad_output, {}, grad_input);
        return grad_input;
      });
    }
  }
}

/// At bf16 it takes what its instructions do faster than any other engine.
TEST_F(DirectBf16, ServesWhatItIsFastestFor) {
  if (!cpu::bf16_body()) GTEST_SKIP() << "this machine has no bf16 instructions, or they are switched off";
  const auto engine = [](const Shape& input, const Shape& weight, int64_t stride) {
    const Conv2dDesc desc = Conv2dDesc::make(input, weight, {stride, stride, Padding::zero(weight[1] / 2)});
    return std::string(conv2d_engine_for({desc, Conv2dDirection::forward}, Device::cpu()).name);
  };
  EXPECT_EQ(engine({1, 64, 64, 32}, {64, 3, 3, 32}, 2), "direct_bf16");
  EXPECT_EQ(engine({1, 64, 64, 32}, {64, 1, 1, 32}, 1), "direct_bf16");
  EXPECT_EQ(engine({1, 64, 64, 3}, {32, 9, 9, 3}, 1), "direct_bf16");
  EXPECT_EQ(engine({1, 64, 64, 32}, {3, 9, 9, 32}, 1), "direct");
  EXPECT_EQ(engine({1, 64, 64, 3}, {64, 3, 3, 3}, 1), "direct");
  EXPECT_EQ(engine({1, 64, 64, 64}, {64, 3, 3, 64}, 1), "winograd_bf16");
  EXPECT_EQ(engine({1, 32, 32, 64}, {64, 3, 3, 64}, 1), cpu::amx_available() ? "direct_bf16" : "winograd_bf16");
  execution::set_precision(Precision::fp32);
  EXPECT_EQ(engine({1, 64, 64, 32}, {64, 3, 3, 32}, 2), "im2col");
}

}  // namespace
}  // namespace minidl
