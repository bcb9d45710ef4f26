#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/curvature_pair.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/half_formats.cuh>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

#include <algorithm>

// The curvature pair of L-BFGS and five products, added up as in reduce.cuh: a block does kReduceElements elements, the
// last one adds the blocks. Grid (blocks), blocks of 256. Traffic: five vectors in, two or three out.
namespace minidl::cuda {
namespace {

struct KeptAsF32 {
  float *s, *y;
  MINIDL_DEVICE float keep_s(int64_t i, float value) const {
    store(s + i, value);
    return value;
  }
  MINIDL_DEVICE float keep_y(int64_t i, float value) const {
    store(y + i, value);
    return value;
  }
};
struct KeptAsBf16 {
  uint16_t *s, *y;
  float* y_values;
  MINIDL_DEVICE float keep_s(int64_t i, float value) const {
    const uint16_t bits = Bf16::bits(value);
    store(s + i, bits);
    return Bf16::value(bits);
  }
  MINIDL_DEVICE float keep_y(int64_t i, float value) const {
    const uint16_t bits = Bf16::bits(value);
    store(y + i, bits);
    const float rounded = Bf16::value(bits);
    store(y_values + i, rounded);
    return rounded;
  }
};

template <typename Kept>
MINIDL_KERNEL(kReduceThreads, curvature_pair_kernel, int64_t count, SearchArrays point, Kept kept, double* partials,
              unsigned* arrived, double* products) {
  const int64_t begin = int64_t{blockIdx.x} * kReduceElements, end = min(begin + kReduceElements, count);
  double sums[kPairProducts] = {};
  for (int64_t i = begin + threadIdx.x; i < end; i += kReduceThreads) {
    const float gradient = load(point.gradient + i);
    const double s = kept.keep_s(i, load(point.position + i) - load(point.start + i));
    const double y = kept.keep_y(i, gradient - load(point.gradient_at_start + i));
    const double g = gradient;
    sums[0] += g * load_double(point.direction + i);
    sums[1] += g * g;
    sums[2] += s * y;
    sums[3] += s * s;
    sums[4] += y * y;
  }
  reduce_sums(sums, partials, arrived, products);
}

template <typename Kept>
void launch_pair(int64_t count, const SearchArrays& point, const Kept& kept, double* products) {
  Tensor partials = Tensor::empty({reduce_workspace(count, kPairProducts)}, Dtype::f64, current_device());
  MINIDL_LAUNCH(curvature_pair_kernel<Kept>, std::max(1u, blocks_for(count, kReduceElements)), kReduceThreads, 0,
                current_stream(), count, point, kept, partials.data<double>(), arrivals(), products);
}

}  // namespace

void curvature_pair(int64_t count, const SearchArrays& point, float* s, float* y, double* products) {
  launch_pair(count, point, KeptAsF32{s, y}, products);
}

void curvature_pair_bf16(int64_t count, const SearchArrays& point, uint16_t* s, uint16_t* y, float* y_values,
                         double* products) {
  launch_pair(count, point, KeptAsBf16{s, y, y_values}, products);
}

}  // namespace minidl::cuda
