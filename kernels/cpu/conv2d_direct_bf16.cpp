#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/cpu/backward_phase.h>
#include <minidl/kernels/cpu/bf16_conv.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/conv2d_as_winograd.h>
#include <minidl/kernels/cpu/conv2d_engines.h>
#include <minidl/kernels/cpu/conv2d_sides.h>
#include <minidl/kernels/cpu/filter_cache.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float), kBit16 = sizeof(uint16_t);
constexpr int64_t kBlock = kAmxBlock, kBlockCount = kAmxBlockCount;
constexpr int64_t kCachedSteps = 9;       // 18 KiB of filters stay in the first cache while a region's windows pass
constexpr int64_t kMostColumns = 128;     // of a region
constexpr int64_t kSharedBytes = 16 << 20;  // of a picture in bf16 that is rounded as a whole
constexpr int64_t kTasks = 32;            // aimed at when it is
constexpr int64_t kLeastOutputs = 8;      // of 32 that are computed together

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Memory for that many bf16.
Tensor empty_bits(int64_t count) {
  return Tensor::empty({ceil_div(count, 2)});
}
uint16_t* bits_of(Tensor& tensor) {
  return reinterpret_cast<uint16_t*>(tensor.data<float>());
}

/// How a convolution is cut, and where rounded pixels lie. Channels are cut into groups of `width`; the rows and columns
/// of the picture that the same taps read, those with the same remainder by the stride, lie together:
///   [row remainder, column remainder, group, row, pixel, width].
/// So windows side by side are `width` elements apart, those one above the other a row, whatever the stride.
struct Layout {
  int64_t width, groups;
  int64_t remainders_h, remainders_w;  // that taps read
  int64_t extra_h, extra_w;            // rows and pixels that the windows of a row or a pixel read beside one
  int64_t rows, columns;               // outputs of a region
  bool shared;                         // the whole picture is rounded before its regions are computed
  int64_t pitch, lines, plane;         // pixels of a row, rows of a plane, elements of a plane

  explicit Layout(const Bf16Conv& conv)
      : width(std::min(conv.in_c, kBlock)),
        groups(ceil_div(conv.in_c, kBlock)),
        remainders_h(std::min(conv.k_h, conv.stride_h)),
        remainders_w(std::min(conv.k_w, conv.stride_w)),
        extra_h(std::max<int64_t>(0, conv.k_h - 1) / conv.stride_h),
        extra_w(std::max<int64_t>(0, conv.k_w - 1) / conv.stride_w) {
    shared = planes() * (conv.out_h + extra_h) * (conv.out_w + extra_w) * width * kBit16 <= kSharedBytes;
    columns = conv.out_w;
    if (!shared && columns > kMostColumns)
      columns = ceil_div(ceil_div(columns, ceil_div(columns, kMostColumns)), kBlock) * kBlock;
    pitch = columns + extra_w;
    const int64_t row_bytes = planes() * pitch * width * kBit16, sums_bytes = ceil_div(pitch, kBlock) * kBlock * kBlock * kFloat;
    const int64_t most = (l2_floats() * kFloat / 2 - extra_h * row_bytes) / (row_bytes + sums_bytes);
    const int64_t cuts = ceil_div(conv.out_h, std::clamp<int64_t>(most, 2, conv.out_h + 1));
    rows = ceil_div(ceil_div(conv.out_h, cuts), 2) * 2;
    lines = (shared ? conv.out_h : rows) + extra_h;
    plane = lines * pitch * width;
  }
  int64_t planes() const { return remainders_h * remainders_w * groups; }
  /// Elements; a block reads beyond the last window, and a step beyond a window's values.
  int64_t count() const { return planes() * plane + kBlock * width + (extra_h * pitch + extra_w) * width + 2 * kBlock; }
  int64_t regions_h(const Bf16Conv& conv) const { return ceil_div(conv.out_h, rows); }
  int64_t regions_w(const Bf16Conv& conv) const { return ceil_div(conv.out_w, columns); }
  int64_t sums_count() const { return (ceil_div(rows * pitch, kBlock) + rows) * kBlockCount; }
};

/// The filters' values that a step multiplies: taps r and s, s + stride_w, ... of channels from c on, `first` values of
/// them left out.
struct StepTaps {
  int64_t r, s, c, first;
};

/// One convolution while it runs.
class DirectBf16 {
 public:
  DirectBf16(const Bf16Conv& conv, const AmxBody& body) : conv_(conv), layout_(conv), body_(body) {
    const Layout& l = layout_;
    for (int64_t group = 0; group < l.groups; ++group) {
      for (int64_t r = 0; r < conv.k_h; ++r) {
        for (int64_t s = 0; s < l.remainders_w; ++s) add_steps(group, r, s);
      }
    }
  }

  int64_t filters_count() const { return columns() * depth() * kBlockCount; }

  /// Filters as blocks of a WindowProduct, [columns, depth].
  void pack(uint16_t* output) const {
    parallel_for(0, columns() * depth(), 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) pack_step(i / depth() * kBlock, i % depth(), output + i * kBlockCount);
    });
  }

  void run(const uint16_t* filters) const { layout_.shared ? run_shared(filters) : run_apart(filters); }

  int64_t workspace_bytes() const {
    const int64_t pictures = layout_.shared ? 1 : num_threads();
    const int64_t unpooled = conv_.is_unpooled() ? layout_.pitch * conv_.stride_w * conv_.in_c : 0;
    return pictures * layout_.count() * kBit16 + num_threads() * kFloat * (layout_.sums_count() + unpooled);
  }

 private:
  int64_t columns() const { return ceil_div(conv_.out_c, kBlock); }
  int64_t depth() const { return static_cast<int64_t>(steps_.size()); }

  int64_t plane(int64_t row_remainder, int64_t column_remainder, int64_t group) const {
    return ((row_remainder * layout_.remainders_w + column_remainder) * layout_.groups + group) * layout_.plane;
  }

  /// Of the taps of filter row r that read the columns with remainder s.
  void add_steps(int64_t group, int64_t r, int64_t s) {
    const Layout& l = layout_;
    const int64_t channels = std::min(l.width, conv_.in_c - group * kBlock);
    const int64_t run = ceil_div(conv_.k_w - s, conv_.stride_w) * l.width;
    const int64_t row = plane(r % conv_.stride_h, s, group) + r / conv_.stride_h * l.pitch * l.width;
    for (int64_t first = 0; first < run; first += kBlock) {
      const int64_t values = l.width < kBlock ? std::min(kBlock, run - first) : channels;
      steps_.push_back({row + first, static_cast<int>(ceil_div(values, 2))});
      taps_.push_back({r, s, group * kBlock, first});
    }
  }

  void pack_step(int64_t column, int64_t step, uint16_t* output) const {
    alignas(64) float values[kBlockCount] = {};
    const StepTaps& taps = taps_[static_cast<size_t>(step)];
    const int64_t count = std::min(kBlock, conv_.out_c - column), width = layout_.width;
    for (int64_t i = 0; i < kBlock;) {
      const int64_t s = taps.s + (taps.first + i) / width * conv_.stride_w, c = taps.c + (taps.first + i) % width;
      const int64_t channels = std::min({kBlock - i, taps.c + width - c, conv_.in_c - c});
      if (s >= conv_.k_w) break;
      if (channels <= 0) break;
      const float* weight = conv_.weight + column * conv_.k_stride + c * conv_.c_stride + taps.r * conv_.row_stride +
                            s * conv_.column_stride;
      float* to = values + i * kBlock;
      if (conv_.c_stride == 1) {
        transpose(weight, conv_.k_stride, channels, count, to, kBlock);
      } else {
        for (int64_t j = 0; j < channels; ++j) std::copy_n(weight + j * conv_.c_stride, count, to + j * kBlock);
      }
      i += channels;
    }
    amx_split_columns(values, 1, output);
  }

  /// Every task rounds what its region reads.
  void run_apart(const uint16_t* filters) const {
    const int64_t across = layout_.regions_w(conv_), regions = layout_.regions_h(conv_) * across;
    parallel_for(0, conv_.n * regions, 1, [&](int64_t task, int64_t) {
      const Bf16Region part = region(task / regions, task % regions / across, task % across);
      Tensor picture = empty_bits(layout_.count());
      round_rows(part, 0, layout_.lines * conv_.stride_h, bits_of(picture));
      multiply(part, bits_of(picture), filters, 0, columns());
    });
  }

  /// All threads round a picture, then a task computes some of the channels of a region.
  void run_shared(const uint16_t* filters) const {
    const int64_t across = layout_.regions_w(conv_), regions = layout_.regions_h(conv_) * across;
    const int64_t divisions = std::min(columns(), ceil_div(kTasks, regions));
    Tensor shared = empty_bits(layout_.count());
    uint16_t* picture = bits_of(shared);
    for (int64_t n = 0; n < conv_.n; ++n) {
      const Bf16Region whole{n, 0, 0, conv_.out_h, conv_.out_w, 0};
      parallel_for(0, layout_.lines * conv_.stride_h, conv_.stride_h,
                   [&](int64_t begin, int64_t end) { round_rows(whole, begin, end, picture); });
      parallel_for(0, regions * divisions, 1, [&](int64_t task, int64_t) {
        const int64_t place = task / divisions, division = task % divisions;
        const Bf16Region part = region(n, place / across, place % across);
        const uint16_t* first = picture + (part.h * layout_.pitch + part.w) * layout_.width;
        multiply(part, first, filters, division * columns() / divisions, (division + 1) * columns() / divisions);
      });
    }
  }

  Bf16Region region(int64_t n, int64_t row, int64_t column) const {
    const int64_t h = row * layout_.rows, w = column * layout_.columns;
    Bf16Region part{n, h, w, std::min(layout_.rows, conv_.out_h - h), std::min(layout_.columns, conv_.out_w - w), 0};
    const int64_t together = ceil_div(part.rows * layout_.pitch, kBlock);
    if (together < part.rows * ceil_div(part.columns, kBlock)) part.pitch = layout_.pitch;
    return part;
  }

  /// Rounds rows [begin, end) of those that a region reads, counted from its first tap.
  void round_rows(const Bf16Region& part, int64_t begin, int64_t end, uint16_t* output) const {
    std::fill_n(output + layout_.planes() * layout_.plane, 2 * kBlock, uint16_t{0});
    const int64_t first = part.w * conv_.stride_w - conv_.left;  // column of the picture
    const int64_t inside = std::max<int64_t>(0, first);
    const int64_t inside_end = std::min(conv_.in_w, first + layout_.pitch * conv_.stride_w);
    Tensor unpooled;
    if (conv_.is_unpooled() && inside < inside_end) unpooled = Tensor::empty({(inside_end - inside) * conv_.in_c});
    for (int64_t i = begin; i < end; ++i) {
      const int64_t remainder = i % conv_.stride_h;
      if (remainder >= layout_.remainders_h) continue;
      const int64_t y = padded_index(part.h * conv_.stride_h - conv_.top + i, conv_.in_h, conv_.mode);
      const float* line = nullptr;
      if (y >= 0 && unpooled) {
        bf16_unpooled_row(conv_, part.n, y, inside, inside_end, unpooled.data<float>());
        line = unpooled.data<float>() - inside * conv_.in_c;
      } else if (y >= 0 && !conv_.is_unpooled()) {
        line = conv_.picture + (part.n * conv_.in_h + y) * conv_.in_w * conv_.in_c;
      }
      for (int64_t s = 0; s < layout_.remainders_w; ++s)
        round_row(line, first + s, output + plane(remainder, s, 0) + i / conv_.stride_h * layout_.pitch * layout_.width);
    }
  }

  /// Pixels first, first + stride_w, ... of a row of the picture, or zeros of no row.
  void round_row(const float* line, int64_t first, uint16_t* output) const {
    const int64_t stride = conv_.stride_w, pitch = layout_.pitch;
    const int64_t begin = line ? std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, -first), stride), 0, pitch) : pitch;
    const int64_t end =
        line ? std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, conv_.in_w - first), stride), begin, pitch) : pitch;
    for (int64_t x = 0; x < begin; ++x) round_border(line, first + x * stride, output + x * layout_.width);
    if (begin < end) round_pixels(line + (first + begin * stride) * conv_.in_c, end - begin, output + begin * layout_.width);
    for (int64_t x = end; x < pitch; ++x) round_border(line, first + x * stride, output + x * layout_.width);
  }

  void round_border(const float* line, int64_t x, uint16_t* output) const {
    const int64_t column = line ? padded_index(x, conv_.in_w, conv_.mode) : -1;
    if (column >= 0) {
      round_pixels(line + column * conv_.in_c, 1, output);
    } else {
      for (int64_t group = 0; group < layout_.groups; ++group)
        std::fill_n(output + group * layout_.plane, layout_.width, uint16_t{0});
    }
  }

  void round_pixels(const float* values, int64_t pixels, uint16_t* output) const {
    for (int64_t group = 0; group < layout_.groups; ++group) {
      body_.round({.values = values + group * kBlock,
                   .stride = conv_.stride_w * conv_.in_c,
                   .rows = pixels,
                   .count = std::min(layout_.width, conv_.in_c - group * kBlock),
                   .width = layout_.width,
                   .output = output + group * layout_.plane});
    }
  }

  /// Blocks of columns [begin, end) of a region whose first window begins at `picture`.
  void multiply(const Bf16Region& part, const uint16_t* picture, const uint16_t* filters, int64_t begin,
                int64_t end) const {
    std::vector<int64_t> first;
    if (part.pitch > 0) {
      for (int64_t i = 0; i < part.rows * part.pitch; i += kBlock) first.push_back(i);
    } else {
      for (int64_t x = 0; x < part.columns; x += kBlock) {
        for (int64_t y = 0; y < part.rows; ++y) first.push_back(y * layout_.pitch + x);
      }
    }
    Tensor sums = Tensor::empty({static_cast<int64_t>(first.size()) * kBlockCount});
    WindowProduct product{.picture = picture,
                          .pixel = layout_.width,
                          .first = first.data(),
                          .blocks = static_cast<int64_t>(first.size()),
                          .steps = steps_.data(),
                          .depth = depth(),
                          .depth_step = kCachedSteps,
                          .filters = nullptr,
                          .sums = sums.data<float>()};
    for (int64_t i = begin; i < end; ++i) {
      product.filters = filters + i * depth() * kBlockCount;
      body_.multiply_windows(product);
      bf16_output(conv_, part, i * kBlock, std::min(kBlock, conv_.out_c - i * kBlock), product.sums);
    }
  }

  const Bf16Conv& conv_;
  const Layout layout_;
  const AmxBody& body_;
  std::vector<WindowStep> steps_;
  std::vector<StepTaps> taps_;
};

const AmxBody& body() {
  return bf16_body() ? *bf16_body() : amx_body();
}

/// Runs them with filters that are kept with `weight`.
void run(const std::vector<Bf16Conv>& convs, const Conv2dDesc& d, bool backward, const Tensor& weight) {
  std::vector<DirectBf16> parts;
  for (const Bf16Conv& conv : convs) parts.emplace_back(conv, body());
  const auto pack = [&] {
    int64_t count = 0;
    for (const DirectBf16& part : parts) count += part.filters_count();
    Tensor packed = empty_bits(count);
    uint16_t* output = bits_of(packed);
    for (const DirectBf16& part : parts) {
      part.pack(output);
      output += part.filters_count();
    }
    return packed;
  };
  // Packed filters depend on the direction and the strides.
  constexpr int64_t kKeptStrides = 4;
  static const char kForms[2][kKeptStrides][kKeptStrides] = {};
  const Window& window = d.window;
  const bool is_kept = std::max(window.stride_h, window.stride_w) <= kKeptStrides;
  const Tensor filters =
      is_kept ? kept_filters(weight, &kForms[backward][window.stride_h - 1][window.stride_w - 1], pack) : pack();
  const auto* bits = reinterpret_cast<const uint16_t*>(filters.data<float>());
  for (const DirectBf16& part : parts) {
    part.run(bits);
    bits += part.filters_count();
  }
}

Bf16Conv forward_conv(const Conv2dDesc& d) {
  Bf16Conv conv = forward_sides<Bf16Conv>(d);
  conv.k_h = d.k_h, conv.k_w = d.k_w;
  conv.stride_h = d.window.stride_h, conv.stride_w = d.window.stride_w;
  conv.k_stride = d.k_h * d.k_w * d.in_c, conv.c_stride = 1;
  conv.row_stride = d.k_w * d.in_c, conv.column_stride = d.in_c;
  conv.lay_out_densely();
  return conv;
}

/// The whole gradient, of the padded picture when it is to be folded.
Bf16Conv backward_target(const Conv2dDesc& d) {
  Bf16Conv conv = backward_sides<Bf16Conv>(d);
  conv.lay_out_densely();
  return conv;
}

/// One convolution for each phase of the strides.
std::vector<Bf16Conv> backward_convs(const Conv2dDesc& d, const Bf16Conv& target) {
  const bool folded = is_folded(d.window.padding);
  const int64_t top = folded ? 0 : d.window.padding.top, left = folded ? 0 : d.window.padding.left;
  std::vector<Bf16Conv> convs;
  for (int64_t r = 0; r < d.window.stride_h; ++r) {
    for (int64_t s = 0; s < d.window.stride_w; ++s) {
      const BackwardPhase rows(r, d.window.stride_h, d.k_h, top, target.out_h),
          columns(s, d.window.stride_w, d.k_w, left, target.out_w);
      if (rows.count == 0 || columns.count == 0) continue;
      Bf16Conv conv = target;
      conv.top = rows.pad(), conv.left = columns.pad();
      conv.k_h = rows.taps, conv.k_w = columns.taps;
      conv.out_h = rows.count, conv.out_w = columns.count;
      conv.k_stride = 1, conv.c_stride = d.k_h * d.k_w * d.in_c;
      conv.row_stride = -rows.stride * d.k_w * d.in_c, conv.column_stride = -columns.stride * d.in_c;
      if (target.weight) conv.weight += (rows.tap(0) * d.k_w + columns.tap(0)) * d.in_c;
      const int64_t first = rows.position(0) * target.out_row + columns.position(0) * target.out_pixel;
      if (target.output) conv.output += first;
      if (target.relu_mask) conv.relu_mask = target.relu_mask.from(first);
      conv.out_row = rows.stride * target.out_row, conv.out_pixel = columns.stride * target.out_pixel;
      convs.push_back(conv);
    }
  }
  return convs;
}

void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  Bf16Conv conv = forward_conv(d);
  conv.picture = args.input;
  conv.weight = args.weight.data<float>();
  conv.output = args.output;
  conv.bias = args.bias;
  conv.relu = args.activation == Activation::relu;
  conv.positive_output = args.relu_mask;
  conv.pooled_output = args.pooled_output;
  conv.choice = args.choice;
  conv.max_pooled = args.max_pooled;
  run({conv}, d, false, args.weight);
}

void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  Bf16Conv target = backward_target(d);
  target.picture = args.grad_output;
  target.weight = args.weight.data<float>();
  target.picture_choice = args.choice;
  target.picture_positive = args.positive;
  run_backward(d, args, target, [&](const Bf16Conv& ready) { run(backward_convs(d, ready), d, true, args.weight); });
}

const char* decline(const Conv2dProblem& problem, Precision precision) {
  const Conv2dDesc& d = problem.desc;
  if (precision != Precision::bf16) return "computes in bf16 only";
  if (problem.direction == Conv2dDirection::backward_weight) return "has no backward_weight";
  const char* name = "direct_bf16";
  if (execution::conv2d_engine() == name || execution::verify_engine() == name) return nullptr;
  if (!bf16_body()) return "no bf16 instructions on this machine";
  const int64_t outputs = problem.direction == Conv2dDirection::forward ? d.out_c : d.in_c;
  if (outputs < kLeastOutputs) return "too few output channels";
  if (!amx_available() && !winograd_decline(problem)) return "winograd's tiles need a quarter of the dot products";
  return nullptr;
}

std::vector<Bf16Conv> convs_of(const Conv2dProblem& problem) {
  if (problem.direction == Conv2dDirection::forward) return {forward_conv(problem.desc)};
  return backward_convs(problem.desc, backward_target(problem.desc));
}

int64_t kept_bytes(const Conv2dProblem& problem) {
  int64_t count = 0;
  for (const Bf16Conv& conv : convs_of(problem)) count += DirectBf16(conv, body()).filters_count();
  return kBit16 * count;
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  int64_t most = 0;
  for (const Bf16Conv& conv : convs_of(problem)) most = std::max(most, DirectBf16(conv, body()).workspace_bytes());
  const bool backward = problem.direction == Conv2dDirection::backward_data;
  return most + kept_bytes(problem) + (backward ? kFloat * folded_count(problem.desc) : 0);
}

}  // namespace

const Conv2dEngine conv2d_direct_bf16{.name = "direct_bf16",
                                      .device = Device::Kind::cpu,
                                      .error = 5e-3,
                                      .exact_integers = true,
                                      .decline = decline,
                                      .workspace_bytes = workspace_bytes,
                                      .kept_bytes = kept_bytes,
                                      .writes_relu_mask = vectors_fill_bytes,
                                      .pools = vectors_fill_bytes,
                                      .forward = forward,
                                      .backward_data = backward_data,
                                      .backward_weight = nullptr};

}  // namespace minidl::cpu
