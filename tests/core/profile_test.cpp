#include <minidl/core/parallel.h>
#include <minidl/core/profile.h>
#include <support/threads.h>

#include <chrono>
#include <thread>

namespace minidl {
namespace {

class ProfileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Profile::clear();
    Profile::enable(true);
  }
  void TearDown() override {
    Profile::enable(false);
    Profile::clear();
  }
};

void spend(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST_F(ProfileTest, CountsCallsAndTimeByName) {
  for (int i = 0; i < 3; ++i) {
    const ProfileRange range("conv2d");
    spend(2);
  }
  { const ProfileRange range("conv2d", "backward"); }
  const std::vector<Profile::Row> rows = Profile::rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].name, "conv2d");
  EXPECT_EQ(rows[0].calls, 3);
  EXPECT_GE(rows[0].seconds, 0.006);
  EXPECT_EQ(rows[1].name, "conv2d backward");
  EXPECT_EQ(rows[1].calls, 1);
}

TEST_F(ProfileTest, AnOuterRangeIncludesTheInnerOnes) {
  {
    const ProfileRange outer("outer");
    const ProfileRange inner("inner");
    spend(2);
  }
  const std::vector<Profile::Row> rows = Profile::rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].name, "outer");
  EXPECT_GE(rows[0].seconds, rows[1].seconds);
}

TEST_F(ProfileTest, RecordsNothingWhenItIsOff) {
  Profile::enable(false);
  EXPECT_FALSE(Profile::enabled());
  {
    const ProfileRange range("off");
    Profile::enable(true);  // a range that began before is not half counted
  }
  EXPECT_TRUE(Profile::enabled());
  EXPECT_TRUE(Profile::rows().empty());
}

TEST_F(ProfileTest, AddsUpOverThreads) {
  const test::WithThreads threads(4);
  parallel_for(0, 200, 1, [](int64_t, int64_t) { const ProfileRange range("chunk"); });
  ASSERT_EQ(Profile::rows().size(), 1u);
  EXPECT_EQ(Profile::rows()[0].calls, 200);
}

TEST_F(ProfileTest, PrintsATable) {
  const std::string heading = Profile::table();
  EXPECT_EQ(std::count(heading.begin(), heading.end(), '\n'), 1);
  {
    const ProfileRange range("gram");
    spend(1);
  }
  const std::string table = Profile::table();
  EXPECT_NE(table.find("calls"), std::string::npos);
  EXPECT_NE(table.find("gram"), std::string::npos);
  EXPECT_NE(table.find("100.0%"), std::string::npos);
  Profile::clear();
  EXPECT_TRUE(Profile::rows().empty());
}

}  // namespace
}  // namespace minidl
