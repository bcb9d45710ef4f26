#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/conv2d_as_winograd.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/filter_cache.h>

#include <algorithm>
#include <utility>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float), kPoints = WinogradConv::kPoints;
constexpr int64_t kBlock = kAmxBlock, kBlockCount = kAmxBlockCount;
// Elements between planes: 36 planes at a power of two would share a few lines of a cache.
constexpr int64_t kValuesSkew = 160, kSumsSkew = 80;
constexpr int64_t kApartTiles = 128;       // of a block of one thread, when the filters do not stay in its cache
constexpr int64_t kLeastBlocks = 16;       // of such tiles
constexpr int64_t kSharedValues = 65536;   // tiles times channels of a block that all threads share,
constexpr int64_t kMostSharedTiles = 256;  // which has at most so many tiles
constexpr int64_t kCachedParts = 8;        // of blocks of filters that stay in the first cache
constexpr int64_t kTaskTiles = 8;          // of a task that transforms

/// How the tiles are cut. With many tiles every task takes a block of them through all three stages; with few, all
/// threads share a block, one stage after the other.
struct Blocking {
  int64_t parts, depth, columns;  // depth, columns: blocks of channels
  bool shared;
  int64_t tiles;  // of a block
  int64_t filters_plane, values_plane, sums_plane;

  Blocking(const WinogradConv& conv, int parts_of_number)
      : parts(parts_of_number), depth(amx_blocks(conv.in_c)), columns(amx_blocks(conv.out_c)) {
    filters_plane = columns * depth * parts * kBlockCount;
    const int64_t tile_bytes = kPoints * kBlock * (depth * parts * 2 + columns * kFloat);
    const int64_t needed = kPoints * filters_plane * 2 + kBlock * tile_bytes;
    tiles = needed <= l2_floats() * kFloat ? kBlock : kApartTiles;
    shared = conv.tiles() < kLeastBlocks * tiles;
    if (shared) {
      const int64_t most = std::clamp(kSharedValues / (depth * kBlock), kBlock, kMostSharedTiles);
      tiles = std::min(amx_blocks(conv.tiles()), most / kBlock) * kBlock;
    }
    values_plane = tiles * depth * parts * kBlock + kValuesSkew;
    sums_plane = tiles * columns * kBlock + kSumsSkew;
  }
  int64_t filters_count() const { return kPoints * filters_plane; }  // bf16
  int64_t values_count() const { return kPoints * values_plane; }    // bf16
  int64_t sums_count() const { return kPoints * sums_plane; }        // f32
};

/// Memory for that many bf16, an even number.
Tensor empty_bits(int64_t count) {
  return Tensor::empty({count / 2});
}

const AmxBody& body_for(int parts) {
  return parts == 1 && bf16_body() ? *bf16_body() : amx_body();
}

/// One convolution while it runs.
class WinogradAmx {
 public:
  WinogradAmx(const WinogradConv& conv, const WinogradFilters& filters, int parts)
      : conv_(conv), blocking_(conv, parts), body_(body_for(parts)), filters_(kept(filters)) {}

  void run() { blocking_.shared ? run_shared() : run_apart(); }

 private:
  Tensor kept(const WinogradFilters& filters) const {
    static const char kForms[6] = {};  // of both directions, in one to three parts
    const auto form = static_cast<size_t>(2 * (blocking_.parts - 1) + (filters.tap_stride < 0));
    return kept_filters(*filters.tensor, &kForms[form], [&] { return transformed(filters); });
  }

  Tensor transformed(const WinogradFilters& filters) const {
    const Blocking& b = blocking_;
    Tensor result = empty_bits(b.filters_count());
    uint16_t* bits = bf16_bits(result);
    parallel_for(0, b.columns * b.depth, 1, [&](int64_t task, int64_t) {
      const int64_t column = task / b.depth * kBlock, c = task % b.depth * kBlock;
      const int64_t channels = std::min(kBlock, conv_.in_c - c);
      Tensor panel =
          channels < kBlock ? Tensor::zeros({kPoints, kBlock, kBlock}) : Tensor::empty({kPoints, kBlock, kBlock});
      float* values = panel.data<float>();
      winograd_filters(filters, c, channels, column, std::min(kBlock, conv_.out_c - column), kBlock,
                       values - c * kBlock, kBlockCount);
      for (int64_t point = 0; point < kPoints; ++point)
        body_.split_columns(values + point * kBlockCount, static_cast<int>(b.parts),
                            bits + point * b.filters_plane + task * b.parts * kBlockCount);
    });
    return result;
  }

  void run_apart() {
    const int64_t blocks = (conv_.tiles() + blocking_.tiles - 1) / blocking_.tiles;
    parallel_for(0, blocks, 1, [&](int64_t block, int64_t) {
      Tensor values = empty_bits(blocking_.values_count()), sums = Tensor::empty({blocking_.sums_count()});
      const int64_t begin = block * blocking_.tiles, end = std::min(conv_.tiles(), begin + blocking_.tiles);
      input(begin, begin, end, bf16_bits(values));
      AmxProduct product = this->product(end - begin, bf16_bits(values), sums.data<float>());
      product.points = kPoints;
      product.columns = blocking_.columns;
      body_.multiply(product);
      for (int64_t tile = begin; tile < end; tile += kTaskTiles)
        output(begin, tile, std::min(end, tile + kTaskTiles), sums.data<float>());
    });
  }

  void run_shared() {
    Tensor shared_values = empty_bits(blocking_.values_count()), shared_sums = Tensor::empty({blocking_.sums_count()});
    uint16_t* values = bf16_bits(shared_values);
    float* sums = shared_sums.data<float>();
    // A point's values stay in a thread's cache while it multiplies them by all filters: points are divided only when
    // there are too few for the threads, and every division gives the same bytes.
    const int64_t divisions = std::min((2 * num_threads() + kPoints - 1) / kPoints, blocking_.columns);
    for (int64_t begin = 0; begin < conv_.tiles(); begin += blocking_.tiles) {
      const int64_t end = std::min(conv_.tiles(), begin + blocking_.tiles);
      parallel_for(begin, end, kTaskTiles, [&](int64_t first, int64_t last) { input(begin, first, last, values); });
      parallel_for(0, kPoints * divisions, 1, [&](int64_t task, int64_t) {
        const int64_t point = task / divisions, division = task % divisions;
        const int64_t column = division * blocking_.columns / divisions;
        AmxProduct product = this->product(end - begin, values, sums);
        product.columns = (division + 1) * blocking_.columns / divisions - column;
        product.a += point * product.a_plane;
        product.b += point * product.b_plane + column * product.depth * product.parts * kBlockCount;
        product.c += point * product.c_plane + column * product.c_rows * kBlock;
        body_.multiply(product);
      });
      parallel_for(begin, end, kTaskTiles, [&](int64_t first, int64_t last) { output(begin, first, last, sums); });
    }
  }

  /// Transforms and splits tiles [first, last) of the block that begins with tile `begin`.
  void input(int64_t begin, int64_t first, int64_t last, uint16_t* values) const {
    alignas(64) float transformed[kPoints * kBlock] = {};
    const int64_t parts = blocking_.parts, depth = blocking_.depth;
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t row = tile - begin;
      uint16_t* to = values + row / kBlock * depth * parts * kBlockCount + row % kBlock * kBlock;
      for (int64_t c = 0; c < conv_.in_c; c += kBlock, to += parts * kBlockCount) {
        const int64_t channels = std::min(kBlock, conv_.in_c - c);
        if (channels < kBlock) std::fill(std::begin(transformed), std::end(transformed), 0.0f);
        winograd_input_tile(conv_, tile, c, channels, transformed, kBlock);
        body_.split(transformed, kPoints, static_cast<int>(parts), to, blocking_.values_plane);
      }
    }
  }

  /// All of a block's operands; points and columns are the caller's choice.
  AmxProduct product(int64_t tiles, const uint16_t* values, float* sums) const {
    const Blocking& b = blocking_;
    return {.parts = static_cast<int>(b.parts),
            .rows = tiles,
            .depth = b.depth,
            .depth_step = kCachedParts / b.parts,
            .a = values,
            .a_plane = b.values_plane,
            .b = reinterpret_cast<const uint16_t*>(filters_.data<float>()),
            .b_plane = b.filters_plane,
            .c = sums,
            .c_plane = b.sums_plane,
            .c_rows = b.tiles};
  }

  void output(int64_t begin, int64_t first, int64_t last, const float* sums) const {
    for (int64_t column = 0; column < conv_.out_c; column += kBlock) {
      winograd_output(conv_, first, last, column, std::min(kBlock, conv_.out_c - column),
                      sums + (column * blocking_.tiles) + (first - begin) * kBlock, blocking_.sums_plane, kBlock);
    }
  }

  const WinogradConv& conv_;
  const Blocking blocking_;
  const AmxBody& body_;
  const Tensor filters_;
};

/// An engine asked for by name works without the instructions, too.
bool is_named(const char* name) {
  return execution::conv2d_engine() == name || execution::verify_engine() == name;
}

const char* decline_shape(const Conv2dProblem& problem) {
  return problem.direction == Conv2dDirection::backward_weight ? "has no backward_weight" : winograd_decline(problem);
}

const char* decline(const Conv2dProblem& problem, const char* name) {
  if (!amx_available() && !is_named(name)) return "no AMX in the instruction set in use";
  return decline_shape(problem);
}

const char* decline_bf16(const Conv2dProblem& problem, Precision precision) {
  if (precision != Precision::bf16) return "computes in bf16 only";
  if (!bf16_body() && !is_named("winograd_bf16")) return "no bf16 instructions in the instruction set in use";
  return decline_shape(problem);
}

template <int kParts>
void run(const WinogradConv& conv, const WinogradFilters& filters) {
  WinogradAmx(conv, filters, kParts).run();
}
template <int kParts>
void forward(const Conv2dDesc& desc, const Conv2dForwardArgs& args) {
  winograd_forward(desc, args, run<kParts>);
}
template <int kParts>
void backward_data(const Conv2dDesc& desc, const Conv2dBackwardDataArgs& args) {
  winograd_backward_data(desc, args, run<kParts>);
}

template <int kParts>
int64_t workspace_bytes(const Conv2dProblem& problem) {
  const Blocking blocking(winograd_conv(problem), kParts);
  const int64_t blocks = blocking.shared ? 1 : num_threads();
  return kFloat * winograd_folded_count(problem) + 2 * blocking.filters_count() +
         blocks * (2 * blocking.values_count() + kFloat * blocking.sums_count());
}

template <int kParts>
int64_t kept_bytes(const Conv2dProblem& problem) {
  return 2 * Blocking(winograd_conv(problem), kParts).filters_count();
}

}  // namespace

const Conv2dEngine conv2d_winograd_bf16{.name = "winograd_bf16",
                                        .device = Device::Kind::cpu,
                                        .error = 6e-3,
                                        .grade = Precision::bf16,
                                        .exact_integers = false,
                                        .decline = decline_bf16,
                                        .workspace_bytes = workspace_bytes<1>,
                                        .kept_bytes = kept_bytes<1>,
                                        .spared_bytes = nullptr,
                                        .writes_relu_mask = vectors_fill_bytes,
                                        .pools = pools_whole_vectors,
                                        .forward = forward<1>,
                                        .backward_data = backward_data<1>,
                                        .backward_weight = nullptr};

const Conv2dEngine conv2d_winograd_amx_tf32{
    .name = "winograd_amx_tf32",
    .device = Device::Kind::cpu,
    .error = 5e-5,
    .grade = Precision::tf32,
    .exact_integers = false,
    .decline = [](const Conv2dProblem& problem, Precision precision) -> const char* {
      return precision == Precision::tf32 ? decline(problem, "winograd_amx_tf32") : "computes in tf32 only";
    },
    .workspace_bytes = workspace_bytes<2>,
    .kept_bytes = kept_bytes<2>,
    .spared_bytes = nullptr,
    .writes_relu_mask = vectors_fill_bytes,
    .pools = pools_whole_vectors,
    .forward = forward<2>,
    .backward_data = backward_data<2>,
    .backward_weight = nullptr};

const Conv2dEngine conv2d_winograd_amx{.name = "winograd_amx",
                                       .device = Device::Kind::cpu,
                                       .error = 3e-6,
                                       .exact_integers = false,
                                       .decline = [](const Conv2dProblem& problem, Precision precision) -> const char* {
                                         return serves(precision) ? decline(problem, "winograd_amx") : kFp32Only;
                                       },
                                       .workspace_bytes = workspace_bytes<3>,
                                       .kept_bytes = kept_bytes<3>,
                                       .spared_bytes = nullptr,
                                       .writes_relu_mask = vectors_fill_bytes,
                                       .pools = pools_whole_vectors,
                                       .forward = forward<3>,
                                       .backward_data = backward_data<3>,
                                       .backward_weight = nullptr};

}  // namespace minidl::cpu
