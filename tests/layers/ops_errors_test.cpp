// What the differentiable functions refuse, and what they keep for their backward passes.
#include <minidl/layers/ops.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::random_integers;
using test::throws_error;

TEST(OpsErrors, NameTheOpAndBothShapes) {
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  EXPECT_TRUE(throws_error(
      [&] {
        ops::linear(zeros({2, 3}), zeros({4, 5}), {});
      },
      "[linear] input [2,3] does not fit weight [4,5]"));
  EXPECT_TRUE(throws_error([&] { ops::linear(zeros({2, 3}), zeros({4, 3}), zeros({3})); }, "[linear"));
  EXPECT_TRUE(throws_error([&] { ops::pad(zeros({3, 3}), Padding::zero(1)); }, "[pad"));
  EXPECT_TRUE(throws_error([&] { ops::upsample_nearest(zeros({1, 2, 2, 3}), 0); }, "[upsample_nearest]"));
  EXPECT_TRUE(throws_error([&] { ops::upsample_nearest(zeros({2, 2}), 2); }, "[upsample_nearest]"));
  EXPECT_TRUE(throws_error([&] { ops::add(zeros({2, 2}), zeros({2, 3})); }, "[2,3]"));
  EXPECT_TRUE(throws_error([&] { ops::reshape(zeros({2, 2}), {5}); }, "from [2,2] to [5]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ops::instance_norm(zeros({1, 2, 2, 3}), zeros({4}), zeros({4}));
      },
      "[instance_norm]"));
  EXPECT_TRUE(throws_error([&] { ops::relu({}); }, "undefined variable"));
  const Window half{2, 2, Padding::zero(1)};
  EXPECT_TRUE(throws_error(
      [&] {
        ops::conv2d_transpose(zeros({1, 2, 2, 3}), zeros({4, 3, 3, 2}), {}, half, 4, 4);
      },
      "[conv2d_transpose] input [1,2,2,3] does not fit weight [4,3,3,2]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ops::conv2d_transpose(zeros({1, 2, 2, 4}), zeros({4, 3, 3, 2}), {}, half, 5, 4);
      },
      "an output of 5x4 pixels belongs to input [1,3,2,4], input is [1,2,2,4]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ops::mix_rows(zeros({3, 5}), Tensor::zeros({2}));
      },
      "[mix_rows] shares [2] do not fit rows [3,5]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ops::upsample_conv2d(zeros({1, 2, 2, 3}), zeros({4, 3, 3, 2}), {}, Padding::Mode::zero);
      },
      "[upsample_conv2d] input [1,2,2,3] does not fit weight [4,3,3,2]"));
}

TEST(OpsErrors, AnOverwrittenTensorIsNoticed) {
  const Window window;
  Tensor data = random_integers({1, 3, 3, 2}, 60);
  const Variable input(data), weight(random_integers({2, 1, 1, 2}, 61), true);
  Tape tape;
  const TapeScope recording(tape);
  const Variable loss = ops::sum(ops::conv2d(input, weight, {}, window));
  data.fill(0.0f);
  EXPECT_TRUE(throws_error([&] { tape.backward(loss); },
                           "[conv2d] a tensor [1,3,3,2] saved for the backward pass was overwritten"));
  EXPECT_EQ(tape.size(), 0u);
}

/// A frozen weight is not saved for: overwriting the input of its convolution harms nothing.
TEST(OpsSave, OnlyWhatTheWantedGradientsRead) {
  const Window window;
  const Variable input(random_integers({1, 3, 3, 2}, 62), true), weight(random_integers({2, 1, 1, 2}, 63));
  Tape tape;
  const TapeScope recording(tape);
  const Variable loss = ops::sum(ops::conv2d(input, weight, {}, window));
  Variable(input).mutable_value().fill(0.0f);
  tape.backward(loss);
  EXPECT_TRUE(input.grad());
}

}  // namespace
}  // namespace minidl
