#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/conv2d_sides.h>
#include <minidl/kernels/cpu/outer_products.h>
#include <minidl/kernels/cpu/winograd.h>
#include <minidl/kernels/cpu/winograd_weight.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kPoints = WinogradConv::kPoints;
constexpr int64_t kLine = 16;         // floats in a line of a cache
constexpr int64_t kSkew = 5 * kLine;  // between planes, which would share a few lines of a cache
constexpr int64_t kSlices = 16;       // summed apart: enough for many threads to end at about the same time
constexpr int64_t kLeastTiles = 24;   // of a block, over which loads and stores of the sums are spread
constexpr int64_t kMostTiles = 48;    // of a block of one thread
constexpr int64_t kSharedTiles = 96;  // of a block that all threads share
constexpr int64_t kSharedFloats = int64_t{1} << 21;
constexpr int64_t kTransformTiles = 4;  // of a task

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Floats from one row of `columns` to the next: an odd number of lines, so that a column crosses all of a cache.
int64_t skewed(int64_t columns) {
  return (ceil_div(columns, kLine) | 1) * kLine;
}

/// How the tiles are cut. When the sums of all points fit into the second cache beside a block of tiles, slices of the
/// tiles are summed apart; else all threads transform a block, and a task adds up one point.
struct Blocking {
  int64_t values_stride, grads_stride, sums_stride;
  int64_t sums_count;  // of one slice
  int64_t slices = 1, slice_tiles;
  int64_t tiles;  // of a block

  explicit Blocking(const WinogradConv& conv)
      : values_stride(skewed(conv.in_c)),
        grads_stride(skewed(conv.out_c)),
        sums_stride(GemmColumns(conv.in_c).padded()),
        sums_count(kPoints * conv.out_c * sums_stride) {
    const int64_t tile_floats = kPoints * (values_stride + grads_stride);
    const int64_t fitting = (l2_floats() * 3 / 4 - sums_count) / tile_floats;
    const bool apart = fitting >= kLeastTiles;
    const int64_t most =
        apart ? std::min(fitting, kMostTiles) : std::clamp(kSharedFloats / tile_floats, kLeastTiles, kSharedTiles);
    if (apart) slices = std::min(kSlices, ceil_div(conv.tiles(), most));
    slice_tiles = ceil_div(conv.tiles(), slices);
    tiles = ceil_div(slice_tiles, ceil_div(slice_tiles, most));
  }
  int64_t values_plane() const { return tiles * values_stride + kSkew; }
  int64_t grads_plane() const { return tiles * grads_stride + kSkew; }
  int64_t block_count() const { return kPoints * (values_plane() + grads_plane()); }
};

class GradWeight {
 public:
  GradWeight(const WinogradConv& conv, const float* grad_output)
      : conv_(conv),
        grads_{grad_output, conv.out_h, conv.out_w, conv.out_c},
        blocking_(conv),
        sums_(Tensor::empty({blocking_.slices, blocking_.sums_count})) {}

  void run(const Conv2dBackwardWeightArgs& args) {
    blocking_.slices > 1 ? run_apart() : run_shared();
    const int64_t plane = conv_.out_c * blocking_.sums_stride;
    const float* sums = std::as_const(sums_).data<float>();
    parallel_for(0, conv_.out_c, 4, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        winograd_weight({sums + k * blocking_.sums_stride, blocking_.slices, blocking_.sums_count, plane}, conv_.in_c,
                        args.beta, args.grad_weight + k * 9 * conv_.in_c);
      }
    });
  }

 private:
  /// Transformed tiles of both sides: [point, tile, channel].
  struct Block {
    float *values, *grads;
  };
  Block block_in(Tensor& memory) const {
    float* values = memory.data<float>();
    return {values, values + kPoints * blocking_.values_plane()};
  }

  void run_apart() {
    float* all_sums = sums_.data<float>();
    parallel_for(0, blocking_.slices, 1, [&](int64_t slice, int64_t) {
      Tensor memory = Tensor::empty({blocking_.block_count()});
      const Block block = block_in(memory);
      float* sums = all_sums + slice * blocking_.sums_count;
      std::fill_n(sums, blocking_.sums_count, 0.0f);
      const int64_t first = slice * blocking_.slice_tiles,
                    last = std::min(conv_.tiles(), first + blocking_.slice_tiles);
      for (int64_t begin = first; begin < last; begin += blocking_.tiles) {
        const int64_t end = std::min(last, begin + blocking_.tiles);
        for (int64_t tile = begin; tile < end; ++tile) transform(tile, tile - begin, block);
        for (int64_t point = 0; point < kPoints; ++point) multiply(point, end - begin, block, sums);
      }
    });
  }

  /// One task after the other in a single loop, because threads that meet for every block would mostly sleep and wake:
  /// a task waits for those before it that it needs, which others have at least begun. Blocks take turns in two places.
  void run_shared() {
    const int64_t blocks = ceil_div(conv_.tiles(), blocking_.tiles);
    const int64_t groups = ceil_div(blocking_.tiles, kTransformTiles);
    Tensor memory[2] = {Tensor::empty({blocking_.block_count()}), Tensor::empty({blocking_.block_count()})};
    const Block places[2] = {block_in(memory[0]), block_in(memory[1])};
    float* sums = sums_.data<float>();
    std::vector<Progress> progress(static_cast<size_t>(blocks));
    parallel_for(0, blocks * (groups + kPoints), 1, [&](int64_t task, int64_t) {
      const int64_t index = task / (groups + kPoints), step = task % (groups + kPoints);
      const int64_t begin = index * blocking_.tiles, end = std::min(conv_.tiles(), begin + blocking_.tiles);
      const Block& block = places[index % 2];
      Progress* now = &progress[static_cast<size_t>(index)];
      if (step < groups) {
        if (index >= 2) wait_for(now[-2].multiplied, kPoints);
        const int64_t first = begin + step * kTransformTiles, last = std::min(end, first + kTransformTiles);
        for (int64_t tile = first; tile < last; ++tile) transform(tile, tile - begin, block);
        count(now->transformed);
      } else {
        if (index >= 1) wait_for(now[-1].multiplied, kPoints);
        wait_for(now->transformed, groups);
        const int64_t point = step - groups, plane = blocking_.sums_count / kPoints;
        if (index == 0) std::fill_n(sums + point * plane, plane, 0.0f);
        multiply(point, end - begin, block, sums);
        count(now->multiplied);
      }
    });
  }

  /// Tasks of a block that are done.
  struct Progress {
    std::atomic<int64_t> transformed{0}, multiplied{0};
  };
  static void count(std::atomic<int64_t>& done) {
    done.fetch_add(1, std::memory_order_release);
    done.notify_all();
  }
  static void wait_for(const std::atomic<int64_t>& done, int64_t all) {
    for (int64_t now; (now = done.load(std::memory_order_acquire)) < all;) done.wait(now);
  }

  /// Row `row` of the block from one tile. Columns beyond the channels are multiplied, too.
  void transform(int64_t tile, int64_t row, const Block& block) const {
    const int64_t plane = blocking_.values_plane(), beyond = blocking_.sums_stride - conv_.in_c;
    float* values = block.values + row * blocking_.values_stride;
    winograd_input_tile(conv_, tile, 0, conv_.in_c, values, plane);
    for (int64_t point = 0; beyond > 0 && point < kPoints; ++point)
      std::fill_n(values + point * plane + conv_.in_c, beyond, 0.0f);
    winograd_grads(grads_, tile, block.grads + row * blocking_.grads_stride, blocking_.grads_plane());
  }

  /// sums[point, k, c] += sum over the tiles of grads[tile, k] * values[tile, c].
  void multiply(int64_t point, int64_t tiles, const Block& block, float* sums) const {
    const OuterProducts::Span span{block.grads + point * blocking_.grads_plane(),
                                   block.values + point * blocking_.values_plane(), tiles};
    add_outer_products({.spans = &span,
                        .span_count = 1,
                        .a_stride = blocking_.grads_stride,
                        .b_stride = blocking_.values_stride,
                        .rows = conv_.out_c,
                        .columns = conv_.in_c,
                        .sums = sums + point * conv_.out_c * blocking_.sums_stride,
                        .sums_stride = blocking_.sums_stride});
  }

  const WinogradConv& conv_;
  WinogradGrads grads_;
  Blocking blocking_;
  Tensor sums_;
};

}  // namespace

void winograd_backward_weight(const Conv2dDesc& desc, const Conv2dBackwardWeightArgs& args) {
  WinogradConv conv = forward_sides<WinogradConv>(desc);
  conv.picture = args.input;
  GradWeight(conv, args.grad_output).run(args);
}

int64_t winograd_backward_weight_workspace(const Conv2dDesc& desc) {
  const Blocking blocking(forward_sides<WinogradConv>(desc));
  const int64_t blocks = blocking.slices > 1 ? std::min<int64_t>(num_threads(), blocking.slices) : 2;
  return blocking.slices * blocking.sums_count + blocks * blocking.block_count();
}

}  // namespace minidl::cpu
