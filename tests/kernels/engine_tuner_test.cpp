// Engines that are chosen by time: what is measured, kept and read again; and on a device, what convolutions then use.
#include <minidl/core/file.h>
#include <minidl/kernels/engine_tuner.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>
#include <support/temporary_folder.h>

namespace minidl {
namespace {

using test::throws_error;

Conv2dEngine engine_called(const char* name) {
  Conv2dEngine engine{};
  engine.name = name;
  return engine;
}
const Conv2dEngine kSlow = engine_called("slow"), kFast = engine_called("fast"), kNew = engine_called("new"),
                   kBroken = engine_called("broken");
const Conv2dProblem kProblem{Conv2dDesc::make({1, 8, 8, 4}, {4, 3, 3, 4}, {}), Conv2dDirection::forward};

class Tuner : public ::testing::Test {
 protected:
  EngineTuner tuner(const std::string& machine = "a machine") {
    return {folder_ / "tuning.json", machine, [this](const Conv2dEngine& engine, const Conv2dProblem&) {
              measured_ += std::string(engine.name) + " ";
              if (engine.name == kBroken.name) fail("it cannot");
              return engine.name == kFast.name ? 1e-3 : engine.name == kNew.name ? 5e-4 : 2e-3;
            }};
  }
  /// What was measured since the last time.
  std::string measured() { return std::exchange(measured_, ""); }
  std::string chosen(EngineTuner& tuner, std::vector<const Conv2dEngine*> candidates,
                     Precision precision = Precision::fp32, bool may_measure = true) {
    return tuner.choose(candidates, kProblem, precision, may_measure).name;
  }

  test::TemporaryFolder folder_;
  std::string measured_;
};

TEST_F(Tuner, MeasuresOnceAndTakesTheFastest) {
  EngineTuner first = tuner();
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}), "fast");
  EXPECT_EQ(measured(), "slow fast ");
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}), "fast");
  EngineTuner second = tuner();
  EXPECT_EQ(chosen(second, {&kSlow, &kFast}), "fast");
  EXPECT_EQ(measured(), "");
  EXPECT_EQ(chosen(second, {&kSlow, &kFast}, Precision::bf16), "fast");
  EXPECT_EQ(measured(), "slow fast ");
  EXPECT_EQ(chosen(second, {&kSlow}, Precision::tf32), "slow");
  EXPECT_EQ(measured(), "");
}

TEST_F(Tuner, OtherCandidatesAreMeasuredAnew) {
  EngineTuner first = tuner();
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}), "fast");
  measured();
  EXPECT_EQ(chosen(first, {&kSlow, &kFast, &kNew}), "new");
  EXPECT_EQ(measured(), "slow fast new ");
  EXPECT_EQ(chosen(first, {&kFast, &kNew}), "new");
  EXPECT_EQ(measured(), "fast new ");
}

TEST_F(Tuner, MachinesShareAFile) {
  EngineTuner first = tuner(), second = tuner("another");
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}), "fast");
  EXPECT_EQ(chosen(second, {&kSlow, &kFast}), "fast");
  EXPECT_EQ(measured(), "slow fast slow fast ");
  for (const char* machine : {"a machine", "another"}) {
    EngineTuner again = tuner(machine);
    EXPECT_EQ(chosen(again, {&kSlow, &kFast}), "fast");
  }
  EXPECT_EQ(measured(), "");
}

TEST_F(Tuner, WithoutMeasuringTheFirstOneOfTheUnknown) {
  EngineTuner first = tuner();
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}, Precision::fp32, false), "slow");
  EXPECT_EQ(measured(), "");
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}), "fast");
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}, Precision::fp32, false), "fast");
}

TEST_F(Tuner, LeavesOutWhatFailsAndTriesItAgainNextTime) {
  EngineTuner first = tuner();
  EXPECT_EQ(chosen(first, {&kBroken, &kSlow}), "slow");
  EXPECT_EQ(chosen(first, {&kSlow, &kFast}, Precision::bf16), "fast");
  EXPECT_EQ(chosen(first, {&kBroken, &kSlow}), "slow");
  EXPECT_EQ(measured(), "broken slow slow fast ");
  EngineTuner second = tuner();
  EXPECT_EQ(chosen(second, {&kSlow, &kFast}, Precision::bf16), "fast");
  EXPECT_EQ(measured(), "");
  EXPECT_EQ(chosen(second, {&kBroken, &kSlow}), "slow");
  EXPECT_EQ(measured(), "broken slow ");
  const Conv2dEngine another = engine_called(kBroken.name);
  EXPECT_TRUE(throws_error([&] { chosen(first, {&kBroken, &another}, Precision::tf32); }, "broken: it cannot"));
}

TEST_F(Tuner, RefusesFilesThatAreNotItsOwn) {
  const auto refused = [&](const std::string& text, const std::string& words) {
    test::write_bytes(folder_ / "tuning.json", text);
    return throws_error([&] { tuner(); }, words);
  };
  EXPECT_TRUE(refused("{", "tuning.json' is no file of measured engines; delete it"));
  EXPECT_TRUE(refused(R"({"format": "something"})", "is no file of measured engines"));
  EXPECT_TRUE(refused(R"({"format": "minidl-tuning", "machines": {"a machine": {"x": 3}}})",
                      "the times of 'a machine' are no numbers"));
  EXPECT_TRUE(throws_error([&] { EngineTuner(folder_ / "missing/tuning.json", "a machine", {}); }, "missing"));
}

/// On a device every engine that accepts is timed the first time, and the result is that of the definition.
TEST_F(Tuner, ConvolutionsOfADeviceAreTuned) {
  if (test::on_cpu()) GTEST_SKIP() << "engines of the CPU are not timed";
  const std::filesystem::path file = folder_ / "tuning.json";
  execution::set_tuning_file(file.string());
  const Conv2dDesc desc = Conv2dDesc::make({1, 9, 7, 8}, {8, 3, 3, 8}, {1, 1, Padding::zero(1)});
  const Tensor input = test::random_integers(desc.input_shape(), 1),
               weight = test::random_integers(desc.weight_shape(), 2);
  Tensor output = Tensor::empty(desc.output_shape());
  ON_DEVICE(conv2d_forward)(desc, input, weight, Tensor(), Activation::none, output, nullptr);
  EXPECT_TRUE(test::equals(output, test::reference_conv2d(desc, input, weight, Tensor(), Activation::none)));
  const std::string first = test::read_bytes(file);
  for (const char* words : {"minidl-tuning", "compute capability", "forward of input [1,9,7,8]", "simt", "mma_3xtf32"})
    EXPECT_NE(first.find(words), std::string::npos) << words << " in " << first;
  ON_DEVICE(conv2d_forward)(desc, input, weight, Tensor(), Activation::none, output, nullptr);
  EXPECT_EQ(test::read_bytes(file), first);
  execution::set_tuning_file("");
}

}  // namespace
}  // namespace minidl
