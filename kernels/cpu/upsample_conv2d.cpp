#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/packed_gemm.h>
#include <minidl/kernels/cpu/upsample_conv2d.h>
#include <minidl/kernels/filter_cache.h>
#include <minidl/kernels/half.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kRowUnit = 4;  // pixels that are multiplied are a multiple of it: the height of every tile is

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t round_up(int64_t value, int64_t unit) {
  return ceil_div(value, unit) * unit;
}

/// What filter a of an axis (0: S, 1: w0, 2: -w2) has of tap r.
double share(int64_t filter, int64_t tap) {
  if (filter == 0) return 1.0;
  return filter == 1 ? (tap == 0 ? 1.0 : 0.0) : (tap == 2 ? -1.0 : 0.0);
}

/// F[a, b] of every filter: [9, out_c, in_c]. Sums of taps are rounded once.
Tensor combined_filters(const UpsampleConv2dDesc& desc, const float* weight) {
  Tensor combined = Tensor::empty({kUpsampleFilters, desc.out_c, desc.in_c});
  float* output = combined.data<float>();
  parallel_for(0, kUpsampleFilters * desc.out_c, 16, [&](int64_t begin, int64_t end) {
    std::vector<double> sums(static_cast<size_t>(desc.in_c));
    for (int64_t row = begin; row < end; ++row) {
      const int64_t filter = row / desc.out_c, k = row % desc.out_c;
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t tap = 0; tap < 9; ++tap) {
        const double factor = share(filter / 3, tap / 3) * share(filter % 3, tap % 3);
        if (factor == 0.0) continue;
        const float* taps = weight + (k * 9 + tap) * desc.in_c;
        for (int64_t c = 0; c < desc.in_c; ++c) sums[static_cast<size_t>(c)] += factor * taps[c];
      }
      std::transform(sums.begin(), sums.end(), output + row * desc.in_c,
                     [](double x) { return static_cast<float>(x); });
    }
  });
  return combined;
}

/// The forward pass while it runs: regions of the input are taken through all stages in a processor's own cache.
class Forward {
 public:
  Forward(const UpsampleConv2dDesc& desc, const Tensor& weight)
      : desc_(desc), columns_(desc.out_c), plane_(columns_.padded() * desc.in_c) {
    static const char kForm = {};
    filters_ = kept_filters(weight, &kForm, [&] { return packed_filters(std::as_const(weight).data<float>()); });
    // A pixel has its differences, its sums, itself and four outputs in the cache.
    const int64_t pixel = 4 * desc.in_c + 13 * columns_.padded();
    const int64_t pixels = std::clamp<int64_t>(l2_floats() / 2 / pixel, 32, 2048);
    rows_ = std::min(desc.in_h, kRowUnit);
    width_ = ceil_div(desc.in_w, ceil_div(desc.in_w, std::max<int64_t>(1, pixels / rows_)));
  }

  void run(const float* input, const float* bias, float* output) const {
    const int64_t across = ceil_div(desc_.in_w, width_), down = ceil_div(desc_.in_h, rows_);
    const int64_t picture = desc_.in_h * desc_.in_w;
    parallel_for(0, desc_.n * down * across, 1, [&](int64_t task, int64_t) {
      const int64_t n = task / across / down;
      const int64_t row = task / across % down * rows_, column = task % across * width_;
      multiply({row, std::min(rows_, desc_.in_h - row), column, std::min(width_, desc_.in_w - column)},
               input + n * picture * desc_.in_c, bias, output + n * 4 * picture * desc_.out_c);
    });
  }

 private:
  /// [9, panels of [in_c, width]].
  Tensor packed_filters(const float* weight) const {
    const Tensor combined = combined_filters(desc_, weight);
    const float* filters = combined.data<float>();
    Tensor packed = Tensor::zeros({kUpsampleFilters * plane_});
    float* output = packed.data<float>();
    parallel_for(0, kUpsampleFilters * columns_.panels, 1, [&](int64_t task, int64_t) {
      const int64_t filter = task / columns_.panels, panel = task % columns_.panels;
      const int64_t column = columns_.begin(panel), width = columns_.width(panel);
      transpose(filters + (filter * desc_.out_c + column) * desc_.in_c, desc_.in_c, desc_.in_c,
                std::min(width, desc_.out_c - column), output + filter * plane_ + column * desc_.in_c, width);
    });
    return packed;
  }

  void multiply(const UpsampleRegion& region, const float* picture, const float* bias, float* output) const {
    const int64_t pixels = region.rows * region.columns, rows = round_up(pixels, kRowUnit);
    Tensor differences = Tensor::empty({3, region.differences(), desc_.in_c});
    Tensor sums = Tensor::empty({kUpsampleFilters, rows, columns_.padded()});
    upsample_differences(desc_, picture, region, differences.data<float>());
    std::vector<int64_t> row_offset(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) row_offset[static_cast<size_t>(i)] = i * columns_.padded();
    std::vector<const float*> values(static_cast<size_t>(rows + kGemmRowSlack));
    float* filter_sums = sums.data<float>();
    for (int64_t filter = 0; filter < kUpsampleFilters; ++filter) {
      for (int64_t i = 0; i < rows + kGemmRowSlack; ++i) {
        const int64_t pixel = std::min(i, pixels - 1);
        values[static_cast<size_t>(i)] =
            operand(region, picture, differences, filter, pixel / region.columns, pixel % region.columns);
      }
      const float* b = std::as_const(filters_).data<float>() + filter * plane_;
      gemm_block({.rows = rows,
                  .a = values.data(),
                  .pieces = 1,
                  .piece = desc_.in_c,
                  .row_offset = row_offset.data(),
                  .b = b,
                  .b_depth = desc_.in_c,
                  .layout = &columns_,
                  .panel_begin = 0,
                  .panel_end = columns_.panels,
                  .columns = columns_.padded(),
                  .next = filter + 1 < kUpsampleFilters ? b + plane_ : nullptr},
                 {.c = filter_sums + filter * rows * columns_.padded()});
    }
    upsample_output(desc_, region, {filter_sums, rows * columns_.padded(), columns_.padded()}, bias, output);
  }

  /// What a filter of pixel (i, j) of the region is multiplied by: the pixel itself or a difference at its near or far
  /// end.
  const float* operand(const UpsampleRegion& region, const float* picture, const Tensor& differences, int64_t filter,
                       int64_t i, int64_t j) const {
    const int64_t a = filter / 3, b = filter % 3;
    if (filter == 0) return picture + ((region.row + i) * desc_.in_w + region.column + j) * desc_.in_c;
    const int64_t plane = b == 0 ? 0 : a == 0 ? 1 : 2;
    const int64_t pixel = (i + (a == 2)) * region.stride() + j + (b == 2);
    return differences.data<float>() + (plane * region.differences() + pixel) * desc_.in_c;
  }

  const UpsampleConv2dDesc& desc_;
  GemmColumns columns_;
  int64_t plane_;         // floats of one filter
  int64_t rows_, width_;  // pixels of a region
  Tensor filters_;
};

/// Places of one axis of grad_output, of `extent` = 2 * pixels, that a filter is multiplied by in backward-data: they
/// come from y[2 i] and y[2 i + 1], and from those in whose difference pixel i is the other part. A difference that is
/// always zero has no gradient.
PixelPairs gradient_pairs(const UpsampleConv2dDesc& desc, int64_t filter, int64_t extent) {
  if (filter == 0) return {2, 0, 1, true, false, 0, extent, false};
  const int64_t left_out = desc.padding == Padding::Mode::zero ? 0 : 1;
  const int64_t near = filter == 1 ? 2 : 1;
  return {2, near, near - 2, true, true, left_out, extent - left_out, false};
}

/// Places of one axis of grad_output that a product of pixel i is part of.
PixelPairs product_pairs(int64_t filter, int64_t extent) {
  return {2, filter == 2 ? 1 : 0, 1, filter == 0, false, 0, extent, false};
}

/// Pixels of one axis of the input whose difference a filter is multiplied by.
PixelPairs input_pairs(const UpsampleConv2dDesc& desc, int64_t filter, int64_t extent) {
  const bool repeated = desc.padding != Padding::Mode::zero;
  if (filter == 0) return {1, 0, 0, false, true, 0, extent, repeated};
  return {1, filter == 1 ? -1 : 0, filter == 1 ? 0 : 1, true, true, 0, extent, repeated};
}

/// Calls f(n, run, pixel) for the parts of pixels [begin, begin + count) of n * in_h * in_w that lie in one row;
/// `pixel` counts from `begin`.
template <typename F>
void for_runs(const UpsampleConv2dDesc& desc, int64_t begin, int64_t count, const F& f) {
  for (int64_t pixel = 0; pixel < count;) {
    const int64_t at = begin + pixel, row = at / desc.in_w, j = at % desc.in_w;
    const int64_t pixels = std::min(desc.in_w - j, count - pixel);
    f(row / desc.in_h, PixelRun{row % desc.in_h, j, pixels, 0, 0}, pixel);
    pixel += pixels;
  }
}

}  // namespace

void upsample_conv2d_forward(const UpsampleConv2dDesc& desc, const Tensor& input, const Tensor& weight,
                             const float* bias, Tensor& output) {
  const Tensor values = as_f32(input);
  Forward(desc, weight).run(values.data<float>(), bias, output.data<float>());
}

/// grad_input[pixel, c] = sum over filters and k of T[pixel, (filter, k)] * F[filter, k, c], where T are sums and
/// differences of grad_output.
void upsample_conv2d_backward_data(const UpsampleConv2dDesc& desc, const Tensor& weight, const Tensor& grad_output,
                                   const GradTarget& target) {
  const float* const gradient = grad_output.data<float>();
  const Tensor combined = combined_filters(desc, weight.data<float>());
  const float* filters = combined.data<float>();
  const int64_t channels = desc.out_c, map = 4 * desc.in_h * desc.in_w * channels;
  PackedGemm product{
      .m = desc.n * desc.in_h * desc.in_w, .n = desc.in_c, .k = kUpsampleFilters * channels, .copied = true};
  product.read_rows = [&](const GemmRows& rows) {
    for (int64_t i = 0; i < rows.rows; ++i) rows.values[i] = rows.buffer + i * rows.buffer_stride;
    for (int64_t k = rows.k; k < rows.k + rows.depth();) {
      const int64_t filter = k / channels, from = k % channels,
                    count = std::min(channels - from, rows.k + rows.depth() - k);
      PixelSums sums{nullptr, 2 * desc.in_w, channels, gradient_pairs(desc, filter / 3, 2 * desc.in_h),
                     gradient_pairs(desc, filter % 3, 2 * desc.in_w)};
      for_runs(desc, rows.row, rows.rows, [&](int64_t n, PixelRun run, int64_t pixel) {
        sums.picture = gradient + n * map;
        run.from = from, run.count = count;
        combine_pixels(sums, run, rows.buffer + pixel * rows.buffer_stride + k - rows.k, rows.buffer_stride);
      });
      k += count;
    }
  };
  product.pack_columns = [&](int64_t k, int64_t depth, int64_t column, int64_t columns, float* output, int64_t stride) {
    for (int64_t i = 0; i < depth; ++i) {
      std::copy_n(filters + (k + i) * desc.in_c + column, columns, output + i * stride);
    }
  };
  product.row_offset = [&](int64_t row) { return row * desc.in_c; };
  product.epilogue = {.c = target.grad, .relu_mask = target.relu_mask, .beta = target.beta};
  packed_gemm(product);
}

/// gradient of F[filter, k, c] = sum over pixels of P[pixel, k] * V[pixel, c], where P are sums of grad_output and V
/// pixels of the input or their differences.
void upsample_conv2d_backward_weight(const UpsampleConv2dDesc& desc, const Tensor& input, const Tensor& grad_output,
                                     float beta, float* grad_weight) {
  const float *pixels = input.data<float>(), *gradient = grad_output.data<float>();
  const int64_t matrix = desc.out_c * desc.in_c, picture = desc.in_h * desc.in_w;
  Tensor combined = Tensor::empty({kUpsampleFilters, matrix});
  for (int64_t filter = 0; filter < kUpsampleFilters; ++filter) {
    const int64_t a = filter / 3, b = filter % 3;
    PackedGemm product{.m = desc.out_c, .n = desc.in_c, .k = desc.n * picture, .copied = true};
    product.read_rows = [&](const GemmRows& rows) {
      Tensor values = Tensor::empty({rows.piece, rows.rows});
      float* output = values.data<float>();
      PixelSums sums{nullptr, 2 * desc.in_w, desc.out_c, product_pairs(a, 2 * desc.in_h),
                     product_pairs(b, 2 * desc.in_w)};
      for_runs(desc, rows.k, rows.piece, [&](int64_t n, PixelRun run, int64_t pixel) {
        sums.picture = gradient + n * 4 * picture * desc.out_c;
        run.from = rows.row, run.count = rows.rows;
        combine_pixels(sums, run, output + pixel * rows.rows, rows.rows);
      });
      transpose_rows(output, rows.rows, rows);
    };
    product.pack_columns = [&](int64_t k, int64_t depth, int64_t column, int64_t columns, float* output,
                               int64_t stride) {
      PixelSums sums{nullptr, desc.in_w, desc.in_c, input_pairs(desc, a, desc.in_h), input_pairs(desc, b, desc.in_w)};
      for_runs(desc, k, depth, [&](int64_t n, PixelRun run, int64_t pixel) {
        sums.picture = pixels + n * picture * desc.in_c;
        run.from = column, run.count = columns;
        combine_pixels(sums, run, output + pixel * stride, stride);
      });
    };
    product.row_offset = [&](int64_t row) { return row * desc.in_c; };
    product.epilogue = {.c = combined.data<float>() + filter * matrix};
    packed_gemm(product);
  }
  const float* gradients = std::as_const(combined).data<float>();
  for (int64_t k = 0; k < desc.out_c; ++k) {
    for (int64_t tap = 0; tap < 9; ++tap) {
      float* target = grad_weight + (k * 9 + tap) * desc.in_c;
      for (int64_t c = 0; c < desc.in_c; ++c) {
        double sum = 0.0;
        for (int64_t filter = 0; filter < kUpsampleFilters; ++filter) {
          const double factor = share(filter / 3, tap / 3) * share(filter % 3, tap % 3);
          if (factor != 0.0) sum += factor * gradients[filter * matrix + k * desc.in_c + c];
        }
        const float rounded = static_cast<float>(sum);
        target[c] = beta == 0.0f ? rounded : beta * target[c] + rounded;
      }
    }
  }
}

}  // namespace minidl::cpu
