#include <minidl/core/nearest.h>

namespace minidl {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsAndReplacements) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("relu4_2", "relu4_2"), 0);
}

TEST(NearestName, FindsTheFirstOfTheClosest) {
  const std::vector<std::string> flags{"--content", "--content-weight", "--style", "--style-scale", "--size"};
  EXPECT_EQ(nearest_name("--contnet", flags), "--content");
  EXPECT_EQ(nearest_name("--styel", flags), "--style");
  EXPECT_EQ(nearest_name("--content-wieght", flags), "--content-weight");
}

TEST(NearestName, IsEmptyWhenNothingIsClose) {
  const std::vector<std::string> flags{"--content", "--style"};
  EXPECT_EQ(nearest_name("--photographs", flags), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace minidl
