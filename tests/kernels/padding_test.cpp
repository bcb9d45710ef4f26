#include <minidl/kernels/padding.h>

#include <vector>

namespace minidl {
namespace {

std::vector<int64_t> indices(int64_t from, int64_t to, int64_t extent, Padding::Mode mode) {
  std::vector<int64_t> result;
  for (int64_t i = from; i < to; ++i) result.push_back(padded_index(i, extent, mode));
  return result;
}

TEST(PaddedIndex, ZeroReadsNothingOutside) {
  EXPECT_EQ(indices(-2, 5, 3, Padding::Mode::zero), (std::vector<int64_t>{-1, -1, 0, 1, 2, -1, -1}));
}

TEST(PaddedIndex, ReplicateRepeatsTheBorder) {
  EXPECT_EQ(indices(-3, 6, 3, Padding::Mode::replicate), (std::vector<int64_t>{0, 0, 0, 0, 1, 2, 2, 2, 2}));
}

TEST(PaddedIndex, ReflectLeavesTheBorderOut) {
  EXPECT_EQ(indices(-2, 6, 4, Padding::Mode::reflect), (std::vector<int64_t>{2, 1, 0, 1, 2, 3, 2, 1}));
}

TEST(PaddedIndex, ReflectRepeatsWhenThePadExceedsTheExtent) {
  EXPECT_EQ(indices(-7, 10, 3, Padding::Mode::reflect),
            (std::vector<int64_t>{1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1}));
}

TEST(PaddedIndex, OnePixelRepeatsItself) {
  EXPECT_EQ(indices(-3, 4, 1, Padding::Mode::reflect), std::vector<int64_t>(7, 0));
  EXPECT_EQ(indices(-3, 4, 1, Padding::Mode::replicate), std::vector<int64_t>(7, 0));
}

TEST(Padding, SaysWhatItIs) {
  EXPECT_EQ(Padding::reflect(4).str(), "reflect(4,4,4,4)");
  EXPECT_EQ((Padding{Padding::Mode::zero, 1, 2, 3, 4}).str(), "zero(1,2,3,4)");
  EXPECT_EQ(Padding::replicate(2).str(), "replicate(2,2,2,2)");
}

TEST(Padding, AnyAndEquality) {
  EXPECT_FALSE(Padding::reflect(0).any());
  EXPECT_TRUE((Padding{Padding::Mode::zero, 0, 0, 0, 1}).any());
  EXPECT_EQ(Padding::zero(1), Padding::zero(1));
  EXPECT_NE(Padding::zero(1), Padding::replicate(1));
}

}  // namespace
}  // namespace minidl
