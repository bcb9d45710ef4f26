#include <minidl/kernels/pad.h>
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

struct Case {
  Shape input;
  Padding padding;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Padding::Mode mode : {Padding::Mode::zero, Padding::Mode::reflect, Padding::Mode::replicate}) {
    all.push_back({{1, 5, 6, 3}, {mode, 0, 0, 0, 0}});
    all.push_back({{1, 5, 6, 1}, {mode, 1, 2, 3, 0}});
    all.push_back({{3, 4, 3, 4}, {mode, 2, 2, 2, 2}});
    all.push_back({{1, 9, 11, 33}, {mode, 4, 4, 4, 4}});
    all.push_back({{1, 1, 1, 2}, {mode, 3, 1, 0, 2}});   // one pixel everywhere
    all.push_back({{2, 3, 2, 3}, {mode, 7, 8, 9, 10}});  // reflected again and again
    all.push_back({{0, 3, 3, 2}, {mode, 1, 1, 1, 1}});
  }
  return all;
}

/// The input's index that each output element reads, or -1.
std::vector<int64_t> sources(const Case& c) {
  const Shape output = padded_shape(c.input, c.padding);
  std::vector<int64_t> from;
  for (int64_t n = 0; n < output[0]; ++n) {
    for (int64_t h = 0; h < output[1]; ++h) {
      for (int64_t w = 0; w < output[2]; ++w) {
        const int64_t i = padded_index(h - c.padding.top, c.input[1], c.padding.mode);
        const int64_t j = padded_index(w - c.padding.left, c.input[2], c.padding.mode);
        for (int64_t channel = 0; channel < output[3]; ++channel) {
          from.push_back(i < 0 || j < 0 ? -1 : ((n * c.input[1] + i) * c.input[2] + j) * c.input[3] + channel);
        }
      }
    }
  }
  return from;
}

TEST(Pad, IsExactOnIntegers) {
  for (const Case& c : cases()) {
    const Tensor input = random_integers(c.input, 1);
    Tensor output = Tensor::full(padded_shape(c.input, c.padding), NAN);
    ON_DEVICE(pad_forward)(input, c.padding, output);
    std::vector<double> expected;
    for (const int64_t from : sources(c)) expected.push_back(from < 0 ? 0.0 : input.span<float>()[from]);
    EXPECT_TRUE(equals(output, expected)) << c.input.str() << " " << c.padding.str();
  }
}

TEST(Pad, BackwardIsExactOnIntegersAndAccumulates) {
  for (const Case& c : cases()) {
    const Tensor grad_output = random_integers(padded_shape(c.input, c.padding), 2);
    std::vector<double> expected(static_cast<size_t>(c.input.count()));
    const std::vector<int64_t> from = sources(c);
    for (size_t i = 0; i < from.size(); ++i) {
      if (from[i] >= 0) expected[static_cast<size_t>(from[i])] += grad_output.span<float>()[i];
    }
    Tensor grad_input = Tensor::full(c.input, NAN);
    ON_DEVICE(pad_backward)(grad_output, c.padding, Accumulate{}, grad_input);
    EXPECT_TRUE(equals(grad_input, expected)) << c.input.str() << " " << c.padding.str();
    EXPECT_TRUE(test::accumulates(c.input, [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(pad_backward)(grad_output, c.padding, how, grad);
    }));
  }
}

TEST(Pad, BackwardIsTheAdjoint) {
  for (const Case& c : cases()) {
    const Tensor x = random_uniform(c.input, 3), y = random_uniform(padded_shape(c.input, c.padding), 4);
    Tensor padded = Tensor::empty(y.shape()), back = Tensor::empty(x.shape());
    ON_DEVICE(pad_forward)(x, c.padding, padded);
    ON_DEVICE(pad_backward)(y, c.padding, Accumulate{}, back);
    EXPECT_NEAR(test::inner_product(padded, y), test::inner_product(x, back), 1e-5)
        << c.input.str() << " " << c.padding.str();
  }
}

TEST(Pad, BytesDoNotDependOnThreads) {
  const Tensor x = random_uniform({3, 50, 61, 7}, 5);
  const Padding padding = Padding::reflect(5);
  const BitMask mask = test::positive(x);
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor padded = Tensor::empty(padded_shape(x.shape(), padding)), back = Tensor::full(x.shape(), 1.0f);
    ON_DEVICE(pad_forward)(x, padding, padded);
    ON_DEVICE(pad_backward)(padded, padding, Accumulate{0.5f, &mask}, back);
    return back;
  }));
}

TEST(Pad, BadArgumentsAreNamed) {
  const Tensor x = Tensor::zeros({1, 3, 4, 2});
  Tensor y = Tensor::zeros({1, 5, 6, 2}), wrong = Tensor::zeros({1, 6, 5, 2}), grad = Tensor::zeros({1, 3, 4, 2});
  const Padding one = Padding::reflect(1);
  EXPECT_TRUE(throws_error([&] { padded_shape({3, 4, 2}, one); }, "[pad] input has shape [3,4,2]"));
  EXPECT_TRUE(throws_error([&] { padded_shape({1, 0, 4, 2}, one); }, "[pad] input [1,0,4,2] has no pixel"));
  EXPECT_TRUE(throws_error([&] { padded_shape(x.shape(), Padding::zero(-1)); }, "must not be negative"));
  EXPECT_TRUE(throws_error([&] { padded_shape(x.shape(), Padding::zero(int64_t{1} << 62)); }, "is too large"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pad_forward)
        (x, one, wrong);
      },
      "[pad] output has shape [1,6,5,2], it must be [1,5,6,2]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pad_forward)(Tensor::zeros({2, 2}), one, y);
      },
      "[pad] input has shape [2,2]"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(pad_backward)(wrong, one, Accumulate{}, grad); }, "[pad] grad_output"));
  const BitMask wrong_mask = test::positive(y);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pad_backward)(y, one, Accumulate{0.0f, &wrong_mask}, grad);
      },
      "[pad] relu_mask"));
}

}  // namespace
}  // namespace minidl
