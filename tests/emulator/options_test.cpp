// The options that the environment gives.
#include <emulator/options.h>
#include <gtest/gtest.h>

namespace minidl::emulator {
namespace {

TEST(Options, ComeFromTheEnvironment) {
  const Options usual = options_from(nullptr, nullptr);
  EXPECT_EQ(usual.schedule, Schedule::forward);
  EXPECT_EQ(usual.copies, Completion::late);
  EXPECT_EQ(options_from("forward", "late").schedule, Schedule::forward);
  EXPECT_EQ(options_from("reverse", nullptr).schedule, Schedule::reverse);
  EXPECT_EQ(options_from("random", nullptr).schedule, Schedule::random);
  EXPECT_EQ(options_from("random", nullptr).seed, usual.seed);
  EXPECT_EQ(options_from("random:17", nullptr).schedule, Schedule::random);
  EXPECT_EQ(options_from("random:17", nullptr).seed, 17u);
  EXPECT_EQ(options_from(nullptr, "early").copies, Completion::early);
  EXPECT_EQ(options_from(nullptr, "random").copies, Completion::random);
}

TEST(OptionsDeathTest, OtherWordsEndTheProgram) {
  for (const char* schedule : {"", "sideways", "Random", "randomly", "random:", "random:x", "random:1x", "random:-1"}) {
    EXPECT_EXIT(options_from(schedule, nullptr), testing::ExitedWithCode(2),
                "MINIDL_EMULATOR_SCHEDULE is '" + std::string(schedule) + "': expected forward, reverse");
  }
  for (const char* copies : {"", "later", "random:1"}) {
    EXPECT_EXIT(options_from(nullptr, copies), testing::ExitedWithCode(2),
                "MINIDL_EMULATOR_COPIES is '" + std::string(copies) + "': expected late, early or random");
  }
}

}  // namespace
}  // namespace minidl::emulator
