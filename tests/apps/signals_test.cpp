#include <minidl/apps/common/signals.h>

#include <csignal>

namespace minidl::apps {
namespace {

TEST(StopSignals, TheFirstSignalOnlySetsTheFlag) {
  for (const int number : {SIGINT, SIGTERM}) {
    const StopSignals stop;
    EXPECT_FALSE(stop.requested());
    std::raise(number);
    EXPECT_TRUE(stop.requested());
    EXPECT_EQ(stop.signal(), number);
    EXPECT_EQ(stop.exit_code(), 128 + number);
  }
}

TEST(StopSignals, ANewObjectStartsWithoutRequest) {
  {
    const StopSignals stop;
    std::raise(SIGINT);
  }
  EXPECT_FALSE(StopSignals().requested());
}

TEST(StopSignals, TheSecondSignalEndsTheProcess) {
  const auto interrupted_twice = [] {
    const StopSignals stop;
    std::raise(SIGINT);
    std::raise(SIGINT);
  };
  EXPECT_EXIT(interrupted_twice(), ::testing::ExitedWithCode(130), "");
}

TEST(StopSignals, TheFormerHandlingComesBack) {
  static int calls = 0;
  std::signal(SIGTERM, [](int) { ++calls; });
  {
    const StopSignals stop;
    std::raise(SIGTERM);
    EXPECT_EQ(calls, 0);
  }
  std::raise(SIGTERM);
  EXPECT_EQ(calls, 1);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace
}  // namespace minidl::apps
