#pragma once
// Passes over arrays [groups, positions, c] with values or sums for each channel of a group. A block has a tile of
// channels and a chunk of positions: threads side by side have neighbouring channels, 4 each (or 1, see map.cuh), and,
// where there are fewer channels than threads, neighbouring positions after them, as they lie in memory. A block has
// `lanes` x `rows` threads.
#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cuda/last_block.cuh>
#include <minidl/kernels/cuda/map.cuh>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace minidl::cuda {

inline constexpr int kChannelThreads = 256;

/// How groups are cut, by the sizes and alignments alone.
struct ChannelCut {
  int64_t groups, positions;
  int c;
  int width;          // channels of a thread: 4 or 1
  int lanes, rows;    // threads along channels and along positions
  int tiles;          // of channels
  int64_t per_chunk;  // positions
  int chunks;

  ChannelCut(int64_t group_count, int64_t position_count, int64_t channels, std::initializer_list<const void*> arrays)
      : ChannelCut(group_count, position_count, channels, takes_vectors(channels, arrays) ? 4 : 1) {}
  ChannelCut(int64_t group_count, int64_t position_count, int64_t channels, int channels_of_thread)
      : groups(group_count), positions(position_count), c(static_cast<int>(channels)), width(channels_of_thread) {
    constexpr int64_t kRounds = 12, kMostChunks = 512;  // of a thread; whose sums one block adds
    MINIDL_CHECK(groups <= kMostBlocksAcross, "[cuda] {} pictures at once are too many: a pass by channels takes {}",
                 groups, kMostBlocksAcross);
    lanes = std::min(c / width, kChannelThreads);
    rows = kChannelThreads / lanes;
    tiles = (c / width + lanes - 1) / lanes;
    per_chunk = std::max(rows * kRounds, (positions + kMostChunks - 1) / kMostChunks);
    chunks = static_cast<int>((positions + per_chunk - 1) / per_chunk);
  }
  int threads() const { return lanes * rows; }
  dim3 grid() const {
    return dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(tiles), static_cast<unsigned>(groups));
  }
};

/// The first of a thread's channels.
struct ChannelPlace {
  int64_t group, entry;  // entry: its number in [groups, c]
  int channel;
};

/// Calls body(element), with the number in the array of the first channel's element, for each position of the thread,
/// where `body` is prepare(place): what belongs to the channels is read once.
template <typename Prepare>
MINIDL_DEVICE void for_positions(const ChannelCut& cut, const Prepare& prepare) {
  const int thread = static_cast<int>(threadIdx.x), row = thread / cut.lanes;
  const int channel = (static_cast<int>(blockIdx.y) * cut.lanes + thread % cut.lanes) * cut.width;
  const int64_t group = blockIdx.z, begin = blockIdx.x * cut.per_chunk;
  const int64_t end = min(begin + cut.per_chunk, cut.positions);
  if (channel >= cut.c) return;
  const auto body = prepare(ChannelPlace{group, group * cut.c + channel, channel});
  for (int64_t position = begin + row; position < end; position += cut.rows) {
    body((group * cut.positions + position) * cut.c + channel);
  }
}

/// Sums that f.adder(place, sums), called with each element, adds to, threads in order of positions. The last block of
/// a tile and group adds the chunks, partials[group, chunk, which, channel], in an order of their number, and hands
/// them over: finish(group, channel, sums). `arrived`: a counter for each tile and group.
template <int kWidth, int kSums, typename F, typename Finish>
MINIDL_KERNEL_RESIDENT(kChannelThreads, (kSums < 3 ? 4 : 3), channel_sums_kernel, ChannelCut cut, F f, double* partials,
                       unsigned* arrived, Finish finish) {
  constexpr int kRow = kChannelThreads + 4;  // so that a channel's neighbours in a thread lie in other banks
  MINIDL_SHARED(double, of_row, [kRow * kSums * kWidth]);
  double sums[kSums][kWidth] = {};
  for_positions(cut, [&](const ChannelPlace& place) { return f.template adder<kWidth>(place, sums); });
  const int thread = static_cast<int>(threadIdx.x);
  for (int s = 0; s < kSums; ++s) {
    for (int k = 0; k < kWidth; ++k) store(&of_row[(s * kWidth + k) * kRow + thread], sums[s][k]);
  }
  __syncthreads();
  const int tile = static_cast<int>(blockIdx.y), channel0 = tile * cut.lanes * kWidth;
  const int channels = min(cut.lanes * kWidth, cut.c - channel0);
  const int64_t group = blockIdx.z;
  const auto partial_at = [&](unsigned chunk, int s, int i) {
    return partials + ((group * gridDim.x + chunk) * kSums + s) * cut.c + channel0 + i;
  };
  for (int i = thread; i < channels; i += blockDim.x) {
    for (int s = 0; s < kSums; ++s) {
      double sum = 0.0;
      for (int row = 0; row < cut.rows; ++row) {
        sum += load(&of_row[(s * kWidth + i % kWidth) * kRow + row * cut.lanes + i / kWidth]);
      }
      store(partial_at(blockIdx.x, s, i), sum);
    }
  }
  __syncthreads();
  if (!is_last_block(arrived + group * cut.tiles + tile, gridDim.x)) return;
  // All threads together: of each channel every `parts`-th chunk, then the parts.
  const int threads = static_cast<int>(blockDim.x), parts = max(1, threads / channels), items = channels * parts;
  for (int item = thread; item < items; item += threads) {
    for (int s = 0; s < kSums; ++s) {
      double sum = 0.0;
      for (unsigned chunk = item / channels; chunk < gridDim.x; chunk += parts) {
        sum += load(partial_at(chunk, s, item % channels));
      }
      store(&of_row[s * items + item], sum);
    }
  }
  __syncthreads();
  for (int i = thread; i < channels; i += threads) {
    double totals[kSums] = {};
    for (int s = 0; s < kSums; ++s) {
      for (int part = 0; part < parts; ++part) totals[s] += load(&of_row[s * items + part * channels + i]);
    }
    finish(group, channel0 + i, totals);
  }
}

template <int kSums, typename F, typename Finish>
void channel_sums(const ChannelCut& cut, const F& f, const Finish& finish) {
  dim3 grid = cut.grid();
  grid.x = std::max(1u, grid.x);  // sums of no positions are 0
  Tensor partials = Tensor::empty({cut.groups, grid.x, kSums, cut.c}, Dtype::f64, current_device());
  const int64_t counters = cut.groups * cut.tiles;
  Tensor of_many;
  if (counters > kArrivals) of_many = Tensor::zeros({counters}, Dtype::f32, current_device());
  unsigned* const arrived = of_many ? static_cast<unsigned*>(of_many.raw()) : arrivals();
  with_width(cut.width == 4, [&](auto width) {
    MINIDL_LAUNCH((channel_sums_kernel<width, kSums, F, Finish>), grid, cut.threads(), 0, current_stream(), cut, f,
                  partials.data<double>(), arrived, finish);
  });
}

/// Writes what f.mapper(place) makes of every element, called with it and the results, with the sink.
template <int kWidth, typename F, typename Sink>
MINIDL_KERNEL(kChannelThreads, channel_map_kernel, ChannelCut cut, F f, Sink sink) {
  for_positions(cut, [&](const ChannelPlace& place) {
    return [mapper = f.template mapper<kWidth>(place), &sink](int64_t element) {
      float results[kWidth];
      mapper(element, results);
      sink.template write<kWidth>(element, results);
    };
  });
}

template <typename F, typename Sink>
void channel_map(const ChannelCut& cut, const F& f, const Sink& sink) {
  if (cut.chunks == 0) return;
  with_width(cut.width == 4, [&](auto width) {
    MINIDL_LAUNCH((channel_map_kernel<width, F, Sink>), cut.grid(), cut.threads(), 0, current_stream(), cut, f, sink);
  });
}

}  // namespace minidl::cuda
