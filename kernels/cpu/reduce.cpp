#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/reduce.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>

#include <algorithm>
#include <bit>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

/// Element i of a block is added to sum i % kSums, whatever the width of a vector: the same bytes from every
/// instruction set.
constexpr int64_t kSums = 16;
using SumTag = hn::CappedTag<double, 8>;
constexpr int64_t kLanes = hn::MaxLanes(SumTag());
constexpr int64_t kVectors = kSums / kLanes;

/// Sum of f(inputs[i]...) over one block; `f` takes f64 vectors.
template <typename F, typename... Inputs>
HWY_INLINE double sum_block(int64_t count, const F& f, const Inputs*... inputs) {
  const SumTag d;
  const hn::CappedTag<double, 1> d1;
  hn::Vec<SumTag> sums[kVectors];
  for (auto& sum : sums) sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int64_t v = 0; v < kVectors; ++v) {
      sums[v] = hn::Add(sums[v], f(load_promoted(d, inputs + i + v * kLanes)...));
    }
  }
  double lanes[kSums];
  for (int64_t v = 0; v < kVectors; ++v) hn::StoreU(sums[v], d, lanes + v * kLanes);
  for (int64_t lane = 0; i < count; ++i, ++lane) lanes[lane] += hn::GetLane(f(load_promoted(d1, inputs + i)...));
  double total = 0.0;
  for (const double lane : lanes) total += lane;
  return total;
}

template <typename F, typename... Inputs>
double sum_blocks(int64_t count, const F& f, const Inputs*... inputs) {
  std::vector<double> blocks(static_cast<size_t>((count + kGrain - 1) / kGrain));
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    blocks[static_cast<size_t>(begin / kGrain)] = sum_block(end - begin, f, inputs + begin...);
  });
  double total = 0.0;
  for (const double block : blocks) total += block;
  return total;
}

double sum(int64_t count, const float* x) {
  return sum_blocks(
      count, [](auto v) HWY_ATTR { return v; }, x);
}

double dot(int64_t count, const float* x, const float* y) {
  return sum_blocks(
      count, [](auto vx, auto vy) HWY_ATTR { return hn::Mul(vx, vy); }, x, y);
}

/// output[r * stride] = x[r]'y for kRows blocks that begin at `begin`, with the partial sums of sum_block. Products of
/// f32 values are exact in f64, so a fused multiplication and addition rounds as the two do.
template <size_t kRows, typename T>
HWY_INLINE void dot_block(int64_t begin, int64_t end, const T* const* x, const float* y, size_t stride,
                          double* output) {
  const SumTag d;
  const hn::CappedTag<double, 1> d1;
  hn::Vec<SumTag> sums[kRows][kVectors];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  int64_t i = begin;
  for (; i + kSums <= end; i += kSums) {
    for (int64_t v = 0; v < kVectors; ++v) {
      const auto vy = load_promoted(d, y + i + v * kLanes);
      for (size_t r = 0; r < kRows; ++r) {
        sums[r][v] = hn::MulAdd(load_promoted(d, x[r] + i + v * kLanes), vy, sums[r][v]);
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    double lanes[kSums];
    for (int64_t v = 0; v < kVectors; ++v) hn::StoreU(sums[r][v], d, lanes + v * kLanes);
    for (int64_t k = i; k < end; ++k)
      lanes[k - i] += hn::GetLane(hn::Mul(load_promoted(d1, x[r] + k), load_promoted(d1, y + k)));
    double total = 0.0;
    for (const double lane : lanes) total += lane;
    output[r * stride] = total;
  }
}

template <typename T>
void dots_of(int64_t count, std::span<const T* const> x, std::span<const float* const> y, double* output) {
  constexpr size_t kRows = std::max<size_t>(1, 8 / kVectors);  // whose sums stay in registers
  const size_t columns = y.size(), products = x.size() * columns;
  std::vector<double> blocks(static_cast<size_t>((count + kGrain - 1) / kGrain) * products);
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    double* block = blocks.data() + static_cast<size_t>(begin / kGrain) * products;
    size_t row = 0;
    for (; row + kRows <= x.size(); row += kRows) {
      for (size_t j = 0; j < columns; ++j)
        dot_block<kRows>(begin, end, &x[row], y[j], columns, block + row * columns + j);
    }
    for (; row < x.size(); ++row) {
      for (size_t j = 0; j < columns; ++j) dot_block<1>(begin, end, &x[row], y[j], columns, block + row * columns + j);
    }
  });
  for (size_t i = 0; i < products; ++i) {
    double total = 0.0;
    for (size_t at = i; at < blocks.size(); at += products) total += blocks[at];
    output[i % columns * x.size() + i / columns] = total;
  }
}

void dots(int64_t count, std::span<const float* const> x, std::span<const float* const> y, double* output) {
  dots_of(count, x, y, output);
}

void dots_bf16(int64_t count, std::span<const uint16_t* const> x, std::span<const float* const> y, double* output) {
  dots_of(count, x, y, output);
}

double squared_norm(int64_t count, const float* x) {
  return sum_blocks(
      count, [](auto v) HWY_ATTR { return hn::Mul(v, v); }, x);
}

double absolute_sum(int64_t count, const float* x) {
  return sum_blocks(
      count, [](auto v) HWY_ATTR { return hn::Abs(v); }, x);
}

double squared_distance(int64_t count, const float* x, const float* y) {
  const auto f = [](auto vx, auto vy) HWY_ATTR {
    const auto difference = hn::Sub(vx, vy);
    return hn::Mul(difference, difference);
  };
  return sum_blocks(count, f, x, y);
}

/// Largest |x| by its bits: without the sign they order as integers, infinity above every number and NaN above
/// infinity.
float max_abs(int64_t count, const float* x) {
  std::vector<int32_t> blocks(static_cast<size_t>((count + kGrain - 1) / kGrain));
  parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    const hn::ScalableTag<int32_t> d;
    const hn::Rebind<float, decltype(d)> df;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    auto largest = hn::Zero(d);
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) largest = hn::Max(largest, hn::BitCast(d, hn::Abs(hn::LoadU(df, x + i))));
    int32_t result = hn::GetLane(hn::MaxOfLanes(d, largest));
    for (; i < end; ++i) result = std::max(result, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
    blocks[static_cast<size_t>(begin / kGrain)] = result;
  });
  int32_t largest = 0;
  for (const int32_t block : blocks) largest = std::max(largest, block);
  return std::bit_cast<float>(largest);
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(sum);
HWY_EXPORT(dot);
HWY_EXPORT(dots);
HWY_EXPORT(dots_bf16);
HWY_EXPORT(squared_norm);
HWY_EXPORT(absolute_sum);
HWY_EXPORT(max_abs);
HWY_EXPORT(squared_distance);

Number sum(int64_t count, const float* x) {
  return MINIDL_DISPATCH(sum)(count, x);
}
void divide(double numerator, const double* number, double plus, double* quotient) {
  *quotient = numerator / (*number + plus);
}
double dot(int64_t count, const float* x, const float* y) {
  return MINIDL_DISPATCH(dot)(count, x, y);
}
void dots(int64_t count, std::span<const float* const> x, std::span<const float* const> y, double* output) {
  MINIDL_DISPATCH(dots)(count, x, y, output);
}
void dots_bf16(int64_t count, std::span<const uint16_t* const> x, std::span<const float* const> y, double* output) {
  MINIDL_DISPATCH(dots_bf16)(count, x, y, output);
}
Number squared_norm(int64_t count, const float* x) {
  return MINIDL_DISPATCH(squared_norm)(count, x);
}
double absolute_sum(int64_t count, const float* x) {
  return MINIDL_DISPATCH(absolute_sum)(count, x);
}
float max_abs(int64_t count, const float* x) {
  return MINIDL_DISPATCH(max_abs)(count, x);
}
Number squared_distance(int64_t count, const float* x, const float* y) {
  return MINIDL_DISPATCH(squared_distance)(count, x, y);
}
Number squared_norms(std::span<const Tensor> x) {
  double sum = 0.0;
  for (const Tensor& tensor : x) sum += squared_norm(tensor.count(), tensor.data<float>()).get();
  return sum;
}
Number squared_distance_and_gradient(int64_t count, const float* x, const float* y, const RawFactor& a,
                                     BitSpan relu_mask, float* gradient) {
  accumulate_difference(count, a, x, y, {gradient, 0.0f, relu_mask});
  return squared_distance(count, x, y);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
