#include <minidl/kernels/upsample.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::equals;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

const std::vector<Shape> kShapes = {{1, 1, 1, 1},  {1, 3, 5, 3}, {3, 4, 2, 4},
                                    {1, 7, 6, 33}, {0, 2, 2, 1}, {1, 0, 2, 3}};

Shape large(const Shape& shape, int64_t factor) {
  return {shape[0], shape[1] * factor, shape[2] * factor, shape[3]};
}

/// The small picture's index for every element of the large one.
std::vector<int64_t> sources(const Shape& shape, int64_t factor) {
  const Shape output = large(shape, factor);
  std::vector<int64_t> from;
  for (int64_t i = 0; i < output.count(); ++i) {
    const int64_t c = i % output[3], w = i / output[3] % output[2], h = i / (output[3] * output[2]) % output[1];
    const int64_t n = i / (output[3] * output[2] * output[1]);
    from.push_back(((n * shape[1] + h / factor) * shape[2] + w / factor) * shape[3] + c);
  }
  return from;
}

TEST(Upsample, RepeatsPixels) {
  for (const Shape& shape : kShapes) {
    for (const int64_t factor : {1, 2, 3}) {
      const Tensor input = random_integers(shape, 1);
      Tensor output = Tensor::full(large(shape, factor), NAN);
      ON_DEVICE(upsample_nearest_forward)(input, factor, output);
      std::vector<double> expected;
      for (const int64_t from : sources(shape, factor)) expected.push_back(input.span<float>()[from]);
      EXPECT_TRUE(equals(output, expected)) << shape.str() << " x" << factor;
    }
  }
}

TEST(Upsample, BackwardSumsBlocksAndAccumulates) {
  for (const Shape& shape : kShapes) {
    for (const int64_t factor : {1, 2, 3}) {
      const Tensor grad_output = random_integers(large(shape, factor), 2);
      std::vector<double> expected(static_cast<size_t>(shape.count()));
      const std::vector<int64_t> from = sources(shape, factor);
      for (size_t i = 0; i < from.size(); ++i) expected[static_cast<size_t>(from[i])] += grad_output.span<float>()[i];
      Tensor grad_input = Tensor::full(shape, NAN);
      ON_DEVICE(upsample_nearest_backward)(grad_output, factor, Accumulate{}, grad_input);
      EXPECT_TRUE(equals(grad_input, expected)) << shape.str() << " x" << factor;
      EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& grad) {
        ON_DEVICE(upsample_nearest_backward)(grad_output, factor, how, grad);
      }));
    }
  }
}

TEST(Upsample, BackwardIsTheAdjoint) {
  const Tensor x = random_uniform({2, 5, 6, 3}, 3), y = random_uniform({2, 20, 24, 3}, 4);
  Tensor up = Tensor::empty(y.shape()), back = Tensor::empty(x.shape());
  ON_DEVICE(upsample_nearest_forward)(x, 4, up);
  ON_DEVICE(upsample_nearest_backward)(y, 4, Accumulate{}, back);
  EXPECT_NEAR(test::inner_product(up, y), test::inner_product(x, back), 1e-4);
}

TEST(Upsample, BytesDoNotDependOnThreads) {
  const Tensor x = random_uniform({3, 40, 41, 9}, 5);
  const BitMask mask = test::positive(x);
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor up = Tensor::empty(large(x.shape(), 2)), back = Tensor::full(x.shape(), 1.0f);
    ON_DEVICE(upsample_nearest_forward)(x, 2, up);
    ON_DEVICE(upsample_nearest_backward)(up, 2, Accumulate{0.5f, &mask}, back);
    return back;
  }));
}

TEST(Upsample, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({1, 2, 3, 2});
  Tensor y = Tensor::zeros({1, 4, 6, 2}), grad = Tensor::zeros({1, 2, 3, 2});
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(upsample_nearest_forward)(x, 0, y); }, "[upsample_nearest] factor is 0"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_nearest_forward)
        (x, int64_t{1} << 62, y);
      },
      "[upsample_nearest] factor is"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_nearest_forward)
        (x, 3, y);
      },
      "output has shape [1,4,6,2], it must be [1,6,9,2]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_nearest_forward)
        (Tensor::zeros({6}), 2, y);
      },
      "input has shape [6]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_nearest_backward)
        (x, 2, Accumulate{}, grad);
      },
      "[upsample_nearest] grad_output"));
  const BitMask wrong_mask = test::positive(y);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(upsample_nearest_backward)(y, 2, Accumulate{0.0f, &wrong_mask}, grad);
      },
      "[upsample_nearest] relu_mask"));
}

}  // namespace
}  // namespace minidl
