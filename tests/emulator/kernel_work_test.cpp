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
#include <minidl/kernels/curvature_pair.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/reduce.h>
#include <support/mma_products.h>

#include <algorithm>
#include <array>
#include <functional>

namespace minidl::emulator {
namespace {

using test::kMmaTypes;
using test::MmaType;

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
      // Single floats, of which some are zeros, the compiler may copy in two places.
      if (vector == 4) {
        EXPECT_EQ(counted[0].shared_requests, blocks * (copies + reads));
      }
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

struct WarpTile {
  int64_t rows, columns, warp_rows, warp_columns;

  int64_t warps() const { return rows / warp_rows * (columns / warp_columns); }
  /// Of 16 bytes by the lanes of a warp, for a stage: each row and column has 64 bytes of terms.
  int64_t copies() const { return (rows + columns) / 8; }
};

/// What gather_mma.cuh launches for kMmaTiles.
WarpTile gather_tile_of(const MmaType& type, int tile) {
  constexpr WarpTile kTiles[] = {{64, 64, 32, 32},   {128, 64, 64, 32}, {128, 128, 64, 64}, {256, 64, 64, 32},
                                 {128, 256, 64, 64}, {128, 8, 32, 8},   {256, 32, 64, 32}};
  if (type.products == 3 && tile == 6) return kTiles[3];
  return type.products == 3 && (tile == 2 || tile == 4) ? WarpTile{128, 128, 64, 32} : kTiles[tile];
}

/// 3 x 3 windows of two pictures, or, with one tap, the pixels of one.
cuda::Windows mma_windows(int taps, int channels) {
  return taps == 1 ? pixels(131, channels)
                   : cuda::Windows{.n = 2,
                                   .in_h = 5,
                                   .in_w = 13,
                                   .in_c = channels,
                                   .k_h = 3,
                                   .k_w = 3,
                                   .windows_h = 5,
                                   .windows_w = 13,
                                   .begin_h = -1,
                                   .begin_w = -1};
}
Tensor operand(const MmaType& type, const Shape& shape) {
  return Tensor::zeros(shape, type.dtype, cuda_device());
}

TEST_F(KernelWork, GatherMma) {
  for (const MmaType& type : kMmaTypes) {
    for (int number = 0; number < static_cast<int>(std::size(cuda::kMmaTiles)); ++number) {
      const WarpTile tile = gather_tile_of(type, number);
      for (const auto& [taps, in_c, channels, parts] :
           {std::array{1, 64, 10, 1}, {1, 72, 9, 1}, {1, 64, 24, 1}, {1, 256, 10, 3}, {9, 24, 10, 1}, {9, 16, 8, 2}}) {
        SCOPED_TRACE(::testing::Message() << type.name << ", tile " << number << ", " << taps << " taps, " << in_c
                                          << " channels, " << parts << " parts");
        cuda::Windows windows = mma_windows(taps, in_c);
        if (in_c == 24) windows.mode = Padding::Mode::reflect;
        const int64_t element = size_of(type.dtype), length = windows.length(), count = windows.count();
        const int64_t all = cuda::divided_up(length * element, 64), of_part = cuda::divided_up(all, parts);
        ASSERT_EQ(cuda::divided_up(all, of_part), parts);
        const Tensor picture = operand(type, {windows.n, windows.in_h, windows.in_w, in_c}),
                     weight = operand(type, {channels, length});
        Tensor output = device_tensor({count, channels}),
               bits = Tensor::zeros({count * channels / 8}, Dtype::u8, cuda_device());
        const bool positive = channels % 8 == 0;
        const int64_t bytes_of_bits = positive ? count * channels / 8 : 0;
        const cuda::GatherOutput out{.output = output.data<float>(),
                                     .channels = channels,
                                     .out_h = windows.windows_h,
                                     .out_w = windows.windows_w,
                                     .positive = positive ? bits.data<uint8_t>() : nullptr};
        const auto counted = launches([&] {
          type.gather({number, parts, static_cast<int>(of_part)}, windows, picture.raw(), weight.raw(), out,
                      cuda::current_stream());
        });
        ASSERT_EQ(counted.size(), parts == 1 ? 1u : 2u);
        const int64_t down = cuda::divided_up(count, tile.rows), across = cuda::divided_up(channels, tile.columns);
        EXPECT_EQ(counted[0].blocks, down * across * parts);
        EXPECT_EQ(counted[0].barriers, down * across * (all + parts));
        EXPECT_EQ(counted[0].tensor_flops,
                  2 * down * across * tile.rows * tile.columns * all * 64 / element * type.products);
        EXPECT_EQ(counted[0].bytes_read, element * (pixels_read(windows) * in_c * across + channels * length * down));
        EXPECT_EQ(counted[0].bytes_written, 4 * parts * count * channels + (parts == 1 ? bytes_of_bits : 0));
        EXPECT_EQ(counted[0].bank_conflicts, 0);
        const int64_t down_of_warp = tile.warp_rows / 16, across_of_warp = cuda::divided_up(tile.warp_columns / 8, 2);
        if (taps == 1 && length * element % 64 == 0) {  // else the compiler may copy some chunks elsewhere
          const int64_t pairs = tile.warps() * down_of_warp * 2 * (tile.warp_columns / 8);  // written, and read
          EXPECT_EQ(
              counted[0].shared_requests,
              down * across *
                  (all * (tile.copies() + tile.warps() * 2 * (down_of_warp + across_of_warp)) + parts * 2 * pairs));
        }
        // Eight windows or filters with four chunks each; eight windows with eight channels, in pairs where those are
        // aligned.
        const int64_t groups = cuda::divided_up(count, 8), columns = cuda::divided_up(channels, 8);
        const int64_t stores = channels % 2 == 0 ? columns : columns + channels / 8;
        const int64_t stores_of_bits = positive && parts == 1 ? columns : 0;
        if (taps == 1) {
          EXPECT_EQ(counted[0].global_requests,
                    all * (groups * across + columns * down) + groups * (parts * stores + stores_of_bits));
        }
        if (parts == 1) continue;
        EXPECT_EQ(counted[1].bytes_read, 4 * parts * count * channels);
        EXPECT_EQ(counted[1].bytes_written, 4 * count * channels + bytes_of_bits);
        EXPECT_EQ(counted[1].global_requests, (parts + (positive ? 2 : 1)) * cuda::divided_up(count * columns, 8));
      }
    }
  }
}

/// Two cells of four windows and eight channels, in pairs, are written at once.
TEST_F(KernelWork, GatherMmaPools) {
  const cuda::Windows windows{
      .n = 1, .in_h = 6, .in_w = 22, .in_c = 8, .windows_h = 6, .windows_w = 22, .in_cells = true};
  for (const MmaType& type : kMmaTypes) {
    for (const bool choices : {false, true}) {
      SCOPED_TRACE(::testing::Message() << type.name << ", " << choices);
      const Tensor picture = operand(type, {6, 22, 8}), weight = operand(type, {16, 8});
      Tensor output = device_tensor({3, 11, 16}), choice = Tensor::zeros({3, 11, 16}, Dtype::u8, cuda_device());
      const auto counted = launches([&] {
        type.gather({0, 1, 1}, windows, picture.raw(), weight.raw(),
                    {.output = output.data<float>(),
                     .channels = 16,
                     .out_h = 6,
                     .out_w = 22,
                     .pools = true,
                     .max_pooled = true,
                     .choice = choices ? choice.data<uint8_t>() : nullptr},
                    cuda::current_stream());
      });
      ASSERT_EQ(counted.size(), 1u);
      EXPECT_EQ(counted[0].bytes_written, (choices ? 5 : 4) * 33 * 16);
      EXPECT_EQ(counted[0].bytes_read, size_of(type.dtype) * 8 * (132 + 16 * 3));  // in three blocks
      EXPECT_EQ(counted[0].global_requests, 17 + 2 * 3 + 17 * 2 * (choices ? 3 : 1));
    }
  }
}

TEST_F(KernelWork, OuterMma) {
  constexpr WarpTile kTiles[] = {{32, 128, 32, 32}, {64, 64, 32, 32}, {128, 64, 32, 32}, {128, 128, 64, 32}};
  for (const MmaType& type : kMmaTypes) {
    for (int number = 0; number < static_cast<int>(std::size(cuda::kOuterTiles)); ++number) {
      const WarpTile& tile = kTiles[number];
      for (const auto& [taps, rows, in_c] : {std::array{1, 8, 24}, {1, 136, 72}, {1, 264, 264}, {9, 40, 24}}) {
        const bool symmetric = rows == in_c;
        SCOPED_TRACE(::testing::Message() << type.name << ", tile " << number << ", " << rows << " rows, " << taps
                                          << " taps, " << in_c << " channels");
        const cuda::Windows windows = mma_windows(taps, in_c);
        const int64_t element = size_of(type.dtype), length = windows.length(), count = windows.count();
        const Tensor picture = operand(type, {windows.n, windows.in_h, windows.in_w, in_c}),
                     left = symmetric ? picture : operand(type, {count, rows});
        Tensor output = device_tensor({rows, length});
        const cuda::OuterProduct product{.windows = windows, .rows = rows, .symmetric = symmetric};
        const int part = taps == 1 ? 66 : 96, parts = 2;  // of 131 windows, the last part has one less
        const auto counted = launches([&] {
          type.outer({number, part, parts}, product, left.raw(), picture.raw(), in_c, output.data<float>(),
                     cuda::current_stream());
        });
        ASSERT_EQ(counted.size(), 2u);
        const int64_t down = cuda::divided_up(rows, tile.rows), across = cuda::divided_up(length, tile.columns);
        int64_t blocks = 0, chunks = 0, results = 0;
        for (int64_t i = 0; i < down; ++i) {
          const int64_t height = std::min(tile.rows, rows - i * tile.rows);
          for (int64_t j = 0; j < across; ++j) {
            if (symmetric && j * tile.columns >= (i + 1) * tile.rows) continue;
            const int64_t width = std::min(tile.columns, length - j * tile.columns);
            blocks += 1, results += height * width, chunks += height * count;
            if (taps == 1) chunks += width * count;
          }
        }
        if (taps > 1) chunks += pixels_read(windows) * in_c * down;
        const int64_t of_stage = 64 / element;
        const int64_t steps = cuda::divided_up(part, of_stage) + cuda::divided_up(count - part, of_stage);
        EXPECT_EQ(counted[0].barriers, blocks * steps);
        EXPECT_EQ(counted[0].tensor_flops, 2 * blocks * tile.rows * tile.columns * of_stage * steps * type.products);
        EXPECT_EQ(counted[0].bytes_read, element * chunks);
        EXPECT_EQ(counted[0].bytes_written, 4 * parts * results);
        EXPECT_EQ(counted[0].bank_conflicts, 0);
        const int64_t fragments = tile.warp_rows / 16 + tile.warp_columns / 16;
        EXPECT_EQ(counted[0].shared_requests,
                  blocks * steps * (tile.copies() + tile.warps() * 2 * fragments * (element == 2 ? 1 : 4)));
      }
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
    ASSERT_EQ(counted.size(), 1u);
    const int64_t blocks = cuda::divided_up(count, 4096), atomics = 4 * (blocks + 1);
    EXPECT_EQ(counted[0].bytes_read, 4 * count + 8 * blocks);
    EXPECT_EQ(counted[0].bytes_written, 8 * (blocks + 1) + atomics);
    EXPECT_EQ(counted[0].barriers, 2 * blocks + 1);
  }
}

TEST_F(KernelWork, CurvaturePairsReadEachVectorOnce) {
  for (const int64_t count : {1, 4096, 9000}) {
    const Tensor x = device_tensor({count}), other = device_tensor({count});
    Tensor s = device_tensor({count}), y = device_tensor({count}), none;
    Tensor products = Tensor::zeros({kPairProducts}, Dtype::f64, x.device());
    const auto counted = launches([&] { curvature_pair({x, other, x, other, x}, s, y, none, products); });
    ASSERT_EQ(counted.size(), 1u);
    const int64_t blocks = cuda::divided_up(count, 4096), sums = 8 * kPairProducts, atomics = 4 * (blocks + 1);
    EXPECT_EQ(counted[0].bytes_read, 20 * count + sums * blocks);
    EXPECT_EQ(counted[0].bytes_written, 8 * count + sums * (blocks + 1) + atomics);
    EXPECT_EQ(counted[0].barriers, (2 * kPairProducts + 1) * blocks + 2 * kPairProducts);
  }
}

/// Elements of a matrix in tiles of 32 x 32 on the diagonal and below.
int64_t below_diagonal(int64_t c) {
  int64_t elements = 0;
  for (int64_t row = 0; row < c; ++row) elements += std::min(c, (row / 32 + 1) * 32);
  return elements;
}

/// What is above the diagonal is read once, mirrored: of the parts half, of the target all.
TEST_F(KernelWork, DifferencesOfGramMatricesReadEachNumberOnce) {
  for (const int64_t c : {5, 40, 100}) {
    const Tensor features = device_tensor({1, 3, 4, c}), target = device_tensor({1, c, c});
    Tensor difference = device_tensor({1, c, c});
    const auto counted = launches([&] { gram_difference(features, 1.0f, target, 1.0f, difference); });
    ASSERT_EQ(counted.size(), 2u);
    const int64_t tiles = cuda::divided_up(c, 32), blocks = tiles * (tiles + 1) / 2, atomics = 4 * (blocks + 1);
    EXPECT_EQ(counted[1].bytes_read, 4 * below_diagonal(c) + 4 * c * c + 8 * blocks);
    EXPECT_EQ(counted[1].bytes_written, 4 * c * c + 8 * (blocks + 1) + atomics);
    EXPECT_EQ(counted[1].barriers, 3 * blocks + 2);
  }
}

TEST_F(KernelWork, SumsOfChannelsReadEachElementOnce) {
  for (const auto& [positions, channels] : {std::pair<int64_t, int64_t>{100, 8}, {700, 3}, {5000, 4}, {9, 300}}) {
    const Tensor x = device_tensor({positions, channels});
    Tensor output = device_tensor({channels});
    const auto counted = launches([&] { sum_per_channel(x, 0.0f, output); });
    ASSERT_EQ(counted.size(), 1u);
    // Chunks of positions leave their sums, which the last block of a tile of channels adds.
    const int64_t partials = counted[0].bytes_read - 4 * positions * channels, chunks = partials / (8 * channels);
    EXPECT_GE(chunks, 1);
    EXPECT_EQ(partials % (8 * channels), 0);
    EXPECT_EQ(counted[0].blocks % chunks, 0);
    const int64_t atomics = 4 * (counted[0].blocks + counted[0].blocks / chunks);
    EXPECT_EQ(counted[0].bytes_written, partials + 4 * channels + atomics);
  }
}

}  // namespace
}  // namespace minidl::emulator
