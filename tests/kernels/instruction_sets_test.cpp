#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/instance_norm.h>
#include <minidl/kernels/pad.h>
#include <minidl/kernels/pool2d.h>
#include <minidl/kernels/reduce.h>
#include <minidl/kernels/upsample.h>
#include <support/compare.h>
#include <support/instruction_sets.h>
#include <support/random_tensors.h>

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
      std::vector<Tensor> out(5);
      for (Tensor& tensor : out) tensor = x.clone();
      add_scaled(0.3f, x, 0.7f, y, out[0]);
      relu_forward(x, out[1]);
      clamp(out[2], -0.5f, 0.25f);
      accumulate_difference(0.9f, x, y, {0.7f, &y}, out[3]);
      tanh_backward(y, 2.0f, x, {1.0f, &x}, out[4]);
      return out;
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
    for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
      for (const Pool2dDesc& desc : {Pool2dDesc::make(kind, shape, 3, 3, {2, 2, Padding::zero(1)}),
                                     Pool2dDesc::make(kind, shape, 2, 2, {2, 2, {}})}) {
        expect_same_bytes([&] {
          Tensor output = Tensor::empty(desc.output_shape()), choice, back = x.clone();
          if (kind == PoolKind::max) choice = Tensor::empty(desc.output_shape(), Dtype::u8);
          pool2d_forward(desc, x, output, choice);
          pool2d_backward(desc, choice, output, {0.5f, &x}, back);
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
      pad_backward(padded, padding, {0.5f, &x}, back);
      return std::vector<Tensor>{padded, back};
    });
    expect_same_bytes([&] {
      Tensor large = Tensor::empty({shape[0], shape[1] * 2, shape[2] * 2, shape[3]}), back = x.clone();
      upsample_nearest_forward(x, 2, large);
      upsample_nearest_backward(large, 2, {0.5f, &x}, back);
      return std::vector<Tensor>{large, back};
    });
  }
}

TEST(InstructionSets, NormalisationGivesTheSameBytes) {
  for (const Shape& shape : kShapes) {
    const Tensor x = random_uniform(shape, 7), weight = random_uniform({shape[3]}, 8),
                 grad_output = random_uniform(shape, 9);
    expect_same_bytes([&] {
      Tensor output = Tensor::empty(shape), mean = Tensor::empty({shape[0], shape[3]}), rstd = mean.clone(),
             grad = x.clone();
      Tensor grad_weight = Tensor::empty({shape[3]});
      instance_norm_forward(x, weight, weight, 1e-5f, Activation::relu, output, mean, rstd);
      instance_norm_backward(x, weight, mean, rstd, grad_output,
                             {.grad_input = &grad, .how = {0.5f, &x}, .grad_weight = &grad_weight});
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
