#include <minidl/core/shape.h>
#include <support/compare.h>

#include <limits>

namespace minidl {
namespace {

using test::throws_error;

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

TEST(Shape, KnowsItsExtents) {
  const Shape shape{2, 3, 5, 7};
  EXPECT_EQ(shape.rank(), 4);
  EXPECT_EQ(shape.count(), 210);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[3], 7);
  EXPECT_EQ(std::vector<int64_t>(shape.begin(), shape.end()), (std::vector<int64_t>{2, 3, 5, 7}));
  EXPECT_EQ(shape.str(), "[2,3,5,7]");
}

TEST(Shape, AScalarHasOneElement) {
  EXPECT_EQ(Shape().rank(), 0);
  EXPECT_EQ(Shape().count(), 1);
  EXPECT_EQ(Shape().str(), "[]");
}

TEST(Shape, AnExtentMayBeZero) {
  EXPECT_EQ((Shape{4, 0, 3}).count(), 0);
  EXPECT_EQ((Shape{0, kLargest}).count(), 0);
}

TEST(Shape, EqualityNeedsTheSameRank) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_NE((Shape{2}), (Shape{2, 0}));
}

TEST(Shape, RefusesNegativeAndTooManyExtents) {
  EXPECT_TRUE(throws_error([] { Shape{2, -1}; }, "dimension 1 is -1"));
  EXPECT_TRUE(throws_error([] { Shape{1, 2, 3, 4, 5}; }, "5 dimensions"));
}

TEST(Shape, RefusesCountsBeyondInt64) {
  EXPECT_EQ((Shape{kLargest}).count(), kLargest);
  EXPECT_EQ((Shape{int64_t{1} << 31, int64_t{1} << 31}).count(), int64_t{1} << 62);
  EXPECT_TRUE(throws_error([] { Shape{int64_t{1} << 32, int64_t{1} << 31}; }, "overflows at dimension 1"));
  EXPECT_TRUE(throws_error([] { Shape{kLargest, 1, 2}; }, "overflows at dimension 2"));
}

}  // namespace
}  // namespace minidl
