#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/direct_bf16.h>
#include <minidl/kernels/cpu/gemm_kernel.h>

#include <algorithm>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float), kBit16 = sizeof(uint16_t);
constexpr int64_t kBlock = kAmxBlock, kBlockCount = kAmxBlockCount;
constexpr int64_t kCachedSteps = 9;         // 18 KiB of filters stay in the first cache while a region's windows pass
constexpr int64_t kMostColumns = 128;       // of a region
constexpr int64_t kSharedBytes = 16 << 20;  // of a picture in bf16 that is rounded as a whole
constexpr int64_t kTasks = 32;              // aimed at when it is

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Memory for rounded pixels. What steps multiply by zeros behind the last one must be numbers.
Tensor empty_picture(const Bf16Layout& layout) {
  Tensor picture = Tensor::empty({ceil_div(layout.count(), 2)});
  std::fill_n(bf16_bits(picture) + layout.planes() * layout.plane, 2 * kBlock, uint16_t{0});
  return picture;
}

}  // namespace

Bf16Layout::Bf16Layout(const Bf16Conv& conv)
    : width(std::min(conv.in_c, kBlock)),
      groups(ceil_div(conv.in_c, kBlock)),
      remainders_h(std::min(conv.k_h, conv.stride_h)),
      remainders_w(std::min(conv.k_w, conv.stride_w)),
      extra_h(std::max<int64_t>(0, conv.k_h - 1) / conv.stride_h),
      extra_w(std::max<int64_t>(0, conv.k_w - 1) / conv.stride_w) {
  shared = planes() * (conv.out_h + extra_h) * (conv.out_w + extra_w) * width * kBit16 <= kSharedBytes;
  columns = std::max<int64_t>(1, conv.out_w);
  if (!shared && columns > kMostColumns)
    columns = ceil_div(ceil_div(columns, ceil_div(columns, kMostColumns)), kBlock) * kBlock;
  pitch = columns + extra_w;
  const int64_t row_bytes = planes() * pitch * width * kBit16,
                sums_bytes = ceil_div(pitch, kBlock) * kBlock * kBlock * kFloat;
  const int64_t most = (l2_floats() * kFloat / 2 - extra_h * row_bytes) / (row_bytes + sums_bytes);
  const int64_t out_h = std::max<int64_t>(1, conv.out_h),
                cuts = ceil_div(out_h, std::clamp<int64_t>(most, 2, out_h + 1));
  rows = ceil_div(ceil_div(out_h, cuts), 2) * 2;
  lines = (shared ? conv.out_h : rows) + extra_h;
  plane = lines * pitch * width;
}

/// A block reads beyond the last window, a step beyond a window's values.
int64_t Bf16Layout::count() const {
  return planes() * plane + (kBlock + extra_w) * width + 2 * kBlock;
}

int64_t Bf16Layout::sums_count() const {
  return std::min(ceil_div(rows * pitch, kBlock), rows * ceil_div(columns, kBlock)) * kBlockCount;
}

DirectBf16::DirectBf16(const Bf16Conv& conv, const AmxBody& body) : conv_(conv), layout_(conv), body_(body) {
  for (int64_t group = 0; group < layout_.groups; ++group) {
    for (int64_t r = 0; r < conv.k_h; ++r) {
      for (int64_t s = 0; s < layout_.remainders_w; ++s) add_steps(group, r, s);
    }
  }
}

int64_t DirectBf16::plane(int64_t row_remainder, int64_t column_remainder, int64_t group) const {
  return ((row_remainder * layout_.remainders_w + column_remainder) * layout_.groups + group) * layout_.plane;
}

int64_t DirectBf16::regions() const {
  return ceil_div(conv_.out_h, layout_.rows) * ceil_div(conv_.out_w, layout_.columns);
}

Bf16Region DirectBf16::region(int64_t n, int64_t index) const {
  const int64_t across = ceil_div(conv_.out_w, layout_.columns);
  const int64_t h = index / across * layout_.rows, w = index % across * layout_.columns;
  Bf16Region part{n, h, w, std::min(layout_.rows, conv_.out_h - h), std::min(layout_.columns, conv_.out_w - w), 0};
  const int64_t together = ceil_div(part.rows * layout_.pitch, kBlock);
  if (together < part.rows * ceil_div(part.columns, kBlock)) part.pitch = layout_.pitch;
  return part;
}

int64_t DirectBf16::workspace_bytes() const {
  const int64_t pictures = layout_.shared ? 1 : num_threads();
  const int64_t unpooled = conv_.is_unpooled() ? layout_.pitch * conv_.stride_w * conv_.in_c : 0;
  return pictures * layout_.count() * kBit16 + num_threads() * kFloat * (layout_.sums_count() + unpooled);
}

/// Of the taps of filter row r that read the columns with remainder s.
void DirectBf16::add_steps(int64_t group, int64_t r, int64_t s) {
  const Bf16Layout& l = layout_;
  const int64_t channels = std::min(l.width, conv_.in_c - group * kBlock);
  const int64_t run = ceil_div(conv_.k_w - s, conv_.stride_w) * l.width;
  const int64_t row = plane(r % conv_.stride_h, s, group) + r / conv_.stride_h * l.pitch * l.width;
  for (int64_t first = 0; first < run; first += kBlock) {
    const int64_t values = l.width < kBlock ? std::min(kBlock, run - first) : channels;
    steps_.push_back({row + first, static_cast<int>(ceil_div(values, 2))});
    taps_.push_back({r, s, group * kBlock, first});
  }
}

void DirectBf16::pack_step(int64_t column, int64_t step, uint16_t* output) const {
  alignas(64) float values[kBlockCount] = {};
  const Bf16Taps& taps = taps_[static_cast<size_t>(step)];
  const int64_t count = std::min(kBlock, conv_.out_c - column), width = layout_.width;
  for (int64_t i = 0; i < kBlock;) {
    const int64_t s = taps.s + (taps.first + i) / width * conv_.stride_w, c = taps.c + (taps.first + i) % width;
    const int64_t channels = std::min({kBlock - i, taps.c + width - c, conv_.in_c - c});
    if (s >= conv_.k_w || channels <= 0) break;
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
  body_.split_columns(values, 1, output);
}

void DirectBf16::pack(uint16_t* filters) const {
  parallel_for(0, columns() * depth(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) pack_step(i / depth() * kBlock, i % depth(), filters + i * kBlockCount);
  });
}

void DirectBf16::run(const uint16_t* filters) const {
  layout_.shared ? run_shared(filters) : run_apart(filters);
}

/// Every task rounds what its region reads.
void DirectBf16::run_apart(const uint16_t* filters) const {
  parallel_for(0, conv_.n * regions(), 1, [&](int64_t task, int64_t) {
    const Bf16Region part = region(task / regions(), task % regions());
    Tensor picture = empty_picture(layout_);
    round_rows(part, 0, layout_.lines * conv_.stride_h, bf16_bits(picture));
    multiply(part, bf16_bits(picture), filters, 0, columns());
  });
}

/// All threads round a picture, then a task computes some of the channels of a region.
void DirectBf16::run_shared(const uint16_t* filters) const {
  const int64_t divisions = std::min(columns(), ceil_div(kTasks, regions()));
  Tensor shared = empty_picture(layout_);
  uint16_t* picture = bf16_bits(shared);
  for (int64_t n = 0; n < conv_.n; ++n) {
    const Bf16Region whole{n, 0, 0, conv_.out_h, conv_.out_w, 0};
    parallel_for(0, layout_.lines * conv_.stride_h, conv_.stride_h,
                 [&](int64_t begin, int64_t end) { round_rows(whole, begin, end, picture); });
    parallel_for(0, regions() * divisions, 1, [&](int64_t task, int64_t) {
      const int64_t division = task % divisions;
      const Bf16Region part = region(n, task / divisions);
      const uint16_t* first = picture + (part.h * layout_.pitch + part.w) * layout_.width;
      multiply(part, first, filters, division * columns() / divisions, (division + 1) * columns() / divisions);
    });
  }
}

/// Rounds rows [begin, end) of those that a region reads, counted from its first tap.
void DirectBf16::round_rows(const Bf16Region& part, int64_t begin, int64_t end, uint16_t* output) const {
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
void DirectBf16::round_row(const float* line, int64_t first, uint16_t* output) const {
  const int64_t stride = conv_.stride_w, pitch = layout_.pitch;
  const int64_t begin = line ? std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, -first), stride), 0, pitch) : pitch;
  const int64_t end =
      line ? std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, conv_.in_w - first), stride), begin, pitch) : pitch;
  for (int64_t x = 0; x < begin; ++x) round_border(line, first + x * stride, output + x * layout_.width);
  if (begin < end)
    round_pixels(line + (first + begin * stride) * conv_.in_c, end - begin, output + begin * layout_.width);
  for (int64_t x = end; x < pitch; ++x) round_border(line, first + x * stride, output + x * layout_.width);
}

void DirectBf16::round_border(const float* line, int64_t x, uint16_t* output) const {
  const int64_t column = line ? padded_index(x, conv_.in_w, conv_.mode) : -1;
  if (column >= 0) {
    round_pixels(line + column * conv_.in_c, 1, output);
  } else {
    for (int64_t group = 0; group < layout_.groups; ++group)
      std::fill_n(output + group * layout_.plane, layout_.width, uint16_t{0});
  }
}

void DirectBf16::round_pixels(const float* values, int64_t pixels, uint16_t* output) const {
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
void DirectBf16::multiply(const Bf16Region& part, const uint16_t* picture, const uint16_t* filters, int64_t begin,
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

}  // namespace minidl::cpu
