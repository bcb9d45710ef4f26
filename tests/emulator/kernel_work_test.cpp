// That kernels do what their decomposition says and no more: steps, tiles, requests and bytes that a result does not
// show. Counts of single launches against formulas; kernel_counters asks for less, of every kernel.
#include <emulator/device_tensors.h>
#include <emulator/emulator.h>
#include <emulator/kernel_cases.h>
#include <gtest/gtest.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/cuda/outer_product.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>

#include <algorithm>
#include <array>
#include <functional>

namespace minidl::emulator {
namespace {

constexpr int64_t kStep = 16, kWarps = 8;

class KernelWork : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = options();
    options().count = true;
    options().deferred_streams = false;
  }
  void TearDown() override { options() = before_; }

  std::vector<LaunchCounters> launches(const std::function<void()>& run) {
    take_counters();
    run();
    return take_counters();
  }

 private:
  Options before_;
  cuda::DeviceScope scope_{0};
};

cuda::Windows pixels(int64_t count, int64_t channels) {
  return {.n = 1,
          .in_h = 1,
          .in_w = static_cast<int>(count),
          .in_c = static_cast<int>(channels),
          .windows_h = 1,
          .windows_w = static_cast<int>(count)};
}

struct Tile {
  cuda::GatherTile name;
  int64_t rows, columns, thread_rows, thread_columns;
};

TEST_F(KernelWork, GatherProduct) {
  using cuda::GatherTile;
  for (const Tile& tile : {Tile{GatherTile::usual, 64, 64, 4, 4}, Tile{GatherTile::large, 128, 128, 8, 8},
                           Tile{GatherTile::few_channels, 128, 8, 4, 1}, Tile{GatherTile::few_windows, 8, 128, 1, 4}}) {
    for (const int64_t length : {16, 60, 68, 128, 1, 17}) {
      const int64_t windows = 130, channels = 9, vector = length % 4 == 0 ? 4 : 1;
      if (vector == 1 && tile.name == GatherTile::large) continue;  // there is none
      const Tensor picture = device_tensor({windows, length}), weight = device_tensor({channels, length});
      Tensor output = device_tensor({windows, channels}), bias = device_tensor({channels});
      const cuda::GatherOutput out{.output = output.data<float>(),
                                   .channels = static_cast<int>(channels),
                                   .out_h = 1,
                                   .out_w = static_cast<int>(windows),
                                   .bias = bias.data<float>(),
                                   .tile = tile.name};
      const auto counted = launches([&] {
        cuda::gather_product(pixels(windows, length), picture.data<float>(), weight.data<float>(), out,
                             cuda::current_stream());
      });
      ASSERT_EQ(counted.size(), 1u);
      SCOPED_TRACE(::testing::Message() << tile.rows << " x " << tile.columns << ", " << length << " terms");
      const int64_t down = cuda::divided_up(windows, tile.rows), across = cuda::divided_up(channels, tile.columns);
      const int64_t blocks = down * across, steps = cuda::divided_up(length, kStep);
      EXPECT_EQ(counted[0].blocks, blocks);
      EXPECT_EQ(counted[0].barriers, blocks * steps);
      EXPECT_EQ(counted[0].flops, 2 * blocks * tile.rows * tile.columns * kStep * steps);
      const int64_t bias_reads = channels * down * (256 / (tile.columns / tile.thread_columns));
      EXPECT_EQ(counted[0].bytes_read, 4 * (length * (windows * across + channels * down) + bias_reads));
      EXPECT_EQ(counted[0].bytes_written, 4 * windows * channels);
      // A warp copies 32 * vector floats at once; two steps are fetched ahead, even where there is one.
      const int64_t copies = std::max<int64_t>(steps, 2) * (tile.rows + tile.columns) * kStep / (32 * vector);
      const int64_t reads = steps * kWarps * (kStep / 4) * (tile.thread_rows + tile.thread_columns);
      EXPECT_EQ(counted[0].shared_requests, blocks * (copies + reads));
    }
  }
}

TEST_F(KernelWork, OuterProduct) {
  for (const auto& [rows, length, windows, tile] :
       {std::array<int64_t, 4>{5, 7, 16, 64}, {8, 12, 17, 64}, {132, 72, 33, 128}, {65, 66, 48, 64}, {4, 4, 1, 64}}) {
    for (const bool symmetric : {false, true}) {
      const int64_t columns = symmetric ? rows : length;
      const Tensor left = device_tensor({windows, rows}), right = symmetric ? left : device_tensor({windows, columns});
      Tensor output = device_tensor({rows, columns});
      const cuda::OuterProduct product{
          .windows = pixels(windows, columns), .rows = static_cast<int>(rows), .symmetric = symmetric};
      const auto counted = launches([&] {
        cuda::outer_product(product, left.data<float>(), right.data<float>(), output.data<float>(),
                            cuda::current_stream());
      });
      ASSERT_EQ(counted.size(), 2u);
      SCOPED_TRACE(::testing::Message() << rows << " x " << columns << ", " << windows << " windows");
      const int64_t down = cuda::divided_up(rows, tile), across = cuda::divided_up(columns, tile),
                    steps = cuda::divided_up(windows, kStep);
      const int64_t vector = rows % 4 == 0 && columns % 4 == 0 ? 4 : 1;
      int64_t blocks = 0, values = 0, results = 0;
      for (int64_t i = 0; i < down; ++i) {
        const int64_t height = std::min(tile, rows - i * tile);
        for (int64_t j = 0; j < (symmetric ? i + 1 : across); ++j) {
          const int64_t width = std::min(tile, columns - j * tile);
          blocks += 1, values += height + width, results += height * width;
        }
      }
      EXPECT_EQ(counted[0].barriers, blocks * steps);
      EXPECT_EQ(counted[0].flops, 2 * blocks * tile * tile * kStep * steps);
      EXPECT_EQ(counted[0].bytes_read, 4 * values * windows);
      EXPECT_EQ(counted[0].bytes_written, 4 * results);
      const int64_t copies = std::max<int64_t>(steps, 2) * 2 * tile * kStep / (32 * vector);
      const int64_t reads = steps * kWarps * kStep * 2 * (tile / 64);
      EXPECT_EQ(counted[0].shared_requests, blocks * (copies + reads));
    }
  }
}

TEST_F(KernelWork, MapsAccessFourElementsAtOnce) {
  for (const auto& [count, requests] : {std::pair<int64_t, int64_t>{1024, 24}, {1027, 24 + 9}, {4, 3}, {3, 9}}) {
    const Tensor x = device_tensor({count}), y = device_tensor({count});
    Tensor output = device_tensor({count});
    const auto counted = launches([&] { add_scaled(2.0f, x, 3.0f, y, output); });
    ASSERT_EQ(counted.size(), 1u);
    EXPECT_EQ(counted[0].global_requests, requests) << count;
    EXPECT_EQ(counted[0].bytes_read, 8 * count);
    EXPECT_EQ(counted[0].bytes_written, 4 * count);
  }
}

TEST_F(KernelWork, ReductionsReadEachElementOnce) {
  for (const int64_t count : {1, 256, 4096, 4097, 9000}) {
    const Tensor x = device_tensor({count});
    const auto counted = launches([&] { sum(x); });
    ASSERT_EQ(counted.size(), 2u);
    const int64_t blocks = cuda::divided_up(count, 4096);
    EXPECT_EQ(counted[0].bytes_read, 4 * count);
    EXPECT_EQ(counted[0].bytes_written, 8 * blocks);
    EXPECT_EQ(counted[0].barriers, blocks);
    EXPECT_EQ(counted[1].bytes_read, 8 * blocks);
    EXPECT_EQ(counted[1].bytes_written, 8);
    EXPECT_EQ(counted[1].barriers, 1);
  }
}

TEST_F(KernelWork, SumsOfChannelsReadEachElementOnce) {
  for (const auto& [positions, channels] : {std::pair<int64_t, int64_t>{100, 8}, {700, 3}, {5000, 4}, {9, 300}}) {
    const Tensor x = device_tensor({positions, channels});
    Tensor output = device_tensor({channels});
    const auto counted = launches([&] { sum_per_channel(x, 0.0f, output); });
    ASSERT_EQ(counted.size(), 2u);
    EXPECT_EQ(counted[0].bytes_read, 4 * positions * channels);
    const int64_t partials = counted[0].bytes_written;
    EXPECT_EQ(partials % (8 * channels), 0);
    EXPECT_EQ(counted[1].bytes_read, partials);
    EXPECT_EQ(counted[1].bytes_written, 4 * channels);
  }
}

}  // namespace
}  // namespace minidl::emulator
