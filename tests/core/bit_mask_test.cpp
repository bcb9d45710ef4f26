#include <gtest/gtest.h>
#include <minidl/core/bit_mask.h>

#include <algorithm>

namespace minidl {
namespace {

TEST(BitMask, HasABitForEachElementAndSlack) {
  EXPECT_FALSE(BitMask());
  EXPECT_EQ(BitMask::bytes({0}), BitMask::kSlack);
  EXPECT_EQ(BitMask::bytes({8}), 1 + BitMask::kSlack);
  EXPECT_EQ(BitMask::bytes({3, 3}), 2 + BitMask::kSlack);
  const BitMask mask({3, 3}, Device::cpu());
  EXPECT_TRUE(mask);
  EXPECT_EQ(mask.shape(), Shape({3, 3}));
  EXPECT_EQ(mask.device(), Device::cpu());
}

TEST(BitMask, BitsAreInMemoryOrderLowestFirst) {
  BitMask mask({20}, Device::cpu());
  std::fill_n(mask.data(), 3, uint8_t{0});
  mask.data()[0] = 0b1000'0001;
  mask.data()[1] = 0b0000'0010;
  mask.data()[2] = 0b0000'1000;
  const BitSpan bits = mask.span(), from_seven = bits.from(4).from(3);
  EXPECT_TRUE(bits);
  EXPECT_FALSE(BitSpan());
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(bits[i], i == 0 || i == 7 || i == 9 || i == 19) << i;
  for (int64_t i = 7; i < 20; ++i) EXPECT_EQ(from_seven[i - 7], bits[i]) << i;
}

TEST(BitMask, CopiesAreHandles) {
  BitMask mask({8}, Device::cpu());
  const BitMask copy = mask;
  mask.data()[0] = 0b100;
  EXPECT_TRUE(copy.span()[2]);
  mask.data()[0] = 0;
  EXPECT_FALSE(copy.span()[2]);
}

TEST(BitMask, APartSharesTheBits) {
  BitMask mask({4, 8}, Device::cpu());
  std::fill_n(mask.data(), 4, uint8_t{0});
  const BitMask part = mask.part(16, {2, 8});
  EXPECT_EQ(part.shape(), Shape({2, 8}));
  mask.data()[3] = 0b100;
  for (int64_t i = 0; i < 16; ++i) EXPECT_EQ(part.span()[i], i == 10) << i;
}

}  // namespace
}  // namespace minidl
