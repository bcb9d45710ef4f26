#include <minidl/core/tape.h>
#include <minidl/layers/dropout.h>
#include <minidl/layers/init.h>
#include <minidl/layers/ops.h>
#include <support/compare.h>
#include <support/threads.h>

namespace minidl::layers {
namespace {

using test::same_bytes;
using test::throws_error;

double kept_share(const Tensor& output) {
  const std::span<const float> values = output.span<float>();
  return static_cast<double>(std::count_if(values.begin(), values.end(), [](float value) { return value != 0.0f; })) /
         static_cast<double>(values.size());
}

TEST(Dropout, KeepsItsShareAndScalesIt) {
  for (const float rate : {0.25f, 0.5f, 0.75f}) {
    Dropout dropout(rate);
    const Tensor output = dropout(Variable(Tensor::full({100, 1000}, 3.0f))).value();
    EXPECT_NEAR(kept_share(output), 1.0 - rate, 0.01);
    for (const float value : output.span<float>()) ASSERT_TRUE(value == 0.0f || value == 3.0f / (1.0f - rate));
  }
}

TEST(Dropout, IsTheIdentityInEvaluationAndAtRateZero) {
  const Variable input(Tensor::full({4, 4}, 3.0f));
  Dropout dropout(0.5f);
  dropout.train(false);
  EXPECT_TRUE(dropout(input).same_as(input));
  Dropout nothing(0.0f);
  EXPECT_TRUE(same_bytes(nothing(input).value(), input.value()));
}

TEST(Dropout, DrawsNewNumbersEachTimeAndTheSameAfterTheSameSeed) {
  const Variable input(Tensor::full({64, 64}, 1.0f));
  seed(5);
  Dropout first, second;
  const Tensor a = first(input).value(), b = first(input).value(), other = second(input).value();
  EXPECT_FALSE(same_bytes(a, b));
  EXPECT_FALSE(same_bytes(a, other));
  seed(5);
  Dropout again;
  EXPECT_TRUE(same_bytes(again(input).value(), a));
  EXPECT_TRUE(same_bytes(again(input).value(), b));
}

TEST(Dropout, TheGradientPassesWhereTheValueDid) {
  Variable input(Tensor::full({32, 32}, 1.0f), true);
  Dropout dropout(0.5f);
  Tape tape;
  const TapeScope recording(tape);
  const Variable output = dropout(input);
  tape.backward(ops::sum(output));
  EXPECT_TRUE(same_bytes(input.grad(), output.value()));
}

TEST(Dropout, SameBytesForEveryNumberOfThreads) {
  const Variable input(Tensor::full({300, 301}, 1.0f));
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Rng rng(1);
    return ops::dropout(input, 0.3f, rng).value();
  }));
}

TEST(Dropout, RatesOutsideTheRangeAreRefused) {
  for (const float rate : {-0.1f, 1.0f, NAN}) {
    EXPECT_TRUE(throws_error([&] { Dropout dropout(rate); }, "[dropout] rate is"));
  }
  Rng rng(1);
  EXPECT_TRUE(throws_error([&] { ops::dropout(Variable(Tensor::zeros({1})), 1.0f, rng); }, "must be in [0, 1)"));
}

}  // namespace
}  // namespace minidl::layers
