// A pooled convolution against the three operations that it stands for, on every engine.
#include <minidl/core/allocator.h>
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/execution.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/instruction_sets.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>

namespace minidl {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class PooledConv2d : public ::testing::TestWithParam<const Conv2dEngine*> {
 protected:
  void SetUp() override {
    if (GetParam()->device != test::device().kind) GTEST_SKIP() << "an engine of another device";
    execution::set_conv2d_engine(GetParam()->name);
    execution::set_precision(GetParam()->grade);
  }
  void TearDown() override {
    execution::set_conv2d_engine("");
    execution::set_precision(Precision::fp32);
  }
};

INSTANTIATE_TEST_SUITE_P(All, PooledConv2d, ::testing::ValuesIn(conv2d_engines().begin(), conv2d_engines().end()),
                         [](const auto& engine) { return std::string(engine.param->name); });

/// What engines of the CPU cut into several tasks.
Conv2dDesc several_tasks() {
  return Conv2dDesc::make({1, 34, 37, 64}, {64, 3, 3, 64}, {1, 1, Padding::replicate(1)});
}

/// Whole tiles and ragged ones, a last row or column outside every window, channels beside whole vectors.
std::vector<Conv2dDesc> cases() {
  std::vector<Conv2dDesc> all;
  for (const auto& [input, out_c, padding] : {std::tuple{Shape{1, 8, 12, 16}, 16, Padding::zero(1)},
                                              {Shape{2, 9, 11, 16}, 24, Padding::zero(1)},
                                              {Shape{1, 6, 7, 24}, 40, Padding::reflect(1)},
                                              {Shape{1, 7, 9, 32}, 32, Padding::zero(2)},
                                              {Shape{1, 4, 5, 16}, 16, Padding()},
                                              {Shape{1, 13, 5, 20}, 19, Padding::zero(1)},
                                              {Shape{1, 9, 8, 3}, 16, Padding::zero(1)},
                                              {Shape{1, 2, 2, 64}, 72, Padding::zero(1)}}) {
    all.push_back(Conv2dDesc::make(input, {out_c, 3, 3, input[3]}, {1, 1, padding}));
  }
  all.push_back(Conv2dDesc::make({1, 9, 9, 4}, {8, 5, 3, 4}, {2, 1, Padding::zero(1)}));
  if (!test::on_emulated_device()) all.push_back(several_tasks());
  return all;
}

/// The three operations one after the other.
struct Apart {
  Pool2dDesc pool;
  Tensor whole, choice, output;
  BitMask positive;

  Apart(const Conv2dDesc& desc, PoolKind kind, const Tensor& input, const Tensor& weight, const Tensor& bias)
      : pool(pool_of(desc, kind)),
        whole(Tensor::empty(desc.output_shape())),
        output(Tensor::empty(pool.output_shape())),
        positive(desc.output_shape(), Device::cpu()) {
    if (kind == PoolKind::max) choice = Tensor::empty(pool.output_shape(), Dtype::u8);
    ON_DEVICE(conv2d_forward)(desc, input, weight, bias, Activation::relu, whole, &positive);
    ON_DEVICE(pool2d_forward)(pool, whole, output, choice);
  }
  Tensor unpooled(const Tensor& grad_output) const {
    Tensor grad = Tensor::empty(whole.shape());
    ON_DEVICE(pool2d_backward)(pool, choice, grad_output, Accumulate{0.0f, &positive}, grad);
    return grad;
  }
};

TEST_P(PooledConv2d, HasTheBytesOfTheOperationsApart) {
  for (const Conv2dDesc& desc : cases()) {
    for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
      const Tensor input = random_uniform(desc.input_shape(), 1), weight = random_uniform(desc.weight_shape(), 2),
                   bias = random_uniform({desc.out_c}, 3);
      const Apart apart(desc, kind, input, weight, bias);
      Tensor output = Tensor::full(apart.output.shape(), kNan), unrecorded = output.clone();
      PoolRoute route = PoolRoute::make(desc, kind, Device::cpu());
      ON_DEVICE(conv2d_pool2d_forward)(desc, kind, input, weight, bias, output, &route);
      ON_DEVICE(conv2d_pool2d_forward)(desc, kind, input, weight, bias, unrecorded, nullptr);
      EXPECT_TRUE(same_bytes(output, apart.output)) << desc.str();
      EXPECT_TRUE(same_bytes(unrecorded, apart.output)) << desc.str();

      const Tensor grad_output = random_uniform(output.shape(), 4), before = random_uniform(desc.input_shape(), 5);
      const Tensor unpooled = ON_DEVICE(unpool_gradient)(desc, route, grad_output);
      EXPECT_TRUE(same_bytes(unpooled, apart.unpooled(grad_output))) << desc.str();
      const BitMask mask = test::positive(random_uniform(desc.input_shape(), 6));
      for (const float beta : {0.0f, 1.0f, -0.5f}) {
        for (const BitMask* relu_mask : {static_cast<const BitMask*>(nullptr), &mask}) {
          Tensor expected = before.clone(), actual = beta == 0.0f ? Tensor::full(before.shape(), kNan) : before.clone();
          ON_DEVICE(conv2d_backward_data)(desc, weight, unpooled, Accumulate{beta, relu_mask}, expected);
          ON_DEVICE(conv2d_pool2d_backward_data)(desc, weight, route, grad_output, Accumulate{beta, relu_mask}, actual);
          EXPECT_TRUE(same_bytes(actual, expected)) << desc.str() << " beta " << beta;
        }
      }
    }
  }
}

TEST_P(PooledConv2d, BytesDoNotDependOnThreads) {
  if (test::on_emulated_device()) GTEST_SKIP() << test::kEmulatedOnce;
  const Conv2dDesc desc = several_tasks();
  const Tensor input = random_uniform(desc.input_shape(), 1), weight = random_uniform(desc.weight_shape(), 2);
  for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
    EXPECT_TRUE(test::same_for_all_threads([&] {
      PoolRoute route = PoolRoute::make(desc, kind, Device::cpu());
      Tensor output = Tensor::empty(pool_of(desc, kind).output_shape()), grad_input = Tensor::empty(desc.input_shape());
      ON_DEVICE(conv2d_pool2d_forward)(desc, kind, input, weight, Tensor(), output, &route);
      ON_DEVICE(conv2d_pool2d_backward_data)(desc, weight, route, output, Accumulate{}, grad_input);
      return grad_input;
    }));
  }
}

/// An engine that pools as it goes allocates nothing of the size of the convolution's output.
TEST_P(PooledConv2d, ValuesInBetweenAreNotKept) {
  const int64_t extent = test::on_emulated_device() ? 64 : 256, in_c = test::on_emulated_device() ? 8 : 16;
  const Conv2dDesc desc = Conv2dDesc::make({1, extent, extent, in_c}, {64, 3, 3, in_c}, {1, 1, Padding::zero(1)});
  const Conv2dProblem forward{desc, Conv2dDirection::forward}, backward{desc, Conv2dDirection::backward_data};
  if (!pools_as_it_goes(forward, test::device())) GTEST_SKIP() << "this engine does not pool";
  EXPECT_TRUE(pools_as_it_goes(backward, test::device()));
  const Tensor input = random_uniform(desc.input_shape(), 1), weight = random_uniform(desc.weight_shape(), 2);
  Tensor output = Tensor::empty(pool_of(desc, PoolKind::max).output_shape());
  Allocator& memory = allocator(test::device());
  memory.reset_peak();
  const int64_t before = memory.stats().in_use;
  ON_DEVICE(conv2d_pool2d_forward)(desc, PoolKind::max, input, weight, Tensor(), output, nullptr);
  const int64_t whole = desc.output_shape().count() * 4;
  // On a device, copies of the arguments are among it.
  EXPECT_LT(memory.stats().peak_in_use - before, test::on_cpu() ? whole / 2 : whole);
}

TEST(PooledConv2dInstructionSets, HaveTheBytesOfTheOperationsApart) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 7, 10, 24}, {24, 3, 3, 24}, {1, 1, Padding::zero(1)});
  const Tensor input = random_uniform(desc.input_shape(), 1), weight = random_uniform(desc.weight_shape(), 2);
  for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
    test::for_each_instruction_set([&](const char* name) {
      const Apart apart(desc, kind, input, weight, {});
      Tensor output = Tensor::empty(apart.output.shape()), grad_input = Tensor::empty(desc.input_shape()),
             expected = grad_input.clone();
      PoolRoute route = PoolRoute::make(desc, kind, Device::cpu());
      ON_DEVICE(conv2d_pool2d_forward)(desc, kind, input, weight, Tensor(), output, &route);
      EXPECT_TRUE(same_bytes(output, apart.output)) << name;
      ON_DEVICE(conv2d_pool2d_backward_data)(desc, weight, route, output, Accumulate{}, grad_input);
      ON_DEVICE(conv2d_backward_data)(desc, weight, apart.unpooled(output), Accumulate{}, expected);
      EXPECT_TRUE(same_bytes(grad_input, expected)) << name;
    });
  }
}

TEST(PooledConv2dChecks, BadArgumentsAreNamed) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 8, 8, 16}, {16, 3, 3, 16}, {1, 1, Padding::zero(1)});
  const Conv2dDesc tiny = Conv2dDesc::make({1, 1, 8, 16}, {16, 3, 3, 16}, {1, 1, Padding::zero(1)});
  Tensor x = Tensor::zeros(desc.input_shape()), weight = Tensor::zeros(desc.weight_shape()),
         output = Tensor::zeros({1, 4, 4, 16});
  PoolRoute max = PoolRoute::make(desc, PoolKind::max, Device::cpu());
  const auto forward = [&](const Tensor& input, const Tensor& w, const Tensor& bias, Tensor& y, PoolRoute* route) {
    ON_DEVICE(conv2d_pool2d_forward)(desc, PoolKind::average, input, w, bias, y, route);
  };
  EXPECT_TRUE(throws_error([&] { pool_of(tiny, PoolKind::max); }, "[pool2d] window 2x2 is larger"));
  EXPECT_TRUE(throws_error([&] { forward(output, weight, {}, output, nullptr); }, "[conv2d_pool2d] input"));
  EXPECT_TRUE(throws_error([&] { forward(x, x, {}, output, nullptr); }, "[conv2d_pool2d] weight"));
  EXPECT_TRUE(throws_error([&] { forward(x, weight, x, output, nullptr); }, "[conv2d_pool2d] bias"));
  EXPECT_TRUE(throws_error([&] { forward(x, weight, {}, x, nullptr); }, "[conv2d_pool2d] output"));
  PoolRoute empty{.kind = PoolKind::average, .choice = {}, .positive = {}, .shape = {}};
  EXPECT_TRUE(throws_error([&] { forward(x, weight, {}, output, &empty); }, "the route does not belong to"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(conv2d_pool2d_backward_data)
        (desc, weight, max, x, Accumulate{}, x);
      },
      "grad_output"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(conv2d_pool2d_backward_data)
        (desc, weight, max, output, Accumulate{}, output);
      },
      "grad_input"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(unpool_gradient)(desc, empty, output); }, "the route does not belong to"));
}

}  // namespace
}  // namespace minidl
