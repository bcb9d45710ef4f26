#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/instance_norm.h>
#include <minidl/kernels/pad.h>
#include <minidl/kernels/pool2d.h>
#include <minidl/kernels/reduce.h>
#include <minidl/kernels/upsample.h>
#include <support/compare.h>
#include <support/instruction_sets.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>

#include <limits>

namespace minidl {
namespace {

using test::for_each_instruction_set;
using test::random_integers;
using test::random_uniform;

/// `compute` gives the same bytes with every instruction set.
void expect_same_bytes(const std::function<std::vector<Tensor>()>& compute) {
  std::vector<Tensor> first;
  for_each_instruction_set([&](const char* name) {
    const std::vector<Tensor> results = compute();
    if (first.empty()) first = results;
    for (size_t i = 0; i < results.size(); ++i)
      EXPECT_TRUE(test::same_bytes(results[i], first[i])) << name << ", result " << i;
  });
}

/// Channels beside whole vectors of every width, and few.
const std::vector<Shape> kShapes = {{2, 6, 5, 1}, {1, 9, 8, 3}, {1, 6, 7, 19}, {1, 40, 37, 65}};

TEST(InstructionSets, ElementwiseGivesTheSameBytes) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 1), y = random_uniform(shape, 2);
    expect_same_bytes([&] {
      const BitMask positive_x = test::positive(x), positive_y = test::positive(y);
      std::vector<Tensor> out(5);
      for (Tensor& tensor : out) tensor = x.clone();
      add_scaled(0.3f, x, 0.7f, y, out[0]);
      relu_forward(x, out[1]);
      clamp(out[2], -0.5f, 0.25f);
      accumulate_difference(0.9f, x, y, {0.7f, &positive_y}, out[3]);
      tanh_backward(y, 2.0f, x, {1.0f, &positive_x}, out[4]);
      return out;
    });
  }
}

/// Where each element of `output` is positive, and nowhere else.
::testing::AssertionResult marks_positive(const BitMask& mask, const Tensor& output) {
  const std::span<const float> values = output.span<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (mask.span()[static_cast<int64_t>(i)] != (values[i] > 0.0f))
      return ::testing::AssertionFailure() << "bit " << i << " beside " << values[i];
  }
  return ::testing::AssertionSuccess();
}

TEST(InstructionSets, MasksFitTheirTensorsAndGradientsTheirMasks) {
  for (const int64_t channels : {1, 3, 8, 19, 24, 64, 72}) {
    for (const int64_t inputs : {3, 16}) {
      const Conv2dDesc desc = Conv2dDesc::make({2, 6, 9, inputs}, {channels, 3, 3, inputs}, {1, 1, Padding::zero(1)});
      const Tensor input = random_uniform(desc.input_shape(), 1), weight = random_uniform(desc.weight_shape(), 2);
      const BitMask open = test::positive(input);
      for_each_instruction_set([&](const char* name) {
        for (const Conv2dEngine* engine : conv2d_engines()) {
          if (engine->device != Device::Kind::cpu) continue;
          execution::set_conv2d_engine(engine->name);
          const std::string what = std::string(name) + ", " + engine->name + ", " + desc.str();
          Tensor output = Tensor::empty(desc.output_shape());
          BitMask mask(output.shape(), output.device());
          std::fill_n(mask.data(), output.count() / 8, uint8_t{0xff});
          conv2d_forward(desc, input, weight, {}, Activation::relu, output, &mask);
          EXPECT_TRUE(marks_positive(mask, output)) << what;
          EXPECT_TRUE(marks_positive(test::positive(output), output)) << what;
          Tensor whole = Tensor::empty(desc.input_shape()), masked = whole.clone();
          conv2d_backward_data(desc, weight, output, {}, whole);
          conv2d_backward_data(desc, weight, output, {0.0f, &open}, masked);
          for (int64_t i = 0; i < masked.count(); ++i) {
            ASSERT_EQ(std::as_const(masked).span<float>()[i],
                      open.span()[i] ? std::as_const(whole).span<float>()[i] : 0.0f)
                << what << " at " << i;
          }
        }
        execution::set_conv2d_engine("");
      });
    }
  }
}

/// Few and many channels on either side, beside whole vectors of every width; strides, and windows over every edge.
TEST(InstructionSets, ConvolutionsGiveTheGradientOfTheirFilters) {
  const std::pair<Conv2dDesc, bool> cases[] = {
      {Conv2dDesc::make({2, 11, 29, 3}, {37, 9, 9, 3}, {2, 1, Padding::reflect(4)}), false},
      {Conv2dDesc::make({1, 17, 40, 35}, {3, 3, 3, 35}, {1, 1, Padding::zero(1)}), false},
      {Conv2dDesc::make({2, 21, 18, 20}, {131, 3, 3, 20}, {2, 2, Padding::replicate(1)}), false},
      {Conv2dDesc::make({1, 26, 39, 35}, {45, 3, 3, 35}, {1, 1, Padding::reflect(1)}), true},
      {Conv2dDesc::make({2, 30, 22, 70}, {80, 3, 3, 70}, {1, 1, Padding::zero(1)}), true}};
  for (const auto& [desc, in_tiles] : cases) {
    const Tensor input = random_integers(desc.input_shape(), 1), grad_output = random_integers(desc.output_shape(), 2);
    const std::vector<double> expected = test::reference_conv2d_backward_weight(desc, input, grad_output);
    for_each_instruction_set([&](const char* name) {
      for (const Conv2dEngine* engine : conv2d_engines()) {
        if (!engine->backward_weight || engine->device != Device::Kind::cpu) continue;
        execution::set_conv2d_engine(engine->name);
        Tensor grad_weight = Tensor::full(desc.weight_shape(), std::numeric_limits<float>::quiet_NaN());
        conv2d_backward_weight(desc, input, grad_output, 0.0f, grad_weight);
        const bool exact = !in_tiles || engine->exact_integers;
        EXPECT_LE(test::normalised_error(grad_weight, expected), exact ? 0.0 : engine->error)
            << name << ", " << engine->name << ", " << desc.str();
      }
      execution::set_conv2d_engine("");
    });
  }
}

TEST(InstructionSets, TanhIsAccurateWithEveryOne) {
  const Tensor x = random_uniform({1003}, 3, -4.0f, 4.0f);
  for_each_instruction_set([&](const char* name) {
    Tensor y = Tensor::empty(x.shape());
    tanh_forward(x, 1.0f, y);
    for (int64_t i = 0; i < x.count(); ++i) {
      const double exact = std::tanh(static_cast<double>(x.span<float>()[i]));
      ASSERT_NEAR(std::as_const(y).span<float>()[i], exact, 5e-7 * std::abs(exact))
          << name << " at " << x.span<float>()[i];
    }
  });
}

TEST(InstructionSets, ReductionsGiveTheSameBytes) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 4), y = random_uniform(shape, 5);
    expect_same_bytes([&] {
      const std::vector<double> values = {
          sum(x), dot(x, y), squared_norm(x), absolute_sum(x), squared_distance(x, y), max_abs(x)};
      Tensor scalars = Tensor::empty({static_cast<int64_t>(values.size())}, Dtype::f64),
             channels = Tensor::zeros({shape[3]});
      std::copy(values.begin(), values.end(), scalars.data<double>());
      sum_per_channel(x, 0.0f, channels);
      return std::vector<Tensor>{scalars, channels};
    });
  }
}

TEST(InstructionSets, PoolingPaddingAndUpsamplingGiveTheSameBytes) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 6);
    const BitMask mask = test::positive(x);
    for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
      for (const Pool2dDesc& desc : {Pool2dDesc::make(kind, shape, 3, 3, {2, 2, Padding::zero(1)}),
                                     Pool2dDesc::make(kind, shape, 2, 2, {2, 2, {}})}) {
        expect_same_bytes([&] {
          Tensor output = Tensor::empty(desc.output_shape()), choice, back = x.clone();
          if (kind == PoolKind::max) choice = Tensor::empty(desc.output_shape(), Dtype::u8);
          pool2d_forward(desc, x, output, choice);
          pool2d_backward(desc, choice, output, {0.5f, &mask}, back);
          std::vector<Tensor> results = {output, back};
          if (choice) results.push_back(choice);
          return results;
        });
      }
    }
    expect_same_bytes([&] {
      const Padding padding = Padding::reflect(2);
      Tensor padded = Tensor::empty(padded_shape(shape, padding)), back = x.clone();
      pad_forward(x, padding, padded);
      pad_backward(padded, padding, {0.5f, &mask}, back);
      return std::vector<Tensor>{padded, back};
    });
    expect_same_bytes([&] {
      Tensor large = Tensor::empty({shape[0], shape[1] * 2, shape[2] * 2, shape[3]}), back = x.clone();
      upsample_nearest_forward(x, 2, large);
      upsample_nearest_backward(large, 2, {0.5f, &mask}, back);
      return std::vector<Tensor>{large, back};
    });
  }
}

TEST(InstructionSets, NormalisationGivesTheSameBytes) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 7), weight = random_uniform({shape[3]}, 8),
                 grad_output = random_uniform(shape, 9);
    const BitMask mask = test::positive(x);
    expect_same_bytes([&] {
      Tensor output = Tensor::empty(shape), mean = Tensor::empty({shape[0], shape[3]}), rstd = mean.clone(),
             grad = x.clone();
      Tensor grad_weight = Tensor::empty({shape[3]});
      instance_norm_forward(x, weight, weight, 1e-5f, Activation::relu, output, mean, rstd);
      instance_norm_backward(x, weight, mean, rstd, grad_output,
                             {.grad_input = &grad, .how = {0.5f, &mask}, .grad_weight = &grad_weight});
      return std::vector<Tensor>{output, mean, rstd, grad, grad_weight};
    });
  }
}

TEST(InstructionSets, UpdatesGiveTheSameBytes) {
  const Tensor grad = random_uniform({1003}, 10);
  expect_same_bytes([&] {
    Tensor x = random_uniform({1003}, 11), m = Tensor::zeros({1003}), v = Tensor::zeros({1003});
    for (int64_t step = 1; step < 4; ++step) adam_update({.weight_decay = 0.1f}, step, grad, m, v, x);
    sgd_update(0.1f, 0.9f, 0.1f, grad, m, x);
    return std::vector<Tensor>{x, m, v};
  });
}

TEST(InstructionSets, GramIsExactOnIntegersWithEveryOne) {
  for (const Shape& shape : kShapes) {
    const Tensor features = random_integers(shape, 12);
    const int64_t c = shape[3], positions = shape[1] * shape[2];
    std::vector<double> expected(static_cast<size_t>(shape[0] * c * c));
    for (int64_t p = 0; p < shape[0] * positions; ++p) {
      for (int64_t i = 0; i < c * c; ++i) {
        const float* row = features.data<float>() + p * c;
        expected[static_cast<size_t>(p / positions * c * c + i)] += double{row[i / c]} * double{row[i % c]};
      }
    }
    for_each_instruction_set([&](const char* name) {
      Tensor gram = Tensor::full({shape[0], c, c}, NAN);
      gram_forward(features, 1.0f, gram);
      EXPECT_TRUE(test::equals(gram, expected)) << name << " " << shape.str();
    });
  }
}

}  // namespace
}  // namespace minidl
