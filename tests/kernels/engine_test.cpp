#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/engine.h>
#include <minidl/kernels/reduce.h>

#include <support/compare.h>
#include <support/instruction_sets.h>
#include <support/masks.h>
#include <support/random_tensors.h>

#include <algorithm>
#include <cstdlib>

namespace minidl {
namespace {

struct Problem {
  int size;
  std::string str() const { return "size " + std::to_string(size); }
};

struct Engine {
  const char* name;
  Device::Kind device;
  const char* (*decline)(const Problem& problem, Precision precision);
};

constexpr Engine kGpu{"gpu", Device::Kind::cuda, [](const Problem&, Precision) -> const char* { return nullptr; }};
constexpr Engine kEven{"even", Device::Kind::cpu,
                       [](const Problem& problem, Precision) { return problem.size % 2 ? "odd size" : nullptr; }};
constexpr Engine kFull{"full", Device::Kind::cpu, [](const Problem&, Precision precision) {
                         return precision == Precision::fp32 ? nullptr : "fp32 only";
                       }};
constexpr const Engine* kTable[] = {&kGpu, &kEven, &kFull};

std::string choice(int size, const std::string& first = "", Precision precision = Precision::fp32) {
  return choose_engine<Engine>(kTable, Problem{size}, Device::Kind::cpu, precision, first, "toy").name;
}

TEST(ChooseEngine, TakesTheFirstThatAccepts) {
  EXPECT_EQ(choice(4), "even");
  EXPECT_EQ(choice(3), "full");
}

TEST(ChooseEngine, PrefersTheNamedOneWhenItAccepts) {
  EXPECT_EQ(choice(4, "full"), "full");
  EXPECT_EQ(choice(3, "even"), "full");
}

TEST(ChooseEngine, SaysWhyEveryEngineDeclined) {
  EXPECT_TRUE(
      test::throws_error([] { choice(3, "", Precision::bf16); },
                         "[toy] no engine for size 3 at bf16: gpu: other device; even: odd size; full: fp32 only;"));
}

TEST(ChooseEngine, PrintsItsChoiceWhenVerbose) {
  execution::set_verbose(true);
  testing::internal::CaptureStderr();
  choice(3, "even");
  execution::set_verbose(false);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "[toy] size 3 uses full; even: odd size; gpu: other device;\n");
}

TEST(Execution, PrecisionsHaveNames) {
  for (const char* name : {"fp32", "tf32", "bf16", "fp16"}) EXPECT_EQ(to_string(parse_precision(name)), name);
  EXPECT_TRUE(
      test::throws_error([] { parse_precision("fp64"); }, "'fp64' is not a precision; use fp32, tf32, bf16 or fp16"));
}

TEST(Execution, RefusesPrecisionsThatNoEngineHas) {
  execution::set_precision(Precision::fp32);
  const auto set_fp16 = [] { execution::set_precision(Precision::fp16); };
  const auto is_of_cuda = [](const Conv2dEngine* engine) { return engine->device == Device::Kind::cuda; };
  if (std::ranges::none_of(conv2d_engines(), is_of_cuda)) {
    EXPECT_TRUE(test::throws_error(set_fp16, "it is for GPUs only"));
    EXPECT_EQ(execution::precision(), Precision::fp32);
  } else {
    set_fp16();
    const Conv2dProblem problem{Conv2dDesc::make({1, 2, 2, 1}, {1, 1, 1, 1}, {})};
    EXPECT_TRUE(test::throws_error([&] { conv2d_engine_for(problem, Device::cpu()); }, "at fp16: "));
  }
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    execution::set_precision(precision);
    EXPECT_EQ(execution::precision(), precision);
  }
  execution::set_precision(Precision::fp32);
}

TEST(Execution, RefusesUnknownEngines) {
  EXPECT_TRUE(test::throws_error(
      [] { execution::set_conv2d_engine("fast"); },
      "[conv2d] the setting names the engine 'fast', which does not exist; this build has: "
      "direct_bf16, direct, winograd_bf16, winograd_amx_tf32, winograd, winograd_amx, im2col, reference"));
  EXPECT_TRUE(test::throws_error([] { execution::set_verify_engine("fast"); },
                                 "this build has: direct_bf16, direct, winograd_bf16, winograd_amx_tf32, winograd, "
                                 "winograd_amx, im2col, reference"));
  execution::set_conv2d_engine("reference");
  EXPECT_EQ(execution::conv2d_engine(), "reference");
  EXPECT_STREQ(conv2d_engine_for({Conv2dDesc::make({1, 2, 2, 1}, {1, 1, 1, 1}, {})}, Device::cpu()).name, "reference");
  execution::set_conv2d_engine("");
  EXPECT_STREQ(conv2d_engine_for({Conv2dDesc::make({1, 2, 2, 1}, {1, 1, 1, 1}, {})}, Device::cpu()).name, "direct");
}

/// Prints what `setting` gives or throws, in a new process whose environment has `variable` set.
void print_and_exit(const char* variable, const char* value, const std::function<std::string()>& setting) {
  setenv(variable, value, 1);
  std::string text;
  try {
    text = setting();
  } catch (const Error& error) {
    text = error.what();
  }
  std::fprintf(stderr, "%s\n", text.c_str());
  std::_Exit(0);
}

class ExecutionEnvironment : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ExecutionEnvironment, NamesTheEngine) {
  const auto succeeded = ::testing::ExitedWithCode(0);
  EXPECT_EXIT(print_and_exit("MINIDL_CONV2D_ENGINE", "reference", [] { return execution::conv2d_engine(); }), succeeded,
              "^reference");
  EXPECT_EXIT(
      print_and_exit("MINIDL_CONV2D_ENGINE", "fast", [] { return execution::conv2d_engine(); }), succeeded,
      "MINIDL_CONV2D_ENGINE names the engine 'fast', which does not exist; this build has: direct_bf16, direct, "
      "winograd_bf16, winograd_amx_tf32, "
      "winograd, winograd_amx, im2col, reference");
  EXPECT_EXIT(print_and_exit("MINIDL_VERIFY", "slow", [] { return execution::verify_engine(); }), succeeded,
              "MINIDL_VERIFY names the engine 'slow'");
}

/// The engine for a convolution that Winograd's tiles suit.
std::string engine_at(Precision precision) {
  execution::set_precision(precision);
  return conv2d_engine_for({Conv2dDesc::make({1, 64, 64, 64}, {64, 3, 3, 64}, {1, 1, Padding::zero(1)})}, Device::cpu())
      .name;
}

std::string choices() {
  std::string names;
  for (const std::string& name : execution::simd_choices()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

TEST_F(ExecutionEnvironment, NamesTheInstructionSet) {
  const auto succeeded = ::testing::ExitedWithCode(0);
  for (const std::string& name : execution::simd_choices()) {
    EXPECT_EXIT(print_and_exit("MINIDL_SIMD", name.c_str(), [] { return execution::simd(); }), succeeded,
                "^" + name + "\n");
  }
  EXPECT_EXIT(print_and_exit("MINIDL_SIMD", "", [] { return execution::simd(); }), succeeded,
              "^" + execution::simd_choices().front() + "\n");
  const auto kernel = [] { return std::to_string(sum(Tensor::zeros({1}))); };
  EXPECT_EXIT(print_and_exit("MINIDL_SIMD", "mmx", kernel), succeeded,
              "^.simd. MINIDL_SIMD names the instruction set 'mmx', which this processor or build does not have; "
              "use one of: " +
                  choices() + "\n");
}

TEST(Execution, RefusesUnknownInstructionSets) {
  const std::string before = execution::simd();
  EXPECT_TRUE(test::throws_error([] { execution::set_simd("mmx"); },
                                 "[simd] the setting names the instruction set 'mmx', which this processor or build "
                                 "does not have; use one of: " +
                                     choices()));
  EXPECT_EQ(execution::simd(), before);
}

TEST(Conv2dOrder, FollowsTheInstructionSet) {
  test::for_each_instruction_set([](const std::string& name) {
    const bool tiles = name == "amx", dot_products = tiles || name == "avx512_bf16";
    EXPECT_EQ(engine_at(Precision::fp32), "winograd") << name;
    EXPECT_EQ(engine_at(Precision::tf32), tiles ? "winograd_amx_tf32" : "winograd") << name;
    EXPECT_EQ(engine_at(Precision::bf16), dot_products ? "winograd_bf16" : "winograd") << name;
  });
  execution::set_precision(Precision::fp32);
}

TEST(Conv2dOrder, IsWithoutTilesWhenTheyAreSwitchedOff) {
  if (!cpu::amx_instructions()) GTEST_SKIP() << "this machine has no AMX that could be switched off";
  const std::string before = execution::simd();
  execution::set_simd("amx");
  EXPECT_EQ(engine_at(Precision::tf32), "winograd_amx_tf32");
  execution::set_simd("avx512_bf16");
  EXPECT_FALSE(cpu::amx_available());
  EXPECT_NE(cpu::bf16_body(), cpu::amx_instructions());
  EXPECT_EQ(engine_at(Precision::tf32), "winograd");
  EXPECT_EQ(engine_at(Precision::bf16), "winograd_bf16");
  execution::set_simd(before);
  execution::set_precision(Precision::fp32);
}

/// An engine that is asked for by name runs without the instructions.
TEST(Conv2dOrder, NamedEnginesDoWithoutTileInstructions) {
  execution::set_conv2d_engine("winograd_amx");
  test::for_each_instruction_set(
      [](const char* name) { EXPECT_EQ(engine_at(Precision::fp32), "winograd_amx") << name; });
  execution::set_conv2d_engine("");
  execution::set_precision(Precision::fp32);
}

TEST_F(ExecutionEnvironment, SwitchesVerbosity) {
  const auto succeeded = ::testing::ExitedWithCode(0);
  const auto verbosity = [] { return std::string(execution::verbose() ? "talks" : "is silent"); };
  EXPECT_EXIT(print_and_exit("MINIDL_VERBOSE", "1", verbosity), succeeded, "talks");
  EXPECT_EXIT(print_and_exit("MINIDL_VERBOSE", "0", verbosity), succeeded, "is silent");
}

class VerifyMode : public ::testing::Test {
 protected:
  void SetUp() override { execution::set_verify_engine("reference"); }
  void TearDown() override { execution::set_verify_engine(""); }
};

TEST_F(VerifyMode, PassesEnginesThatAgree) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 6, 5, 3}, {4, 3, 3, 3}, {1, 1, Padding::reflect(1)});
  const Tensor input = test::random_integers(desc.input_shape(), 1),
               weight = test::random_integers(desc.weight_shape(), 2);
  Tensor output = Tensor::empty(desc.output_shape()), grad_input = Tensor::full(desc.input_shape(), 2.0f);
  Tensor grad_weight = Tensor::full(desc.weight_shape(), 3.0f);
  EXPECT_NO_THROW(conv2d_forward(desc, input, weight, {}, Activation::relu, output));
  const BitMask mask = test::positive(input);
  EXPECT_NO_THROW(conv2d_backward_data(desc, weight, output, {1.0f, &mask}, grad_input));
  EXPECT_NO_THROW(conv2d_backward_weight(desc, input, output, 1.0f, grad_weight));
}

/// Where the second engine declines another one takes its place.
TEST_F(VerifyMode, GoesOnWhereTheSecondEngineDeclines) {
  execution::set_verify_engine("winograd");
  const Conv2dDesc desc = Conv2dDesc::make({1, 6, 5, 16}, {17, 3, 3, 16}, {1, 1, Padding::zero(1)});
  const Tensor input = test::random_integers(desc.input_shape(), 1),
               weight = test::random_integers(desc.weight_shape(), 2);
  Tensor output = Tensor::empty(desc.output_shape()), grad_weight = Tensor::empty(desc.weight_shape());
  EXPECT_NO_THROW(conv2d_forward(desc, input, weight, {}, Activation::none, output));
  EXPECT_NO_THROW(conv2d_backward_weight(desc, input, output, 0.0f, grad_weight));
}

TEST_F(VerifyMode, PassesInfinitiesAndNans) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 2, 2, 1}, {1, 1, 1, 1}, {});
  const Tensor input = Tensor::from(std::vector<float>{INFINITY, NAN, -INFINITY, 1.0f}, desc.input_shape());
  Tensor output = Tensor::empty(desc.output_shape());
  EXPECT_NO_THROW(conv2d_forward(desc, input, Tensor::full(desc.weight_shape(), 1.0f), {}, Activation::none, output));
}

/// 1e8 + 1 - 1e8 is 0 in f32 and 1 in f64.
TEST_F(VerifyMode, ThrowsWhereEnginesDeviate) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 1, 1, 3}, {1, 1, 1, 3}, {});
  const Tensor input = Tensor::from(std::vector<float>{1e8f, 1.0f, -1e8f}, desc.input_shape());
  Tensor output = Tensor::empty(desc.output_shape());
  EXPECT_TRUE(test::throws_error(
      [&] { conv2d_forward(desc, input, Tensor::full(desc.weight_shape(), 1.0f), {}, Activation::none, output); },
      "[conv2d] forward of input [1,1,1,3] weight [1,1,1,3] stride 1x1 padding zero(0,0,0,0): engine direct deviates "
      "from reference by 1 "));
}

}  // namespace
}  // namespace minidl
