// The allocator on a source whose segments lie one after the other.
#include <support/compare.h>
#include <support/fake_sources.h>

namespace minidl {
namespace {

using test::FakeRange;
using test::kMiB;
using test::throws_error;

class CachingAllocatorOfARange : public ::testing::Test {
 protected:
  char* allocate(int64_t bytes) { return static_cast<char*>(allocator.allocate(static_cast<size_t>(bytes))); }
  void deallocate(void* pointer) { allocator.deallocate(pointer); }

  FakeRange source{64 * kMiB};
  CachingAllocator allocator{source};
};

TEST_F(CachingAllocatorOfARange, MergesAcrossSegments) {
  char* a = allocate(8 * kMiB);
  char* b = allocate(4 * kMiB);
  char* c = allocate(2 * kMiB);
  EXPECT_EQ(b, a + 8 * kMiB);
  EXPECT_EQ(c, b + 4 * kMiB);
  deallocate(a);
  deallocate(b);
  EXPECT_EQ(allocate(11 * kMiB), a);
  EXPECT_EQ(source.out, 14 * kMiB);
}

TEST_F(CachingAllocatorOfARange, GrowsByWhatIsMissing) {
  char* a = allocate(8 * kMiB);
  char* b = allocate(4 * kMiB);
  deallocate(b);
  EXPECT_EQ(allocate(10 * kMiB), b);
  EXPECT_EQ(source.out, 18 * kMiB);
  EXPECT_EQ(allocator.stats().held, 18 * kMiB);
  deallocate(a);
}

TEST_F(CachingAllocatorOfARange, CutsTheEndLast) {
  char* a = allocate(16 * kMiB);
  allocate(2 * kMiB);
  char* end = allocate(4 * kMiB);
  deallocate(a);
  deallocate(end);
  EXPECT_EQ(allocate(3 * kMiB), a);
  EXPECT_EQ(allocate(14 * kMiB), end);  // 13 are left inside
  EXPECT_EQ(source.out, 32 * kMiB);
}

TEST_F(CachingAllocatorOfARange, GivesWholeSegmentsBackFromTheEnd) {
  char* a = allocate(8 * kMiB);
  char* b = allocate(8 * kMiB);
  char* c = allocate(8 * kMiB);
  char* d = allocate(8 * kMiB);
  for (char* block : {a, c, d}) deallocate(block);
  char* part = allocate(2 * kMiB);  // of the first
  EXPECT_EQ(part, a);
  allocator.release_cached();
  EXPECT_EQ(source.out, 16 * kMiB);
  EXPECT_EQ(allocator.stats().held, 16 * kMiB);
  EXPECT_EQ(allocate(8 * kMiB), c);
  EXPECT_EQ(allocate(6 * kMiB), a + 2 * kMiB);
  deallocate(b);
}

TEST_F(CachingAllocatorOfARange, GoesOnElsewhereWhenTheRangeCannotGrow) {
  char* a = allocate(8 * kMiB);
  deallocate(a);
  source.is_blocked = true;
  char* b = allocate(12 * kMiB);
  std::memset(b, 1, 12 * kMiB);
  EXPECT_EQ(allocator.stats().in_use, 12 * kMiB);
  source.is_blocked = false;
  EXPECT_EQ(allocate(8 * kMiB), a);
  deallocate(b);
  allocator.release_cached();
  EXPECT_EQ(source.elsewhere.out(), 0);
  EXPECT_EQ(source.elsewhere.wrong_releases, 0);
}

TEST_F(CachingAllocatorOfARange, GivesFreeSegmentsBackBeforeItFails) {
  char* a = allocate(30 * kMiB);
  allocate(2 * kMiB);
  char* c = allocate(20 * kMiB);
  deallocate(a);
  deallocate(c);
  EXPECT_TRUE(throws_error([&] { allocate(40 * kMiB); }, "out of memory: 41943040 bytes requested"));
  EXPECT_EQ(allocate(32 * kMiB), c);
}

/// Blocks up to 3 MiB of an allocator that has a second range for them.
TEST(CachingAllocatorOfTwoRanges, SmallBlocksDoNotCutLargeOnes) {
  FakeRange large{64 * kMiB}, small{16 * kMiB};
  CachingAllocator allocator{large, small};
  const auto allocate = [&](int64_t bytes) {
    return static_cast<char*>(allocator.allocate(static_cast<size_t>(bytes)));
  };
  char* a = allocate(8 * kMiB);
  char* b = allocate(3 * kMiB);
  char* c = allocate(4 * kMiB);
  char* d = allocate(1000);
  EXPECT_EQ(c, a + 8 * kMiB);
  EXPECT_EQ(d, b + 3 * kMiB);
  EXPECT_EQ(large.out, 12 * kMiB);
  EXPECT_EQ(small.out, 4 * kMiB);
  for (char* block : {a, c}) allocator.deallocate(block);
  EXPECT_NE(allocate(2 * kMiB), a);
  EXPECT_EQ(allocate(12 * kMiB), a);
  EXPECT_EQ(allocator.stats().held, 18 * kMiB);
  EXPECT_EQ(allocator.stats().in_use, 17 * kMiB + 1024);
  for (char* block : {a, b, d}) allocator.deallocate(block);
  allocator.release_cached();
  EXPECT_EQ(large.out, 0);
  EXPECT_EQ(small.out, 6 * kMiB);  // of which 2 MiB are in use
}

}  // namespace
}  // namespace minidl
