#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/cpu/gemm_kernel.h>
#include <minidl/kernels/cpu/simd.h>
#include <support/compare.h>
#include <support/instruction_sets.h>
#include <support/random_tensors.h>

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

namespace minidl {
namespace {

TEST(Simd, IsWhatWasAskedFor) {
  const char* asked = std::getenv("MINIDL_SIMD");
  EXPECT_EQ(execution::simd(), asked ? asked : execution::simd_choices().front());
  EXPECT_EQ(cpu::dispatched_target(), cpu::simd().target);
}

TEST(Simd, EveryChoiceRunsItsOwnCode) {
  const std::map<std::string, int64_t> lanes = {{"amx", 16}, {"avx512_bf16", 16}, {"avx512", 16}, {"avx2", 8},
                                                {"sse4", 4}, {"neon", 4},         {"scalar", 1}};
  test::for_each_instruction_set([&](const std::string& name) {
    EXPECT_EQ(execution::simd(), name);
    EXPECT_EQ(cpu::dispatched_target(), cpu::simd().target) << name;
    ASSERT_TRUE(lanes.contains(name)) << name;
    EXPECT_EQ(cpu::GemmColumns(1).lanes, lanes.at(name)) << name;
    EXPECT_EQ(cpu::amx_available(), name == "amx") << name;
    EXPECT_EQ(cpu::bf16_body() != nullptr, name == "amx" || name == "avx512_bf16") << name;
  });
}

/// The sets that CTest repeats the kernels' tests with leave none out that this build has code for.
TEST(Simd, EveryChoiceIsTested) {
  if (std::string(MINIDL_SIMD_TESTS).empty()) GTEST_SKIP() << "this build repeats no tests";
  std::istringstream list(MINIDL_SIMD_TESTS);
  const std::set<std::string> tested{std::istream_iterator<std::string>(list), {}};
  const std::vector<std::string> choices = execution::simd_choices();
  for (const std::string& name : choices)
    EXPECT_TRUE(tested.contains(name) || name == choices.front()) << name << " is missing in tests/CMakeLists.txt";
}

/// Filters that were laid out for one width of vectors are not used with another.
TEST(Simd, KeptFiltersFollowTheChoice) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 12, 12, 48}, {40, 3, 3, 48}, {1, 1, Padding::zero(1)});
  const Tensor input = test::random_uniform(desc.input_shape(), 1),
               weight = test::random_uniform(desc.weight_shape(), 2);
  const auto forward = [&](const char* engine) {
    execution::set_conv2d_engine(engine);
    Tensor output = Tensor::empty(desc.output_shape());
    conv2d_forward(desc, input, weight, {}, Activation::none, output);
    execution::set_conv2d_engine("");
    return output;
  };
  const Tensor expected = forward("reference");
  for (int round = 0; round < 2; ++round) {
    test::for_each_instruction_set([&](const char* name) {
      for (int call = 0; call < 3; ++call)
        EXPECT_LE(test::normalised_error(forward("winograd"), expected), 3e-6) << name << ", call " << call;
    });
  }
}

}  // namespace
}  // namespace minidl
