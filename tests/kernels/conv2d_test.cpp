#include <minidl/core/allocator.h>
#include <minidl/kernels/conv2d.h>
#include <support/compare.h>
#include <support/conv2d_cases.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>
#include <support/sanitizer.h>
#include <support/threads.h>

#include <limits>
#include <ostream>

namespace minidl {
namespace {

using Case = test::Conv2dCase;
using test::conv2d_cases;
using test::large_conv2d_cases;
using test::random_integers;
using test::random_uniform;
using Direction = Conv2dDirection;

/// Every engine of this build, whether the table would choose it or not.
class Conv2dEngines : public ::testing::TestWithParam<const Conv2dEngine*> {
 protected:
  void SetUp() override {
    if (GetParam()->device != test::device().kind) GTEST_SKIP() << "an engine of another device";
    execution::set_conv2d_engine(GetParam()->name);
    execution::set_precision(grade());
  }
  void TearDown() override {
    execution::set_conv2d_engine("");
    execution::set_precision(Precision::fp32);
  }
  Precision grade() const { return GetParam()->grade; }
};

INSTANTIATE_TEST_SUITE_P(All, Conv2dEngines, ::testing::ValuesIn(conv2d_engines().begin(), conv2d_engines().end()),
                         [](const auto& engine) { return std::string(engine.param->name); });

/// The engine that computes a direction when the one under test is asked for: another one where it declines.
const Conv2dEngine& engine_of(const Conv2dDesc& desc, Direction direction) {
  return conv2d_engine_for({desc, direction}, test::device());
}

/// Noise, which tests take for pictures, is the worst input for tiles of differences: in 16 bits they lose up to four
/// times what they lose of features.
double error_on_noise(const Conv2dEngine& engine) {
  return (engine.error > 1e-3 ? 4 : 1) * engine.error;
}

/// Equal to the definition where the engine is exact on integers, else as close as its grade says.
::testing::AssertionResult agrees(const Tensor& result, const std::vector<double>& expected, const Conv2dDesc& desc,
                                  Direction direction) {
  const Conv2dEngine& engine = engine_of(desc, direction);
  if (engine.exact_integers) return test::equals(result, expected) << " " << desc.str();
  const double error = test::normalised_error(result, expected);
  if (error <= error_on_noise(engine)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << engine.name << " deviates by " << error << ": " << desc.str();
}

Tensor forward(const Conv2dDesc& desc, const Tensor& input, const Tensor& weight, const Tensor& bias = {},
               Activation activation = Activation::none) {
  Tensor output = Tensor::full(desc.output_shape(), std::numeric_limits<float>::quiet_NaN());
  ON_DEVICE(conv2d_forward)(desc, input, weight, bias, activation, output);
  return output;
}

Tensor backward_data(const Conv2dDesc& desc, const Tensor& weight, const Tensor& grad_output) {
  Tensor grad_input = Tensor::full(desc.input_shape(), std::numeric_limits<float>::quiet_NaN());
  ON_DEVICE(conv2d_backward_data)(desc, weight, grad_output, Accumulate{}, grad_input);
  return grad_input;
}

Tensor backward_weight(const Conv2dDesc& desc, const Tensor& input, const Tensor& grad_output) {
  Tensor grad_weight = Tensor::full(desc.weight_shape(), std::numeric_limits<float>::quiet_NaN());
  ON_DEVICE(conv2d_backward_weight)(desc, input, grad_output, 0.0f, grad_weight);
  return grad_weight;
}

TEST_P(Conv2dEngines, ForwardOnIntegers) {
  for (const Case& c : conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Tensor input = random_integers(c.input, 1), weight = random_integers(c.weight, 2),
                 some = random_integers({desc.out_c}, 3);
    for (const Tensor& bias : {Tensor(), some}) {
      for (const Activation activation : {Activation::none, Activation::relu}) {
        EXPECT_TRUE(agrees(forward(desc, input, weight, bias, activation),
                           test::reference_conv2d(desc, input, weight, bias, activation), desc, Direction::forward));
      }
    }
  }
}

TEST_P(Conv2dEngines, WritesTheMaskOfItsOutput) {
  for (const Case& c : conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Tensor input = random_integers(c.input, 1), weight = random_integers(c.weight, 2);
    const Tensor output = forward(desc, input, weight, {}, Activation::relu);
    Tensor repeated = Tensor::empty(desc.output_shape());
    BitMask mask(desc.output_shape(), Device::cpu());
    ON_DEVICE(conv2d_forward)(desc, input, weight, Tensor(), Activation::relu, repeated, &mask);
    EXPECT_TRUE(test::same_bytes(repeated, output)) << desc.str();
    for (int64_t i = 0; i < output.count(); ++i)
      ASSERT_EQ(mask.span()[i], output.span<float>()[i] > 0.0f) << i << " of " << desc.str();
  }
}

TEST_P(Conv2dEngines, BackwardDataOnIntegers) {
  for (const Case& c : conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Tensor weight = random_integers(c.weight, 1), grad_output = random_integers(desc.output_shape(), 2);
    EXPECT_TRUE(agrees(backward_data(desc, weight, grad_output),
                       test::reference_conv2d_backward_data(desc, weight, grad_output), desc,
                       Direction::backward_data));
  }
}

TEST_P(Conv2dEngines, BackwardDataAccumulatesAndMasks) {
  for (const Case& c : conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Tensor weight = random_integers(c.weight, 1), grad_output = random_integers(desc.output_shape(), 2);
    const Tensor before = random_integers(c.input, 3), signs = random_integers(c.input, 4, -1, 1);
    const BitMask mask = test::positive(signs);
    const std::vector<double> contribution = test::reference_conv2d_backward_data(desc, weight, grad_output);
    std::vector<Accumulate> all = {{0.0f, &mask}, {1.0f}, {-2.0f, &mask}};
    if (!test::kUnderSanitizer) all.insert(all.end(), {{0.0f}, {1.0f, &mask}, {-2.0f}});
    for (const Accumulate& how : all) {
      std::vector<double> expected = test::to_doubles(before);
      for (size_t i = 0; i < expected.size(); ++i) {
        const bool open = !how.relu_mask || signs.data<float>()[i] > 0.0f;
        expected[i] = static_cast<double>(how.beta) * expected[i] + (open ? contribution[i] : 0.0);
      }
      Tensor grad_input = before.clone();
      ON_DEVICE(conv2d_backward_data)(desc, weight, grad_output, how, grad_input);
      EXPECT_TRUE(agrees(grad_input, expected, desc, Direction::backward_data))
          << "beta " << how.beta << (how.relu_mask ? " and a mask" : "");
    }
  }
}

TEST_P(Conv2dEngines, BackwardWeightOnIntegersAccumulates) {
  for (const Case& c : conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Tensor input = random_integers(c.input, 1), grad_output = random_integers(desc.output_shape(), 2);
    std::vector<double> expected = test::reference_conv2d_backward_weight(desc, input, grad_output);
    EXPECT_TRUE(agrees(backward_weight(desc, input, grad_output), expected, desc, Direction::backward_weight));

    Tensor grad_weight = random_integers(c.weight, 3);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(grad_weight.span<float>()[i]);
    ON_DEVICE(conv2d_backward_weight)(desc, input, grad_output, 1.0f, grad_weight);
    EXPECT_TRUE(agrees(grad_weight, expected, desc, Direction::backward_weight));
  }
}

TEST_P(Conv2dEngines, AgreesWithDoublePrecision) {
  if (test::kUnderThreadSanitizer) GTEST_SKIP() << "the reference's plain loops take minutes, and have one thread";
  static const std::vector<test::Conv2dOnNoise> all = [] {
    std::vector<test::Conv2dOnNoise> expected;
    for (const Case& c : large_conv2d_cases()) expected.emplace_back(c.desc());
    return expected;
  }();
  for (const test::Conv2dOnNoise& e : all) {
    const auto bound = [&](Direction direction) { return error_on_noise(engine_of(e.desc, direction)); };
    EXPECT_LE(test::normalised_error(forward(e.desc, e.input, e.weight), e.output), bound(Direction::forward))
        << e.desc.str();
    EXPECT_LE(test::normalised_error(backward_data(e.desc, e.weight, e.grad_output), e.grad_input),
              bound(Direction::backward_data))
        << e.desc.str();
    EXPECT_LE(test::normalised_error(backward_weight(e.desc, e.input, e.grad_output), e.grad_weight),
              bound(Direction::backward_weight))
        << e.desc.str();
  }
}

/// <conv(x), g> = <x, backward_data(g)> = <w, backward_weight(x, g)>.
TEST_P(Conv2dEngines, BackwardIsTheAdjointOfForward) {
  for (const Case& c : conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Tensor input = random_uniform(c.input, 1), weight = random_uniform(c.weight, 2),
                 grad_output = random_uniform(desc.output_shape(), 3);
    const Tensor output = forward(desc, input, weight);
    const double product = test::inner_product(output, grad_output);
    const double scale = std::sqrt(test::inner_product(output, output) * test::inner_product(grad_output, grad_output));
    const double bound = std::max(GetParam()->error, 1e-6) * scale;
    EXPECT_NEAR(test::inner_product(input, backward_data(desc, weight, grad_output)), product, bound) << desc.str();
    EXPECT_NEAR(test::inner_product(weight, backward_weight(desc, input, grad_output)), product, bound) << desc.str();
  }
}

TEST_P(Conv2dEngines, SameBytesForAllThreadCounts) {
  if (test::on_emulated_device()) GTEST_SKIP() << test::kEmulatedOnce;
  for (const Case& c : large_conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Tensor input = random_uniform(c.input, 1), weight = random_uniform(c.weight, 2),
                 grad_output = random_uniform(desc.output_shape(), 3);
    EXPECT_TRUE(test::same_for_all_threads([&] { return forward(desc, input, weight); })) << desc.str();
    EXPECT_TRUE(test::same_for_all_threads([&] { return backward_data(desc, weight, grad_output); })) << desc.str();
    EXPECT_TRUE(test::same_for_all_threads([&] { return backward_weight(desc, input, grad_output); })) << desc.str();
  }
}

/// A NaN comes to the windows that contain it and to no others, though tiles of products go beyond the window.
TEST_P(Conv2dEngines, NanStaysInItsWindows) {
  const bool pairs_pixels = std::string(GetParam()->name).starts_with("mma_");  // of few outputs, with zeros between
  const bool stays = pairs_pixels || (GetParam()->exact_integers && grade() == Precision::fp32);
  if (!stays) GTEST_SKIP() << "sums of differences spread a NaN";
  const std::vector<Case> plain = {{{1, 6, 5, 3}, {2, 1, 1, 3}, {}}, {{1, 6, 5, 4}, {2, 3, 2, 4}, {}}},
                          merged = {{{1, 11, 16, 3}, {20, 9, 9, 3}, {}}};  // taps of a row as one
  for (const Case& c : pairs_pixels ? merged : plain) {
    const Conv2dDesc desc = c.desc();
    Tensor input = random_integers(c.input, 1);
    const int64_t row = 3, column = desc.in_w - 3;
    for (int64_t channel = 0; channel < desc.in_c; ++channel) {
      input.data<float>()[(row * desc.in_w + column) * desc.in_c + channel] = std::numeric_limits<float>::quiet_NaN();
    }
    const Tensor output = forward(desc, input, random_integers(c.weight, 2));
    for (int64_t i = 0; i < output.count(); ++i) {
      const int64_t h = i / desc.out_c / desc.out_w(), w = i / desc.out_c % desc.out_w();
      const bool inside = h <= row && row < h + desc.k_h && w <= column && column < w + desc.k_w;
      EXPECT_EQ(std::isnan(output.span<float>()[i]), inside) << i << " of " << desc.str();
    }
  }
}

TEST_P(Conv2dEngines, NanGoesThroughRelu) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 3, 3, 1}, {2, 1, 1, 1}, {});
  const Tensor output = forward(desc, Tensor::full({1, 3, 3, 1}, std::numeric_limits<float>::quiet_NaN()),
                                Tensor::full({2, 1, 1, 1}, 1.0f), {}, Activation::relu);
  for (const float value : output.span<float>()) EXPECT_TRUE(std::isnan(value));
}

/// What a direction allocates is what it says beforehand, within a block of the allocator's for each of its tensors.
TEST_P(Conv2dEngines, TellsItsWorkspace) {
  Allocator& memory = allocator(test::device());
  for (const Case& c : large_conv2d_cases()) {
    const Conv2dDesc desc = c.desc();
    const Device device = test::device();  // where the tensors lie, so that nothing but workspaces is allocated
    const Tensor input = random_uniform(c.input, 1).to(device), weight = random_uniform(c.weight, 2).to(device),
                 grad_output = random_uniform(desc.output_shape(), 3).to(device);
    Tensor output = Tensor::empty(desc.output_shape(), Dtype::f32, device),
           grad_input = Tensor::empty(c.input, Dtype::f32, device),
           grad_weight = Tensor::empty(c.weight, Dtype::f32, device);
    const auto measure = [&](Direction direction, const std::function<void()>& run) {
      memory.reset_peak();
      const int64_t before = memory.stats().in_use;
      run();
      const double measured = static_cast<double>(memory.stats().peak_in_use - before);
      const double told = static_cast<double>(engine_of(desc, direction).workspace_bytes({desc, direction}));
      EXPECT_LE(measured, 1.1 * told + (8 << 20)) << desc.str();
      EXPECT_LE(told, 1.1 * measured + (8 << 20)) << desc.str();
    };
    measure(Direction::forward, [&] { conv2d_forward(desc, input, weight, {}, Activation::none, output); });
    measure(Direction::backward_data, [&] { conv2d_backward_data(desc, weight, grad_output, {}, grad_input); });
    measure(Direction::backward_weight, [&] { conv2d_backward_weight(desc, input, grad_output, 0.0f, grad_weight); });
  }
}

TEST_P(Conv2dEngines, DeclinesWithAReason) {
  constexpr Precision kPrecisions[] = {Precision::fp32, Precision::tf32, Precision::bf16, Precision::fp16};
  for (const Case& c : conv2d_cases()) {
    for (const Direction direction : {Direction::forward, Direction::backward_data, Direction::backward_weight}) {
      for (const Precision precision : kPrecisions) {
        const char* reason = GetParam()->decline({c.desc(), direction}, precision);
        if (reason) {
          EXPECT_GT(std::string(reason).size(), 5u);
        }
      }
    }
  }
  const std::string only = "computes in " + to_string(grade()) + " only";
  const int64_t in_c = GetParam()->name == std::string("direct") ? 3 : 64;
  const Conv2dProblem common{Conv2dDesc::make({1, 8, 8, in_c}, {64, 3, 3, in_c}, {1, 1, Padding::zero(1)})};
  for (const Precision precision : kPrecisions) {
    const char* reason = GetParam()->decline(common, precision);
    // Engines of a lower grade than fp32 serve that grade only; fp16 is for GPUs.
    const bool has_fp16 = GetParam()->device == Device::Kind::cuda;
    const bool serves =
        grade() == precision || (grade() == Precision::fp32 && (has_fp16 || precision != Precision::fp16));
    EXPECT_EQ(reason ? std::string(reason) : "", serves ? "" : only);
  }
}

/// Weights that do not change keep the engine's form of them; those that do are never used in an old one.
TEST_P(Conv2dEngines, FollowsItsWeights) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 9, 10, 32}, {32, 3, 3, 32}, {1, 1, Padding::zero(1)});
  const Tensor input = random_uniform(desc.input_shape(), 1), grad_output = random_uniform(desc.output_shape(), 2);
  Tensor weight = random_uniform(desc.weight_shape(), 3).to(test::device());
  const Tensor first = forward(desc, input, weight), first_grad = backward_data(desc, weight, grad_output);
  for (int repeat = 0; repeat < 3; ++repeat) {
    EXPECT_TRUE(test::same_bytes(forward(desc, input, weight), first));
    EXPECT_TRUE(test::same_bytes(backward_data(desc, weight, grad_output), first_grad));
  }
  weight.copy_from(random_uniform(desc.weight_shape(), 4));
  EXPECT_TRUE(test::same_bytes(forward(desc, input, weight), forward(desc, input, weight.clone())));
  EXPECT_TRUE(
      test::same_bytes(backward_data(desc, weight, grad_output), backward_data(desc, weight.clone(), grad_output)));
}

TEST_P(Conv2dEngines, RowsComputedApartHaveTheBytesOfTheWhole) {
  if (std::string(GetParam()->name).starts_with("cudnn")) GTEST_SKIP() << "cuDNN chooses by the height of the picture";
  for (const auto& [input, weight, window] :
       {Case{{1, 37, 21, 3}, {64, 3, 3, 3}, {1, 1, Padding::zero(1)}},
        Case{{1, 26, 17, 32}, {40, 3, 3, 32}, {1, 1, Padding::zero(1)}},
        Case{{1, 45, 18, 16}, {16, 3, 3, 16}, {1, 1, {}}},
        Case{{1, 41, 13, 4}, {8, 5, 3, 4}, {2, 1, {Padding::Mode::zero, 3, 1, 0, 2}}},
        Case{{1, 19, 9, 5}, {6, 1, 1, 5}, {}}}) {
    const Conv2dDesc desc = Conv2dDesc::make(input, weight, window);
    const Tensor x = random_uniform(input, 1), w = random_uniform(weight, 2), b = random_uniform({weight[0]}, 3);
    Tensor whole = Tensor::empty(desc.output_shape());
    ON_DEVICE(conv2d_forward)(desc, x, w, b, Activation::relu, whole);
    for (int64_t begin = 0; begin < desc.out_h(); begin += 8) {
      const int64_t end = std::min(begin + 8, desc.out_h());
      const Conv2dRows part = conv2d_rows(desc, begin, end);
      const Tensor rows = x.reshape({input[1], input[2], input[3]}).slice(part.in_begin, part.in_end);
      Tensor output = Tensor::empty({1, end - begin, desc.out_w(), desc.out_c});
      ON_DEVICE(conv2d_forward)(part.desc, rows.reshape(part.desc.input_shape()), w, b, Activation::relu, output);
      const Tensor expected = whole.reshape({desc.out_h(), desc.out_w(), desc.out_c}).slice(begin, end);
      EXPECT_TRUE(test::same_bytes(output, expected.reshape(output.shape()))) << desc.str() << " from row " << begin;
    }
  }
}

}  // namespace
}  // namespace minidl
