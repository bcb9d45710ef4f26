#include <minidl/core/caching_allocator.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/fake_sources.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <thread>

namespace minidl {
namespace {

using test::FakeRange;
using test::FakeSource;
using test::kMiB;
using test::throws_error;

class CachingAllocatorTest : public ::testing::Test {
 protected:
  char* allocate(int64_t bytes) { return static_cast<char*>(allocator.allocate(static_cast<size_t>(bytes))); }
  void deallocate(void* pointer) { allocator.deallocate(pointer); }

  FakeSource source{64 * kMiB};
  CachingAllocator allocator{source};
};

TEST_F(CachingAllocatorTest, CutsSmallRequestsFromOneSegment) {
  char* a = allocate(1);
  char* b = allocate(513);
  char* c = allocate(512);
  EXPECT_EQ(b, a + 512);
  EXPECT_EQ(c, b + 1024);
  EXPECT_EQ(source.segments(), 1u);
  EXPECT_EQ(source.out(), 2 * kMiB);
  EXPECT_EQ(allocator.stats().in_use, 2048);
  EXPECT_EQ(allocator.stats().held, 2 * kMiB);
  EXPECT_EQ(allocator.stats().allocations, 3);
}

TEST(CachingAllocator, ThatKeepsNothingGivesEveryBlockBack) {
  FakeSource source(kMiB);
  CachingAllocator allocator(source, CachingAllocator::Keeps::nothing);
  void *const a = allocator.allocate(1), *const b = allocator.allocate(kMiB / 2 + 3);
  EXPECT_EQ(source.segments(), 2u);
  EXPECT_EQ(source.out(), kMiB / 2 + 4);
  EXPECT_EQ(allocator.stats().in_use, kMiB / 2 + 4);
  EXPECT_EQ(allocator.stats().held, kMiB / 2 + 4);
  EXPECT_TRUE(throws_error([&] { allocator.allocate(kMiB / 2); }, "out of memory"));
  allocator.deallocate(a);
  EXPECT_EQ(source.out(), kMiB / 2 + 3);
  allocator.deallocate(b);
  EXPECT_EQ(source.out(), 0);
  EXPECT_EQ(allocator.stats().held, 0);
  EXPECT_EQ(allocator.stats().peak_in_use, kMiB / 2 + 4);
  allocator.set_limit(10);
  EXPECT_TRUE(throws_error([&] { allocator.allocate(11); }, "limit"));
}

TEST_F(CachingAllocatorTest, RoundsLargeRequestsTo64Kibibytes) {
  allocate(kMiB);
  EXPECT_EQ(allocator.stats().in_use, kMiB);
  allocate(kMiB + 1);
  EXPECT_EQ(allocator.stats().in_use, 2 * kMiB + kMiB / 16);
  allocate(4 * kMiB + 1);
  EXPECT_EQ(allocator.stats().in_use, 6 * kMiB + kMiB / 8);
}

TEST_F(CachingAllocatorTest, RequestsOfAFewMebibytesShareSegments) {
  char* first = allocate(2 * kMiB + 1);
  for (int i = 0; i < 6; ++i) allocate(2 * kMiB + 1);
  EXPECT_EQ(source.segments(), 1u);
  allocate(4 * kMiB);
  EXPECT_EQ(source.segments(), 2u);
  EXPECT_EQ(allocate(kMiB / 2 + kMiB), first + 7 * (2 * kMiB + kMiB / 16));
}

TEST_F(CachingAllocatorTest, TakesAsMuchAsItNeedsWhenASharedSegmentIsTooMuch) {
  allocate(60 * kMiB);
  EXPECT_NE(allocate(3 * kMiB), nullptr);
  EXPECT_EQ(source.out(), 64 * kMiB);
}

TEST_F(CachingAllocatorTest, BlocksAreAlignedAndDoNotOverlap) {
  std::map<char*, int64_t> blocks;
  for (const int64_t bytes : {1, 63, 64, 65, 700, 4000, 300000, 1200000, 3000000}) {
    char* block = allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
    std::memset(block, static_cast<int>(blocks.size()), static_cast<size_t>(bytes));
    blocks[block] = bytes;
  }
  char* end = nullptr;
  for (const auto& [block, bytes] : blocks) {
    EXPECT_GE(block, end);
    end = block + bytes;
  }
}

TEST_F(CachingAllocatorTest, ReusesAFreedBlock) {
  char* a = allocate(8 * kMiB);
  deallocate(a);
  EXPECT_EQ(allocator.stats().in_use, 0);
  EXPECT_EQ(allocator.stats().held, 8 * kMiB);
  EXPECT_EQ(allocate(8 * kMiB), a);
  EXPECT_EQ(source.requests, 1);
}

TEST_F(CachingAllocatorTest, TakesTheBestFit) {
  char* large = allocate(16 * kMiB);
  char* small = allocate(4 * kMiB);
  char* medium = allocate(8 * kMiB);
  for (char* block : {large, small, medium}) deallocate(block);
  EXPECT_EQ(allocate(6 * kMiB), medium);
  EXPECT_EQ(allocate(4 * kMiB), small);
  EXPECT_EQ(allocate(2 * kMiB), medium + 6 * kMiB);  // the rest of the split block
  EXPECT_EQ(allocate(2 * kMiB), large);
}

TEST_F(CachingAllocatorTest, MergesWithBothNeighbours) {
  char* whole = allocate(12 * kMiB);
  deallocate(whole);
  std::vector<char*> parts;
  for (int i = 0; i < 6; ++i) parts.push_back(allocate(2 * kMiB));
  for (const int i : {0, 2, 4, 1, 5, 3}) deallocate(parts[static_cast<size_t>(i)]);
  EXPECT_EQ(allocate(12 * kMiB), whole);
  EXPECT_EQ(source.requests, 1);
}

TEST_F(CachingAllocatorTest, DoesNotMergeAcrossSegments) {
  std::vector<char*> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(allocate(4 * kMiB));
  for (char* block : blocks) deallocate(block);
  EXPECT_EQ(source.segments(), 8u);
  allocator.release_cached();
  EXPECT_EQ(source.segments(), 0u);
  EXPECT_EQ(source.wrong_releases, 0);
}

TEST_F(CachingAllocatorTest, SmallRequestsLeaveLargeBlocksWhole) {
  char* large = allocate(8 * kMiB);
  deallocate(large);
  allocate(1000);
  EXPECT_EQ(source.segments(), 2u);
  EXPECT_EQ(allocate(8 * kMiB), large);
}

TEST_F(CachingAllocatorTest, SmallRequestsCutALargeBlockWhenThereIsNothingElse) {
  char* a = allocate(60 * kMiB);
  char* keeps_the_segment = allocate(4 * kMiB);
  deallocate(a);
  char* part = allocate(20 * kMiB);
  EXPECT_EQ(part, a);
  EXPECT_EQ(allocate(1000), a + 20 * kMiB);
  deallocate(keeps_the_segment);
}

TEST_F(CachingAllocatorTest, GivesFreeSegmentsBackBeforeItFails) {
  std::vector<char*> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(allocate(16 * kMiB));
  for (const int i : {0, 1, 3}) deallocate(blocks[static_cast<size_t>(i)]);
  char* large = allocate(40 * kMiB);  // three free pieces of 16 MiB do not hold it
  EXPECT_NE(large, nullptr);
  EXPECT_EQ(source.segments(), 2u);
  EXPECT_EQ(allocator.stats().held, 56 * kMiB);
  EXPECT_EQ(allocator.stats().held, source.out());
  EXPECT_EQ(source.wrong_releases, 0);
}

TEST_F(CachingAllocatorTest, KeepsASegmentOfWhichAPartIsInUse) {
  char* whole = allocate(8 * kMiB);
  deallocate(whole);
  allocate(2 * kMiB);
  allocator.release_cached();
  EXPECT_EQ(source.out(), 8 * kMiB);
}

TEST_F(CachingAllocatorTest, SaysWhatWasAskedForWhenMemoryRunsOut) {
  allocate(30 * kMiB);
  char* b = allocate(10 * kMiB);
  deallocate(b);
  EXPECT_TRUE(
      throws_error([&] { allocate(50 * kMiB); },
                   "out of memory: 52428800 bytes requested, 31457280 held of which 31457280 in use (peak 41943040)"));
  EXPECT_EQ(allocator.stats().in_use, 30 * kMiB);
  EXPECT_NE(allocate(34 * kMiB), nullptr);  // it goes on working
}

TEST_F(CachingAllocatorTest, RefusesSizesThatWouldOverflow) {
  for (const size_t bytes : {~size_t{0}, ~size_t{0} - 511, size_t{1} << 63, (size_t{1} << 40) + 1}) {
    EXPECT_TRUE(throws_error([&] { allocator.allocate(bytes); }, "out of memory: " + std::to_string(bytes)));
  }
  allocator.set_limit(kMiB);
  EXPECT_TRUE(throws_error([&] { allocator.allocate(~size_t{0}); }, "the limit is 1048576"));
  EXPECT_EQ(source.requests, 0);
}

TEST_F(CachingAllocatorTest, KeepsToItsLimit) {
  allocator.set_limit(10 * kMiB);
  char* a = allocate(8 * kMiB);
  EXPECT_TRUE(throws_error([&] { allocate(3 * kMiB); },
                           "3145728 bytes requested, but 8388608 are in use and the limit is 10485760"));
  char* b = allocate(2 * kMiB);
  EXPECT_TRUE(throws_error([&] { allocate(1); }, "limit"));
  deallocate(b);
  deallocate(a);
  EXPECT_NE(allocate(10 * kMiB), nullptr);
  allocator.set_limit(0);
  EXPECT_NE(allocate(20 * kMiB), nullptr);
}

TEST_F(CachingAllocatorTest, RemembersThePeak) {
  char* a = allocate(8 * kMiB);
  char* b = allocate(4 * kMiB);
  deallocate(a);
  allocate(2 * kMiB);
  EXPECT_EQ(allocator.stats().peak_in_use, 12 * kMiB);
  allocator.reset_peak();
  EXPECT_EQ(allocator.stats().peak_in_use, 6 * kMiB);
  deallocate(b);
  EXPECT_EQ(allocator.stats().peak_in_use, 6 * kMiB);
}

TEST_F(CachingAllocatorTest, NoBytesNeedNoBlock) {
  EXPECT_EQ(allocate(0), nullptr);
  deallocate(nullptr);
  EXPECT_EQ(allocator.stats().allocations, 0);
}

using CachingAllocatorDeathTest = CachingAllocatorTest;

TEST_F(CachingAllocatorDeathTest, AbortsOnAPointerThatIsNotItsOwn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  char* block = allocate(512);
  EXPECT_DEATH(deallocate(block + 64), "");
  deallocate(block);
  EXPECT_DEATH(deallocate(block), "");
}

TEST(CachingAllocator, ReturnsEverythingWhenItIsDestroyed) {
  FakeSource source(64 * kMiB);
  {
    CachingAllocator allocator(source);
    allocator.allocate(1000);
    allocator.deallocate(allocator.allocate(8000000));
  }
  EXPECT_EQ(source.out(), 0);
  EXPECT_EQ(source.wrong_releases, 0);
}

template <typename Source>
class CachingAllocatorOf : public ::testing::Test {};
using Sources = ::testing::Types<FakeSource, FakeRange>;
TYPED_TEST_SUITE(CachingAllocatorOf, Sources);

int64_t bytes_out(const FakeSource& source) {
  return source.out() + source.wrong_releases;
}
int64_t bytes_out(const FakeRange& source) {
  return source.out;
}

TYPED_TEST(CachingAllocatorOf, SurvivesRandomUse) {
  TypeParam source(32 * kMiB);
  CachingAllocator allocator(source);
  std::mt19937 random(1);
  std::map<char*, size_t> live;
  int64_t failures = 0;
  for (int i = 0; i < 5000; ++i) {
    if (live.size() < 40 && random() % 2 == 0) {
      const size_t bytes = size_t{1} << (random() % 25);
      try {
        char* block = static_cast<char*>(allocator.allocate(bytes));
        const auto next = live.lower_bound(block);
        if (next != live.end()) {
          ASSERT_LE(block + bytes, next->first);
        }
        if (next != live.begin()) {
          ASSERT_GE(block, std::prev(next)->first + std::prev(next)->second);
        }
        live[block] = bytes;
      } catch (const Error&) {
        ++failures;
      }
    } else if (!live.empty()) {
      const auto victim = std::next(live.begin(), static_cast<int64_t>(random() % live.size()));
      allocator.deallocate(victim->first);
      live.erase(victim);
    }
  }
  EXPECT_GT(failures, 0);
  for (const auto& [block, bytes] : live) allocator.deallocate(block);
  EXPECT_EQ(allocator.stats().in_use, 0);
  allocator.release_cached();
  EXPECT_EQ(allocator.stats().held, 0);
  EXPECT_EQ(bytes_out(source), 0);
}

TEST(CachingAllocator, ServesSeveralThreads) {
  FakeSource source(500 * kMiB);
  CachingAllocator allocator(source);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&allocator, t] {
      for (int i = 0; i < 200; ++i) {
        const size_t bytes = static_cast<size_t>(1 + (i * 7919 + t) % 100000);
        char* block = static_cast<char*>(allocator.allocate(bytes));
        std::memset(block, t, bytes);
        if (block[bytes / 2] != t) ADD_FAILURE();
        allocator.deallocate(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(allocator.stats().in_use, 0);
  EXPECT_EQ(allocator.stats().allocations, 800);
}

TEST(Allocator, OfTheCpuIsOneForTheProgram) {
  Allocator& host = allocator(Device::cpu());
  EXPECT_EQ(&host, &allocator(Device::cpu()));
  const int64_t before = host.stats().in_use;
  void* block = host.allocate(1000);
  EXPECT_EQ(host.stats().in_use, before + 1024);
  host.deallocate(block);
  EXPECT_TRUE(throws_error([] { allocator(Device{Device::Kind::cuda, 99}); }, "cuda:99 is not usable"));
}

TEST(Allocator, OfTheCpuHoldsHardlyMoreThanIsUsed) {
  Allocator& host = allocator(Device::cpu());
  host.release_cached();
  const int64_t before = host.stats().held;
  void* a = host.allocate(static_cast<size_t>(16 * kMiB));
  void* b = host.allocate(static_cast<size_t>(16 * kMiB));
  host.deallocate(a);
  host.deallocate(b);
  void* both = host.allocate(static_cast<size_t>(34 * kMiB));
  EXPECT_LE(host.stats().held - before, 36 * kMiB);
  std::memset(both, 1, static_cast<size_t>(34 * kMiB));
  host.deallocate(both);
  host.release_cached();
  EXPECT_LE(host.stats().held, before);
}

}  // namespace
}  // namespace minidl
