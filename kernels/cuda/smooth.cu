#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

#include <algorithm>

// Two means over square windows, one of the other, are sums along columns, then along rows: along an axis of e
// elements,
//   result[i] = 1 / width^2 * sum over j of (centres in [0, e) that are within reach of i and of j) * x[j].
// One element a thread, which adds its 4 * reach + 1 neighbours, from caches. Traffic: x twice, what is in between in
// and out, the output. Of the product with x alone, elements are added up as in reduce.cuh, and there is no output.
namespace minidl::cuda {
namespace {

/// An axis of a tensor whose elements are `stride` apart.
struct Axis {
  int64_t extent, stride;
};

MINIDL_DEVICE float mean_of_means(const Axis& axis, int64_t reach, float area, const float* x, int64_t i) {
  const int64_t at = i / axis.stride % axis.extent, end = axis.extent - 1;
  const int64_t first = max(at - 2 * reach, int64_t{0}), last = min(at + 2 * reach, end);
  const int64_t low = max(at - reach, int64_t{0}), high = min(at + reach, end);  // centres within reach of i
  const float* from = x + i + (first - at) * axis.stride;
  // Of the centres that are within reach of j, too, the last one moves on with j until it is `high`, the first one, up
  // to which none is lost, later.
  float until = static_cast<float>(first + reach - low + 1), lost = static_cast<float>(first - reach - low), sum = 0.0f;
  const auto all = static_cast<float>(high - low + 1);
  for (int64_t j = first; j <= last; ++j) {
    sum = multiply_add(fminf(until, all) - fmaxf(lost, 0.0f), load(from), sum);
    from += axis.stride;
    until += 1.0f;
    lost += 1.0f;
  }
  return sum / area;
}

MINIDL_KERNEL(kMapThreads, column_means_kernel, int64_t count, Axis column, int64_t reach, float area, const float* x,
              float* means) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i < count) store(means + i, mean_of_means(column, reach, area, x, i));
}

/// An element of the output.
struct Smoothed {
  Axis row;
  int64_t reach;
  float area;
  const float* means;  // along columns
  float strength, factor;
  const float* x;

  MINIDL_DEVICE float operator()(int64_t i) const {
    return factor * multiply_add(strength, mean_of_means(row, reach, area, means, i), load(x + i));
  }
};

MINIDL_KERNEL(kMapThreads, smooth_kernel, int64_t count, Smoothed smoothed, float* output) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i < count) store(output + i, smoothed(i));
}

struct TimesSmoothed {
  Smoothed smoothed;
  MINIDL_DEVICE double operator()(int64_t, int64_t i) const {
    return static_cast<double>(smoothed(i)) * load_double(smoothed.x + i);
  }
};

/// Calls use(Smoothed) when the means along columns are on their way.
template <typename Use>
void with_means(const Shape& shape, const Smoothing& how, const float* x, const Use& use) {
  const int64_t count = shape.count(), c = shape[3];
  const int64_t reach = std::min(how.width / 2, std::max(shape[1], shape[2]));  // more pixels are all outside
  const float area = static_cast<float>(how.width) * static_cast<float>(how.width);
  Tensor means = Tensor::empty(shape, Dtype::f32, current_device());
  if (count > 0) {
    MINIDL_LAUNCH(column_means_kernel, blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count,
                  Axis{shape[1], shape[2] * c}, reach, area, x, means.data<float>());
  }
  use(Smoothed{{shape[2], c}, reach, area, means.data<float>(), how.strength, how.factor, x});
}

}  // namespace

void smooth(const Shape& shape, const Smoothing& how, const float* x, float* output) {
  const int64_t count = shape.count();
  if (count == 0) return;
  with_means(shape, how, x, [&](const Smoothed& smoothed) {
    MINIDL_LAUNCH(smooth_kernel, blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count, smoothed,
                  output);
  });
}

void smooth_product(const Shape& shape, const Smoothing& how, const float* x, double* product) {
  const int64_t count = shape.count();
  Tensor workspace = Tensor::empty({reduce_workspace(count, 1)}, Dtype::f64, current_device());
  with_means(shape, how, x, [&](const Smoothed& smoothed) {
    reduce<Sum>(count, 1, TimesSmoothed{smoothed}, workspace.data<double>(), product, current_stream());
  });
}

}  // namespace minidl::cuda
