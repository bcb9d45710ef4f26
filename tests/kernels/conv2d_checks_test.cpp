// What does not depend on the engine: descriptions, checks, the gradient of the bias; and the cache of filters.
#include <minidl/core/allocator.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/precision_scope.h>

#include <support/compare.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/random_tensors.h>

namespace minidl {
namespace {

using test::random_integers;
using test::random_uniform;

TEST(Conv2d, KeepsNoMoreFiltersThanAllowed) {
  if (!test::on_cpu()) GTEST_SKIP() << "about an engine of the CPU";
  Allocator& memory = allocator(Device::cpu());
  const Conv2dDesc desc = Conv2dDesc::make({1, 4, 4, 256}, {256, 3, 3, 256}, {1, 1, Padding::zero(1)});
  const Tensor input = random_uniform(desc.input_shape(), 1);
  const auto kept = [&](int64_t allowed) {
    const int64_t before = execution::filter_cache();
    execution::set_filter_cache(allowed);
    execution::set_conv2d_engine("winograd");
    const Tensor weight = random_uniform(desc.weight_shape(), 2);
    Tensor output = Tensor::empty(desc.output_shape());
    const int64_t in_use = memory.stats().in_use;
    for (int i = 0; i < 3; ++i) conv2d_forward(desc, input, weight, {}, Activation::none, output);
    execution::set_conv2d_engine("");
    execution::set_filter_cache(before);
    return memory.stats().in_use - in_use;
  };
  EXPECT_EQ(kept(0), 0);
  EXPECT_GE(kept(64 << 20), int64_t{36} * 256 * 256 * 4);
  EXPECT_TRUE(test::throws_error([] { execution::set_filter_cache(-1); }, "-1 bytes"));
}

TEST(Conv2d, BiasGradientSumsOverPositions) {
  const Tensor grad_output = random_integers({3, 5, 7, 33}, 1);
  Tensor grad_bias = random_integers({33}, 2);
  std::vector<double> expected = test::to_doubles(grad_bias);
  for (int64_t i = 0; i < grad_output.count(); ++i)
    expected[static_cast<size_t>(i % 33)] += static_cast<double>(grad_output.data<float>()[i]);
  ON_DEVICE(conv2d_backward_bias)(grad_output, 1.0f, grad_bias);
  EXPECT_TRUE(test::equals(grad_bias, expected));
  Tensor wrong = Tensor::empty({32});
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(conv2d_backward_bias)
        (grad_output, 0.0f, wrong);
      },
      "grad_bias has shape [32], it must be [33]"));
}

TEST(Conv2dDesc, ComputesShapesAndWork) {
  const Conv2dDesc desc = Conv2dDesc::make({2, 224, 200, 3}, {64, 7, 5, 3}, {2, 3, {Padding::Mode::zero, 3, 2, 1, 0}});
  EXPECT_EQ(desc.output_shape(), (Shape{2, 112, 66, 64}));
  EXPECT_EQ(desc.flops(), 2.0 * 2 * 112 * 66 * 64 * 7 * 5 * 3);
  EXPECT_EQ(desc.str(), "input [2,224,200,3] weight [64,7,5,3] stride 2x3 padding zero(3,2,1,0)");
}

TEST(Conv2dDesc, RefusesWhatDoesNotFit) {
  struct Bad {
    Shape input, weight;
    Window window;
    const char* words;
  };
  const int64_t huge = int64_t{1} << 62;
  const Bad bad[] = {
      {{1, 512, 512, 3},
       {64, 3, 3, 64},
       {},
       "[conv2d] weight expects 64 input channels, input has 3 (input [1,512,512,3], weight [64,3,3,64])"},
      {{512, 512, 3}, {64, 3, 3, 3}, {}, "input [512,512,3] must have 4 dimensions"},
      {{1, 5, 5, 3}, {64, 3}, {}, "weight [64,3] must have 4 dimensions"},
      {{0, 5, 5, 3}, {64, 3, 3, 3}, {}, "input [0,5,5,3] and weight [64,3,3,3] must not be empty"},
      {{1, 5, 5, 3}, {4, 0, 3, 3}, {}, "must not be empty"},
      {{1, 5, 5, 3}, {4, 3, 3, 3}, {0, 1, {}}, "stride 0x1 must be at least 1"},
      {{1, 5, 5, 3}, {4, 3, 3, 3}, {1, -2, {}}, "stride 1x-2 must be at least 1"},
      {{1, 5, 5, 3},
       {4, 3, 3, 3},
       {1, 1, {Padding::Mode::reflect, 0, -1, 0, 0}},
       "padding reflect(0,-1,0,0) must not be negative"},
      {{1, 2, 5, 3},
       {4, 3, 3, 3},
       {},
       "the kernel of weight [4,3,3,3] is larger than input [1,2,5,3] with padding zero(0,0,0,0)"},
      {{1, 5, 2, 3}, {4, 3, 5, 3}, {1, 1, Padding::zero(1)}, "the output would be empty"},
      {{1, 5, 5, 3}, {4, 3, 3, 3}, {1, 1, Padding::zero(huge)}, "too many"},
      {{1, 5, 5, 3}, {4, 3, 3, 3}, {1, 1, Padding::zero(int64_t{1} << 40)}, "too large"},
      {{1, 5, 5, 1}, {huge / 16, 1, 1, 1}, {}, "too large"},
  };
  for (const Bad& b : bad) {
    EXPECT_TRUE(test::throws_error([&] { Conv2dDesc::make(b.input, b.weight, b.window); }, b.words));
  }
}

TEST(Conv2d, RefusesTensorsThatDoNotFitTheDescription) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 4, 4, 2}, {3, 3, 3, 2}, {});
  const Tensor input = Tensor::zeros(desc.input_shape()), weight = Tensor::zeros(desc.weight_shape()),
               bias = Tensor::zeros({3});
  Tensor output = Tensor::zeros(desc.output_shape()), other = Tensor::zeros({1, 4, 4, 1}),
         whole = Tensor::zeros({3}, Dtype::i32);
  const auto refused = [&](const Tensor& x, const Tensor& w, const Tensor& b, Tensor& y, const char* words) {
    return test::throws_error([&] { ON_DEVICE(conv2d_forward)(desc, x, w, b, Activation::none, y); }, words);
  };
  EXPECT_TRUE(refused(other, weight, bias, output, "[conv2d] input has shape [1,4,4,1], it must be [1,4,4,2]"));
  EXPECT_TRUE(refused(input, other, bias, output, "[conv2d] weight has shape [1,4,4,1], it must be [3,3,3,2]"));
  EXPECT_TRUE(refused(input, weight, other, output, "[conv2d] bias has shape [1,4,4,1], it must be [3]"));
  EXPECT_TRUE(refused(input, weight, whole, output, "[conv2d] bias [3] holds i32, it must be f32"));
  EXPECT_TRUE(refused(input, weight, bias, other, "[conv2d] output has shape [1,4,4,1], it must be [1,2,2,3]"));
  EXPECT_TRUE(refused(Tensor(), weight, bias, output, "[conv2d] input is undefined"));
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(conv2d_backward_data)
        (desc, weight, other, Accumulate{}, other);
      },
      "[conv2d backward_data] grad_output"));
  const BitMask wrong_mask = test::positive(other);
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(conv2d_backward_data)(desc, weight, output, Accumulate{0.0f, &wrong_mask}, other);
      },
      "grad_input has shape"));
  Tensor grad_input = Tensor::zeros(desc.input_shape());
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(conv2d_backward_data)(desc, weight, output, Accumulate{0.0f, &wrong_mask}, grad_input);
      },
      "relu_mask has shape"));
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(conv2d_backward_weight)
        (desc, input, output, 0.0f, other);
      },
      "[conv2d backward_weight] grad_weight"));
}

TEST(Conv2d, AnInputOf16BitsIsReadAsItsValues) {
  const Conv2dDesc desc = Conv2dDesc::make({2, 6, 5, 8}, {16, 3, 3, 8}, {1, 1, Padding::reflect(1)});
  const Conv2dDesc wide = Conv2dDesc::make({1, 12, 13, 3}, {16, 9, 9, 3}, {1, 1, Padding::reflect(4)});
  std::vector<Precision> precisions = {Precision::fp32, Precision::tf32, Precision::bf16};
  if (!test::on_cpu()) precisions.push_back(Precision::fp16);
  for (const Precision precision : precisions) {
    const execution::PrecisionScope scope(precision);
    for (const Conv2dDesc& d : {desc, wide}) {
      const Tensor values = random_integers(d.input_shape(), 1), w = random_integers(d.weight_shape(), 2);
      Tensor expected = Tensor::full(d.output_shape(), NAN);
      ON_DEVICE(conv2d_forward)(d, values, w, Tensor(), Activation::none, expected, nullptr);
      for (const Dtype type : {Dtype::bf16, Dtype::f16}) {
        Tensor output = Tensor::full(d.output_shape(), NAN);
        ON_DEVICE(conv2d_forward)(d, values.to(type), w, Tensor(), Activation::none, output, nullptr);
        EXPECT_TRUE(test::same_bytes(output, expected)) << to_string(precision) << " " << d.str();
      }
    }
  }
  const Tensor weight = random_integers(desc.weight_shape(), 2);
  EXPECT_EQ(conv2d_input_type(Device::cpu(), 8), Dtype::f32);
  Tensor output = Tensor::empty(desc.output_shape());
  EXPECT_TRUE(test::throws_error(
      [&] { conv2d_forward(desc, Tensor::empty(desc.input_shape(), Dtype::u8), weight, {}, Activation::none, output); },
      "input [2,6,5,8] holds u8, it must be f32"));
  EXPECT_TRUE(test::throws_error(
      [&] {
        conv2d_forward(desc, Tensor::empty({2, 6, 5, 4}, Dtype::bf16), weight, {}, Activation::none, output);
      },
      "input has shape [2,6,5,4], it must be [2,6,5,8]"));
}

/// Chunks of 16 bytes of what is gathered are counted in 32 bits.
TEST(Conv2d, TensorCoresLeaveTheLargestTensorsToOthers) {
  if (test::on_cpu()) GTEST_SKIP() << "tensor cores are those of a CUDA device";
  using enum Conv2dDirection;
  const auto engine = [](const Shape& input, int64_t out_c, Conv2dDirection direction, int64_t kernel = 1) {
    const Conv2dDesc desc = Conv2dDesc::make(input, {out_c, kernel, kernel, input[3]}, {});
    return std::string(conv2d_engine_for({desc, direction}, test::device()).name);
  };
  for (const auto& [precision, most] : {std::pair{Precision::tf32, 64}, {Precision::bf16, 128}}) {
    const execution::PrecisionScope scope(precision);
    const std::string mma = "mma_" + std::string(to_string(precision));
    EXPECT_EQ(engine({2, (1 << 12) - 1, 1 << 14, most}, 8, forward), mma);
    EXPECT_EQ(engine({2, 1 << 12, 1 << 14, most}, 8, forward), "simt");
    EXPECT_EQ(engine({1, 1 << 13, 1 << 14, most}, 8, backward_data), mma);
    EXPECT_EQ(engine({1, 1 << 13, 1 << 14, 8}, most, backward_data), "simt");
    EXPECT_EQ(engine({1, 1 << 13, 1 << 14, most}, most, backward_weight), mma);
  }
  const execution::PrecisionScope scope(Precision::tf32);
  EXPECT_EQ(engine({1, 1 << 14, 1 << 14, 3}, 8, forward, 3), "mma_tf32");
  EXPECT_EQ(engine({1, 1 << 14, 1 << 14, 3}, 8, forward, 12), "simt") << "36 numbers of a row of taps for each pixel";
}

TEST(Conv2d, RowsNeedPaddingOfZerosSmallerThanTheKernel) {
  const auto desc = [](const Padding& padding) {
    return Conv2dDesc::make({1, 9, 9, 4}, {4, 3, 3, 4}, {1, 1, padding});
  };
  EXPECT_TRUE(has_rows(desc(Padding::zero(2))));
  EXPECT_FALSE(has_rows(desc(Padding::zero(3))));
  EXPECT_FALSE(has_rows(desc(Padding::reflect(1))));
  EXPECT_TRUE(test::throws_error([&] { conv2d_rows(desc(Padding::reflect(1)), 0, 1); }, "a padding of zeros"));
  EXPECT_TRUE(test::throws_error([&] { conv2d_rows(desc(Padding::zero(1)), 4, 10); }, "rows 4 to 10"));
}

}  // namespace
}  // namespace minidl
