#include <minidl/kernels/cpu/simd.h>
#include <minidl/kernels/cpu/winograd_weight.h>

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/winograd_weight.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/map-inl.h>
#include <minidl/kernels/cpu/winograd-inl.h>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

constexpr int kEdge = 6, kTile = WinogradConv::kTile, kTaps = 3;

/// x[0..6) = A y of y[0..4).
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transform_grad(D d, const V* HWY_RESTRICT y, V* HWY_RESTRICT x) {
  const V even_a = hn::MulAdd(hn::Set(d, 0.5f), y[2], y[0]);
  const V odd_a = hn::MulAdd(hn::Set(d, kRootHalf / 2), y[3], hn::Mul(hn::Set(d, kRootHalf), y[1]));
  const V even_b = hn::MulAdd(hn::Set(d, 2.0f), y[2], y[0]);
  const V odd_b = hn::MulAdd(hn::Set(d, kRootTwo * 2), y[3], hn::Mul(hn::Set(d, kRootTwo), y[1]));
  x[0] = y[0];
  x[1] = hn::Add(even_a, odd_a);
  x[2] = hn::Sub(even_a, odd_a);
  x[3] = hn::Add(even_b, odd_b);
  x[4] = hn::Sub(even_b, odd_b);
  x[5] = y[3];
}

/// g[0..3) = Gᵀ m of m[0..6).
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transform_weight(D d, const V* HWY_RESTRICT m, V* HWY_RESTRICT g) {
  const V sum_a = hn::Mul(hn::Set(d, -1.0f / 1.5f), hn::Add(m[1], m[2]));
  const V sum_b = hn::Mul(hn::Set(d, 1.0f / 6.0f), hn::Add(m[3], m[4]));
  const V odd_a = hn::Mul(hn::Set(d, -kRootHalf / 1.5f), hn::Sub(m[1], m[2]));
  g[0] = hn::Add(m[0], hn::Add(sum_a, sum_b));
  g[1] = hn::MulAdd(hn::Set(d, kRootTwo / 6.0f), hn::Sub(m[3], m[4]), odd_a);
  g[2] = hn::MulAdd(hn::Set(d, 0.5f), sum_a, hn::MulAdd(hn::Set(d, 2.0f), sum_b, m[5]));
}

/// The part of a tile that exists: `rows` by `columns` pixels from `first` on, `row` and `column` floats apart.
struct GradTile {
  const float* first;
  int64_t row, column, rows, columns;
};

/// kWhole: all 4x4 pixels exist.
template <bool kWhole>
HWY_INLINE void grad_tile(const GradTile& tile, int64_t channels, float* values, int64_t plane) {
  for_lanes(0, channels, [&](auto d, int64_t k) HWY_ATTR {
    using V = hn::Vec<decltype(d)>;
    V t[kTile][kEdge];  // column by column: A y
    HWY_UNROLL(4)
    for (int j = 0; j < kTile; ++j) {
      V y[kTile];
      HWY_UNROLL(4)
      for (int i = 0; i < kTile; ++i) {
        const float* pixel = tile.first + i * tile.row + j * tile.column + k;
        y[i] = kWhole || (i < tile.rows && j < tile.columns) ? hn::LoadU(d, pixel) : hn::Zero(d);
        if (kWhole) hwy::Prefetch(pixel + kTile * tile.column);  // of the next tile
      }
      transform_grad(d, y, t[j]);
    }
    HWY_UNROLL(6)
    for (int i = 0; i < kEdge; ++i) {
      const V y[kTile] = {t[0][i], t[1][i], t[2][i], t[3][i]};
      V x[kEdge];
      transform_grad(d, y, x);
      HWY_UNROLL(6)
      for (int j = 0; j < kEdge; ++j) hn::StoreU(x[j], d, values + (i * kEdge + j) * plane + k);
    }
  });
}

void Grads(const WinogradGrads& grads, int64_t tile, float* values, int64_t plane) {
  const int64_t tiles_h = (grads.h + kTile - 1) / kTile, tiles_w = (grads.w + kTile - 1) / kTile;
  const int64_t n = tile / tiles_w / tiles_h, h = tile / tiles_w % tiles_h * kTile, w = tile % tiles_w * kTile;
  const GradTile part{.first = grads.grad_output + ((n * grads.h + h) * grads.w + w) * grads.channels,
                      .row = grads.w * grads.channels,
                      .column = grads.channels,
                      .rows = grads.h - h,
                      .columns = grads.w - w};
  if (part.rows >= kTile && part.columns >= kTile) {
    grad_tile<true>(part, grads.channels, values, plane);
  } else {
    grad_tile<false>(part, grads.channels, values, plane);
  }
}

void Weight(const WinogradSums& of, int64_t channels, float beta, float* weight) {
  for_lanes(0, channels, [&](auto d, int64_t c) HWY_ATTR {
    using V = hn::Vec<decltype(d)>;
    V t[kEdge][kTaps];  // column by column: Gᵀ m
    for (int j = 0; j < kEdge; ++j) {
      V m[kEdge];
      for (int i = 0; i < kEdge; ++i) {
        const float* sums = of.sums + (i * kEdge + j) * of.plane + c;
        m[i] = hn::LoadU(d, sums);
        for (int64_t s = 1; s < of.slices; ++s) m[i] = hn::Add(m[i], hn::LoadU(d, sums + s * of.slice_stride));
      }
      transform_weight(d, m, t[j]);
    }
    for (int r = 0; r < kTaps; ++r) {
      const V m[kEdge] = {t[0][r], t[1][r], t[2][r], t[3][r], t[4][r], t[5][r]};
      V g[kTaps];
      transform_weight(d, m, g);
      for (int s = 0; s < kTaps; ++s) {
        float* to = weight + (r * kTaps + s) * channels + c;
        if (beta != 0.0f) g[s] = hn::MulAdd(hn::Set(d, beta), hn::LoadU(d, to), g[s]);
        hn::StoreU(g[s], d, to);
      }
    }
  });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Grads);
HWY_EXPORT(Weight);

void winograd_grads(const WinogradGrads& grads, int64_t tile, float* values, int64_t plane) {
  MINIDL_DISPATCH(Grads)(grads, tile, values, plane);
}

void winograd_weight(const WinogradSums& of, int64_t channels, float beta, float* weight) {
  MINIDL_DISPATCH(Weight)(of, channels, beta, weight);
}

}  // namespace minidl::cpu
#endif
