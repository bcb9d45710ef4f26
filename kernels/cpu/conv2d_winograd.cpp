#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/cpu/filter_cache.h>
#include <minidl/kernels/cpu/kernels.h>
#include <minidl/kernels/cpu/winograd.h>
#include <minidl/kernels/pad.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float), kPoints = WinogradConv::kPoints;
constexpr int64_t kLeastChannels = 16;  // below, the transforms cost more than the products they save
constexpr int64_t kSkew = 80;  // floats between planes: 36 planes at a power of two would share a few lines of a cache
constexpr int64_t kTileUnit = 12;                     // tiles of a block: a multiple of the rows of a micro-kernel call
constexpr int64_t kMostTiles = 48, kLeastTiles = 24;  // of a block of one thread
constexpr int64_t kSharedTiles = 264;                 // of a block that all threads share
constexpr int64_t kLeastTasks = 12, kEvenTasks = 4;   // their number is a multiple of the usual numbers of threads

const char* decline(const Conv2dProblem& problem, Precision precision) {
  const Conv2dDesc& d = problem.desc;
  if (precision != Precision::fp32) return "computes in fp32 only";
  if (problem.direction == Conv2dDirection::backward_weight) return "has no backward_weight";
  if (d.k_h != 3 || d.k_w != 3 || d.window.stride_h != 1 || d.window.stride_w != 1) return "not 3x3 with stride 1";
  if (std::min(d.in_c, d.out_c) < kLeastChannels) return "too few channels";
  return nullptr;
}

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// How the tiles are cut. With many tiles every task takes a block of them through all three stages in its own cache.
/// With few, all threads share a block, and a task multiplies it by one panel of filters.
struct Blocking {
  GemmColumns columns;
  bool shared;
  int64_t tiles;                       // of a block
  int64_t panel_width;                 // of the widest panel
  int64_t filter_plane, values_plane;  // floats from one point to the next
  int64_t sums_width, sums_plane;

  explicit Blocking(const WinogradConv& conv) : columns(conv.out_c) {
    const int64_t tile_floats = kPoints * (conv.in_c + columns.padded());
    const int64_t fitting = l2_floats() / tile_floats / kTileUnit * kTileUnit;
    tiles = std::clamp(fitting, kLeastTiles, kMostTiles);
    const int64_t blocks = round_up((conv.tiles() + tiles - 1) / tiles, kEvenTasks);
    shared = blocks < kLeastTasks;
    tiles =
        shared ? std::min(round_up(conv.tiles(), 4), kSharedTiles) : round_up((conv.tiles() + blocks - 1) / blocks, 2);
    panel_width = 0;
    for (int64_t panel = 0; panel < columns.panels; ++panel) panel_width = std::max(panel_width, columns.width(panel));
    filter_plane = columns.padded() * conv.in_c + kSkew;
    values_plane = tiles * conv.in_c + kSkew;
    sums_width = shared ? panel_width : columns.padded();
    sums_plane = tiles * sums_width + kSkew;
  }
  int64_t filters_count() const { return kPoints * filter_plane; }
  int64_t values_count() const { return kPoints * values_plane; }
  int64_t sums_count() const { return kPoints * sums_plane; }
};

/// One convolution while it runs.
class Winograd {
 public:
  Winograd(const WinogradConv& conv, const WinogradFilters& filters, const Tensor& weight, const void* form)
      : conv_(conv), blocking_(conv) {
    filters_ = kept_filters(weight, form, [&] { return transformed(filters); });
  }

  void run() { blocking_.shared ? run_shared() : run_apart(); }

 private:
  Tensor transformed(const WinogradFilters& filters) const {
    constexpr int64_t kChannels = 32;  // of one task
    const GemmColumns& columns = blocking_.columns;
    const int64_t chunks = (conv_.in_c + kChannels - 1) / kChannels;
    Tensor result = Tensor::empty({blocking_.filters_count()});
    float* transformed = result.data<float>();
    parallel_for(0, columns.panels * chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t panel = task / chunks, c = task % chunks * kChannels, column = columns.begin(panel);
        winograd_filters(filters, c, std::min(kChannels, conv_.in_c - c), column,
                         std::min(columns.width(panel), conv_.out_c - column), columns.width(panel),
                         transformed + column * conv_.in_c, blocking_.filter_plane);
      }
    });
    return result;
  }

  void run_apart() {
    const int64_t blocks = (conv_.tiles() + blocking_.tiles - 1) / blocking_.tiles;
    parallel_for(0, blocks, 1, [&](int64_t block, int64_t) {
      Tensor values = Tensor::empty({blocking_.values_count()}), sums = Tensor::empty({blocking_.sums_count()});
      const int64_t begin = block * blocking_.tiles, end = std::min(conv_.tiles(), begin + blocking_.tiles);
      winograd_input(conv_, begin, end, values.data<float>(), blocking_.values_plane);
      multiply(values.data<float>(), end - begin, 0, blocking_.columns.panels, sums.data<float>());
      winograd_output(conv_, begin, end, 0, conv_.out_c, sums.data<float>(), blocking_.sums_plane,
                      blocking_.sums_width);
    });
  }

  void run_shared() {
    const GemmColumns& columns = blocking_.columns;
    Tensor shared_values = Tensor::empty({blocking_.values_count()});
    float* values = shared_values.data<float>();
    for (int64_t begin = 0; begin < conv_.tiles(); begin += blocking_.tiles) {
      const int64_t end = std::min(conv_.tiles(), begin + blocking_.tiles);
      parallel_for(begin, end, 4, [&](int64_t first, int64_t last) {
        winograd_input(conv_, first, last, values + (first - begin) * conv_.in_c, blocking_.values_plane);
      });
      parallel_for(0, columns.panels, 1, [&](int64_t panel, int64_t) {
        Tensor sums = Tensor::empty({blocking_.sums_count()});
        multiply(values, end - begin, panel, panel + 1, sums.data<float>());
        const int64_t column = columns.begin(panel), count = std::min(columns.width(panel), conv_.out_c - column);
        winograd_output(conv_, begin, end, column, count, sums.data<float>(), blocking_.sums_plane,
                        blocking_.sums_width);
      });
    }
  }

  /// sums[point] = values[point] * filters[point] for `tiles` tiles and panels [panel_begin, panel_end).
  void multiply(float* values, int64_t tiles, int64_t panel_begin, int64_t panel_end, float* sums) const {
    const GemmColumns& columns = blocking_.columns;
    const float* filters = std::as_const(filters_).data<float>();
    const int64_t rows = std::min(round_up(tiles, 2), blocking_.tiles), column = columns.begin(panel_begin);
    std::vector<int64_t> row_offset(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) row_offset[static_cast<size_t>(i)] = i * blocking_.sums_width - column;
    std::vector<const float*> a(static_cast<size_t>(rows + kGemmRowSlack));
    for (int64_t point = 0; point < kPoints; ++point) {
      float* first = values + point * blocking_.values_plane;
      if (rows > tiles) std::fill(first + tiles * conv_.in_c, first + rows * conv_.in_c, 0.0f);
      for (int64_t i = 0; i < rows + kGemmRowSlack; ++i)
        a[static_cast<size_t>(i)] = first + std::min(i, rows - 1) * conv_.in_c;
      const float* b = filters + point * blocking_.filter_plane + column * conv_.in_c;
      gemm_block({.rows = rows,
                  .a = a.data(),
                  .pieces = 1,
                  .piece = conv_.in_c,
                  .row_offset = row_offset.data(),
                  .b = b,
                  .b_depth = conv_.in_c,
                  .layout = &columns,
                  .panel_begin = panel_begin,
                  .panel_end = panel_end,
                  .columns = columns.padded(),
                  .next = point + 1 < kPoints ? b + blocking_.filter_plane : nullptr},
                 {.c = sums + point * blocking_.sums_plane});
    }
  }

  const WinogradConv& conv_;
  Blocking blocking_;
  Tensor filters_;
};

WinogradConv forward_conv(const Conv2dDesc& d) {
  return {.n = d.n,
          .in_h = d.in_h,
          .in_w = d.in_w,
          .in_c = d.in_c,
          .top = d.window.padding.top,
          .left = d.window.padding.left,
          .mode = d.window.padding.mode,
          .out_h = d.out_h(),
          .out_w = d.out_w(),
          .out_c = d.out_c};
}

void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  WinogradConv conv = forward_conv(d);
  conv.picture = args.input;
  conv.output = args.output;
  conv.bias = args.bias;
  conv.relu = args.activation == Activation::relu;
  static const char kForm = 0;
  const WinogradFilters filters{args.weight.data<float>(), 9 * d.in_c, 1, d.in_c};
  Winograd(conv, filters, args.weight, &kForm).run();
}

bool is_folded(const Padding& padding) {
  return padding.mode != Padding::Mode::zero && padding.any();
}

/// The gradient of the pixels, of those of the padding too when they are to be folded onto others: a convolution of
/// grad_output with the filters turned by 180°, channels exchanged.
WinogradConv backward_conv(const Conv2dDesc& d) {
  const Padding& padding = d.window.padding;
  const bool folded = is_folded(padding);
  const Shape target = folded ? padded_shape(d.input_shape(), padding) : d.input_shape();
  return {.n = d.n,
          .in_h = d.out_h(),
          .in_w = d.out_w(),
          .in_c = d.out_c,
          .top = 2 - (folded ? 0 : padding.top),
          .left = 2 - (folded ? 0 : padding.left),
          .out_h = target[1],
          .out_w = target[2],
          .out_c = d.in_c};
}

/// Pixels of zero padding do not exist; those of a reflecting or replicating one are computed and added to the pixels
/// that they show.
void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  WinogradConv conv = backward_conv(d);
  conv.picture = args.grad_output;
  static const char kForm = 0;
  const WinogradFilters filters{args.weight.data<float>() + 8 * d.in_c, 1, 9 * d.in_c, -d.in_c};
  if (!is_folded(d.window.padding)) {
    conv.output = args.grad_input;
    conv.beta = args.beta;
    conv.relu_mask = args.relu_mask;
    Winograd(conv, filters, args.weight, &kForm).run();
    return;
  }
  Tensor grad_padded = Tensor::empty({conv.n, conv.out_h, conv.out_w, conv.out_c});
  conv.output = grad_padded.data<float>();
  Winograd(conv, filters, args.weight, &kForm).run();
  pad_backward(d.input_shape(), d.window.padding, conv.output, {args.grad_input, args.beta, args.relu_mask});
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  const bool backward = problem.direction == Conv2dDirection::backward_data;
  const WinogradConv conv = backward ? backward_conv(d) : forward_conv(d);
  const int64_t folded = backward && is_folded(d.window.padding) ? conv.n * conv.out_h * conv.out_w * conv.out_c : 0;
  const Blocking blocking(conv);
  const int64_t threads = num_threads();
  const int64_t working = blocking.shared ? blocking.values_count() + threads * blocking.sums_count()
                                          : threads * (blocking.values_count() + blocking.sums_count());
  return kFloat * (folded + blocking.filters_count() + working);
}

}  // namespace

const Conv2dEngine conv2d_winograd{.name = "winograd",
                                   .device = Device::Kind::cpu,
                                   .error = 3e-6,
                                   .exact_integers = false,
                                   .decline = decline,
                                   .workspace_bytes = workspace_bytes,
                                   .forward = forward,
                                   .backward_data = backward_data,
                                   .backward_weight = nullptr};

}  // namespace minidl::cpu
