#include <minidl/core/parallel.h>
#include <minidl/core/profile.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/conv2d_as_winograd.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/cpu/winograd.h>
#include <minidl/kernels/cpu/winograd_weight.h>
#include <minidl/kernels/filter_cache.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float), kPoints = WinogradConv::kPoints;
constexpr int64_t kSkew = 80;  // floats between planes: 36 planes at a power of two would share a few lines of a cache
constexpr int64_t kTileUnit = 12;                     // tiles of a block: a multiple of the rows of a micro-kernel call
constexpr int64_t kMostTiles = 48, kLeastTiles = 24;  // of a block of one thread
constexpr int64_t kSharedTiles = 264;                 // of a block that all threads share
constexpr int64_t kLeastTasks = 16, kEvenTasks = 4;   // their number is a multiple of the usual numbers of threads

const char* decline(const Conv2dProblem& problem, Precision precision) {
  return serves(precision) ? winograd_decline(problem) : kFp32Only;
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
  bool makes_panels;   // each panel is used once: transformed filters need not be there all at once
  int64_t made_plane;  // floats from one point to the next of a panel by itself

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
    makes_panels = shared && conv.tiles() <= tiles;
    made_plane = panel_width * conv.in_c + kSkew;
  }
  int64_t filters_count() const { return kPoints * filter_plane; }
  /// Floats for filters that are not kept.
  int64_t made_count() const { return makes_panels ? num_threads() * kPoints * made_plane : filters_count(); }
  int64_t values_count() const { return kPoints * values_plane; }
  int64_t sums_count() const { return kPoints * sums_plane; }
};

/// One convolution while it runs.
class Winograd {
 public:
  Winograd(const WinogradConv& conv, const WinogradFilters& filters) : conv_(conv), source_(filters), blocking_(conv) {
    static const char kForms[2] = {};  // of the two directions
    const void* const form = &kForms[filters.tap_stride < 0];
    const auto transform = [&] { return transformed(); };
    filters_ = blocking_.makes_panels
                   ? filters_if_kept(*filters.tensor, form, kFloat * blocking_.filters_count(), transform)
                   : kept_filters(*filters.tensor, form, transform);
  }

  void run() { blocking_.shared ? run_shared() : run_apart(); }

 private:
  /// Transformed filters of a panel: a plane for each point.
  struct PanelFilters {
    const float* first;
    int64_t plane;
  };

  Tensor transformed() const {
    constexpr int64_t kChannels = 32;  // of one task
    const int64_t chunks = (conv_.in_c + kChannels - 1) / kChannels;
    Tensor result = Tensor::empty({blocking_.filters_count()});
    float* filters = result.data<float>();
    parallel_for(0, blocking_.columns.panels * chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t panel = task / chunks, c = task % chunks * kChannels;
        transform_panel(panel, c, std::min(kChannels, conv_.in_c - c),
                        filters + blocking_.columns.begin(panel) * conv_.in_c, blocking_.filter_plane);
      }
    });
    return result;
  }

  void transform_panel(int64_t panel, int64_t c, int64_t channels, float* first, int64_t plane) const {
    const int64_t column = blocking_.columns.begin(panel), width = blocking_.columns.width(panel);
    winograd_filters(source_, c, channels, column, std::min(width, conv_.out_c - column), width, first, plane);
  }

  void run_apart() {
    const int64_t blocks = (conv_.tiles() + blocking_.tiles - 1) / blocking_.tiles;
    parallel_for(0, blocks, 1, [&](int64_t block, int64_t) {
      Tensor values = Tensor::empty({blocking_.values_count()}), sums = Tensor::empty({blocking_.sums_count()});
      const int64_t begin = block * blocking_.tiles, end = std::min(conv_.tiles(), begin + blocking_.tiles);
      winograd_input(conv_, begin, end, values.data<float>(), blocking_.values_plane);
      clear_rows(values.data<float>(), end - begin);
      multiply(values.data<float>(), end - begin, 0, blocking_.columns.panels, kept_panel(0), sums.data<float>());
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
      clear_rows(values, end - begin);
      parallel_for(0, columns.panels, 1, [&](int64_t panel, int64_t) {
        Tensor sums = Tensor::empty({blocking_.sums_count()}), made;
        PanelFilters filters = filters_ ? kept_panel(panel) : PanelFilters{nullptr, blocking_.made_plane};
        if (!filters_) {  // in the cache of the thread that needs them, and nowhere else
          const ProfileRange range("filters");
          made = Tensor::empty({kPoints * filters.plane});
          transform_panel(panel, 0, conv_.in_c, made.data<float>(), filters.plane);
          filters.first = made.data<float>();
        }
        multiply(values, end - begin, panel, panel + 1, filters, sums.data<float>());
        const int64_t column = columns.begin(panel), count = std::min(columns.width(panel), conv_.out_c - column);
        winograd_output(conv_, begin, end, column, count, sums.data<float>(), blocking_.sums_plane,
                        blocking_.sums_width);
      });
    }
  }

  /// Rows that are multiplied for so many tiles.
  int64_t rows_of(int64_t tiles) const { return std::min(round_up(tiles, 2), blocking_.tiles); }

  void clear_rows(float* values, int64_t tiles) const {
    for (int64_t point = 0; point < kPoints; ++point) {
      float* first = values + point * blocking_.values_plane;
      std::fill(first + tiles * conv_.in_c, first + rows_of(tiles) * conv_.in_c, 0.0f);
    }
  }

  PanelFilters kept_panel(int64_t panel) const {
    return {std::as_const(filters_).data<float>() + blocking_.columns.begin(panel) * conv_.in_c,
            blocking_.filter_plane};
  }

  /// sums[point] = values[point] * filters[point] for `tiles` tiles and panels [panel_begin, panel_end), of the first
  /// of which `filters` are.
  void multiply(const float* values, int64_t tiles, int64_t panel_begin, int64_t panel_end, const PanelFilters& filters,
                float* sums) const {
    const GemmColumns& columns = blocking_.columns;
    const int64_t rows = rows_of(tiles), column = columns.begin(panel_begin);
    std::vector<int64_t> row_offset(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) row_offset[static_cast<size_t>(i)] = i * blocking_.sums_width - column;
    std::vector<const float*> a(static_cast<size_t>(rows + kGemmRowSlack));
    for (int64_t point = 0; point < kPoints; ++point) {
      const float* first = values + point * blocking_.values_plane;
      for (int64_t i = 0; i < rows + kGemmRowSlack; ++i)
        a[static_cast<size_t>(i)] = first + std::min(i, rows - 1) * conv_.in_c;
      const float* b = filters.first + point * filters.plane;
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
                  .next = point + 1 < kPoints ? b + filters.plane : nullptr},
                 {.c = sums + point * blocking_.sums_plane});
    }
  }

  const WinogradConv& conv_;
  const WinogradFilters& source_;
  Blocking blocking_;
  Tensor filters_;  // undefined: each panel is transformed where it is used
};

void run(const WinogradConv& conv, const WinogradFilters& filters) {
  Winograd(conv, filters).run();
}

void forward(const Conv2dDesc& desc, const Conv2dForwardArgs& args) {
  winograd_forward(desc, args, run);
}

void backward_data(const Conv2dDesc& desc, const Conv2dBackwardDataArgs& args) {
  winograd_backward_data(desc, args, run);
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  if (problem.direction == Conv2dDirection::backward_weight)
    return kFloat * winograd_backward_weight_workspace(problem.desc);
  const Blocking blocking(winograd_conv(problem));
  const int64_t threads = num_threads();
  const int64_t working = blocking.shared ? blocking.values_count() + threads * blocking.sums_count()
                                          : threads * (blocking.values_count() + blocking.sums_count());
  return kFloat * (winograd_folded_count(problem) + blocking.made_count() + working);
}

int64_t spared_bytes(const Conv2dProblem& problem) {
  if (problem.direction == Conv2dDirection::backward_weight) return 0;
  return kFloat * Blocking(winograd_conv(problem)).made_count();
}

int64_t kept_bytes(const Conv2dProblem& problem) {
  if (problem.direction == Conv2dDirection::backward_weight) return 0;
  return kFloat * Blocking(winograd_conv(problem)).filters_count();
}

}  // namespace

const Conv2dEngine conv2d_winograd{.name = "winograd",
                                   .device = Device::Kind::cpu,
                                   .error = 3e-6,
                                   .exact_integers = false,
                                   .decline = decline,
                                   .workspace_bytes = workspace_bytes,
                                   .kept_bytes = kept_bytes,
                                   .spared_bytes = spared_bytes,
                                   .writes_relu_mask = vectors_fill_bytes,
                                   .pools = pools_whole_vectors,
                                   .forward = forward,
                                   .backward_data = backward_data,
                                   .backward_weight = winograd_backward_weight};

}  // namespace minidl::cpu
