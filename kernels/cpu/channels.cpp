#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/channels.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set

#include <minidl/kernels/cpu/channels.h>
#include <minidl/kernels/cpu/map-inl.h>

#include <algorithm>
#include <numeric>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

/// Few channels do not fill whole vectors, so that several positions are taken as one: `width` elements, in which
/// element j belongs to channel j % c.
class Wide {
 public:
  explicit Wide(const ChannelRows& rows)
      : count_(rows.positions * rows.c), c_(rows.c), width_(c_ < 128 ? std::lcm(c_, int64_t{32}) : c_) {}

  int64_t count() const { return count_; }
  int64_t c() const { return c_; }
  int64_t width() const { return width_; }
  /// Elements of one chunk of a parallel loop: about `elements`, a multiple of the width.
  int64_t grain(int64_t elements) const { return std::max<int64_t>(1, elements / width_) * width_; }

  /// One value per channel, repeated.
  template <typename T>
  std::vector<T> widen(const T* values) const {
    std::vector<T> wide(static_cast<size_t>(width_));
    for (int64_t j = 0; j < width_; ++j) wide[static_cast<size_t>(j)] = values[j % c_];
    return wide;
  }
  /// Adds up what belongs to one channel.
  void fold(const double* wide, double* sums) const {
    std::fill_n(sums, c_, 0.0);
    for (int64_t j = 0; j < width_; ++j) sums[j % c_] += wide[j];
  }

 private:
  int64_t count_, c_, width_;
};

/// Calls f(d, i, j) for vectors of elements i with places j in the width, on all threads.
template <typename F>
void for_channels(const Wide& wide, const F& f) {
  parallel_for(0, wide.count(), wide.grain(kGrain), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; i += wide.width()) {
      for_lanes(0, std::min(wide.width(), end - i), [&](auto d, int64_t j) HWY_ATTR { f(d, i + j, j); });
    }
  });
}

/// f(d, i, j, add) for f64 vectors of elements [begin, end); its add(k, v) adds v to sum k of place j. sums
/// [kSums, width]. Sums of several neighbouring places are kept in registers while the positions pass by.
template <int kSums, typename F>
HWY_INLINE void add_elements(const Wide& wide, int64_t begin, int64_t end, double* sums, const F& f) {
  const hn::CappedTag<double, 8> d;
  const hn::CappedTag<double, 1> d1;
  constexpr int64_t kVectors = 4;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), strip = kVectors * lanes, width = wide.width();
  const int64_t whole = begin + (end - begin) / width * width;
  int64_t j = 0;
  for (; j + strip <= width; j += strip) {
    hn::Vec<decltype(d)> totals[kSums][kVectors];
    for (auto& row : totals) {
      for (auto& total : row) total = hn::Zero(d);
    }
    for (int64_t i = begin + j; i < whole; i += width) {
      for (int64_t v = 0; v < kVectors; ++v) {
        f(d, i + v * lanes, j + v * lanes,
          [&](int64_t k, auto term) HWY_ATTR { totals[k][v] = hn::Add(totals[k][v], term); });
      }
    }
    for (int64_t k = 0; k < kSums; ++k) {
      for (int64_t v = 0; v < kVectors; ++v) hn::StoreU(totals[k][v], d, sums + k * width + j + v * lanes);
    }
  }
  const auto add_single = [&](int64_t i, int64_t place) HWY_ATTR {
    f(d1, i + place, place, [&](int64_t k, auto term) HWY_ATTR { sums[k * width + place] += hn::GetLane(term); });
  };
  for (int64_t i = begin; i < whole; i += width) {
    for (int64_t place = j; place < width; ++place) add_single(i, place);
  }
  for (int64_t place = 0; place < end - whole; ++place) add_single(whole, place);
}

constexpr int64_t kBlock = 4 * kGrain;  // elements whose sums are taken together

HWY_INLINE int64_t block_count(const Wide& wide) {
  return (wide.count() + wide.grain(kBlock) - 1) / wide.grain(kBlock);
}

/// Calls body(block, begin, end) for blocks of whole widths, on all threads.
template <typename Body>
void for_blocks(const Wide& wide, const Body& body) {
  const int64_t grain = wide.grain(kBlock);
  parallel_for(0, wide.count(), grain, [&](int64_t begin, int64_t end) HWY_ATTR { body(begin / grain, begin, end); });
}

/// totals [number of sums, c]: what f adds, over all elements.
template <int kSums, typename F>
void sum_channels(const Wide& wide, double* totals, const F& f) {
  const int64_t c = wide.c(), blocks = block_count(wide);
  std::vector<double> folded(static_cast<size_t>(blocks * kSums * c));
  for_blocks(wide, [&](int64_t block, int64_t begin, int64_t end) HWY_ATTR {
    std::vector<double> sums(static_cast<size_t>(kSums * wide.width()));
    add_elements<kSums>(wide, begin, end, sums.data(), f);
    for (int64_t k = 0; k < kSums; ++k) {
      wide.fold(sums.data() + k * wide.width(), folded.data() + (block * kSums + k) * c);
    }
  });
  std::fill_n(totals, kSums * c, 0.0);
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t i = 0; i < kSums * c; ++i) totals[i] += folded[static_cast<size_t>(block * kSums * c + i)];
  }
}

void add_per_channel(int64_t positions, int64_t c, float a, const float* x, const float* b, float* output) {
  const Wide wide({positions, c});
  const std::vector<float> added = wide.widen(b);
  for_channels(wide, [&](auto d, int64_t i, int64_t j) HWY_ATTR {
    hn::StoreU(hn::Add(hn::Mul(hn::Set(d, a), hn::LoadU(d, x + i)), hn::LoadU(d, added.data() + j)), d, output + i);
  });
}

void sum_per_channel(int64_t positions, int64_t c, const float* x, double* sums) {
  sum_channels<1>(Wide({positions, c}), sums,
                  [&](auto d, int64_t i, int64_t, const auto& add) HWY_ATTR { add(0, load_promoted(d, x + i)); });
}

void channel_moments(const ChannelRows& rows, const float* x, double* mean, double* variance) {
  const Wide wide(rows);
  const int64_t c = rows.c, blocks = block_count(wide);
  std::vector<double> means(static_cast<size_t>(blocks * c)), squares(means.size()),
      positions(static_cast<size_t>(blocks));
  for_blocks(wide, [&](int64_t block, int64_t begin, int64_t end) HWY_ATTR {
    double* block_mean = means.data() + block * c;
    std::vector<double> sums(static_cast<size_t>(wide.width()));
    add_elements<1>(wide, begin, end, sums.data(),
                    [&](auto d, int64_t i, int64_t, const auto& add) HWY_ATTR { add(0, load_promoted(d, x + i)); });
    wide.fold(sums.data(), block_mean);
    const int64_t block_positions = (end - begin) / c;
    positions[static_cast<size_t>(block)] = static_cast<double>(block_positions);
    for (int64_t j = 0; j < c; ++j) block_mean[j] /= positions[static_cast<size_t>(block)];

    const std::vector<double> centre = wide.widen(block_mean);
    std::fill(sums.begin(), sums.end(), 0.0);
    add_elements<1>(wide, begin, end, sums.data(), [&](auto d, int64_t i, int64_t j, const auto& add) HWY_ATTR {
      const auto difference = hn::Sub(load_promoted(d, x + i), hn::LoadU(d, centre.data() + j));
      add(0, hn::Mul(difference, difference));
    });
    wide.fold(sums.data(), squares.data() + block * c);
  });
  const double all = static_cast<double>(rows.positions);
  for (int64_t j = 0; j < c; ++j) {
    double sum = 0.0, square = 0.0;
    for (int64_t block = 0; block < blocks; ++block)
      sum += positions[static_cast<size_t>(block)] * means[static_cast<size_t>(block * c + j)];
    mean[j] = sum / all;
    for (int64_t block = 0; block < blocks; ++block) {
      const double shift = means[static_cast<size_t>(block * c + j)] - mean[j];
      square += squares[static_cast<size_t>(block * c + j)] + positions[static_cast<size_t>(block)] * shift * shift;
    }
    variance[j] = square / all;
  }
}

void channel_affine(const ChannelRows& rows, const float* x, const ChannelAffine& map, const float* residual, bool relu,
                    float* output) {
  const Wide wide(rows);
  const std::vector<float> mean = wide.widen(map.mean), scale = wide.widen(map.scale), shift = wide.widen(map.shift);
  for_channels(wide, [&](auto d, int64_t i, int64_t j) HWY_ATTR {
    const auto centred = hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, mean.data() + j));
    auto y = hn::Add(hn::Mul(centred, hn::LoadU(d, scale.data() + j)), hn::LoadU(d, shift.data() + j));
    if (residual) y = hn::Add(y, hn::LoadU(d, residual + i));
    if (relu) y = hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), y);
    hn::StoreU(y, d, output + i);
  });
}

void channel_sums(const ChannelRows& rows, const float* x, const float* mean, const float* g, double* sums) {
  const Wide wide(rows);
  const std::vector<float> centre = wide.widen(mean);
  sum_channels<3>(wide, sums, [&](auto d, int64_t i, int64_t j, const auto& add) HWY_ATTR {
    const auto grad = load_promoted(d, g + i);
    const auto deviation = hn::Sub(load_promoted(d, x + i), load_promoted(d, centre.data() + j));
    add(0, grad);
    add(1, hn::Mul(grad, deviation));
    add(2, deviation);
  });
}

void channel_gradient(const ChannelRows& rows, const float* x, const float* g, const ChannelGradient& map,
                      const GradTarget& target) {
  const Wide wide(rows);
  const std::vector<float> mean = wide.widen(map.mean), scale = wide.widen(map.scale), slope = wide.widen(map.slope),
                           offset = wide.widen(map.offset);
  for_channels(wide, [&](auto d, int64_t i, int64_t j) HWY_ATTR {
    const auto deviation = hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, mean.data() + j));
    const auto rest = hn::Sub(hn::Sub(hn::LoadU(d, g + i), hn::Mul(deviation, hn::LoadU(d, slope.data() + j))),
                              hn::LoadU(d, offset.data() + j));
    store_grad(d, target, i, hn::Mul(hn::LoadU(d, scale.data() + j), rest));
  });
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(add_per_channel);
HWY_EXPORT(sum_per_channel);
HWY_EXPORT(channel_moments);
HWY_EXPORT(channel_affine);
HWY_EXPORT(channel_sums);
HWY_EXPORT(channel_gradient);

void add_per_channel(int64_t positions, int64_t c, float a, const float* x, const float* b, float* output,
                     const Tensor*) {
  MINIDL_DISPATCH(add_per_channel)(positions, c, a, x, b, output);
}
void sum_per_channel(int64_t positions, int64_t c, const float* x, float beta, float* output) {
  std::vector<double> sums(static_cast<size_t>(c));
  MINIDL_DISPATCH(sum_per_channel)(positions, c, x, sums.data());
  for (int64_t j = 0; j < c; ++j) {
    const double sum = sums[static_cast<size_t>(j)];
    output[j] = static_cast<float>(beta == 0.0f ? sum : static_cast<double>(beta) * output[j] + sum);
  }
}
void channel_moments(const ChannelRows& rows, const float* x, double* mean, double* variance) {
  MINIDL_DISPATCH(channel_moments)(rows, x, mean, variance);
}
void channel_affine(const ChannelRows& rows, const float* x, const ChannelAffine& map, const float* residual, bool relu,
                    float* output) {
  MINIDL_DISPATCH(channel_affine)(rows, x, map, residual, relu, output);
}
void channel_sums(const ChannelRows& rows, const float* x, const float* mean, const float* g, double* sums) {
  MINIDL_DISPATCH(channel_sums)(rows, x, mean, g, sums);
}
void channel_gradient(const ChannelRows& rows, const float* x, const float* g, const ChannelGradient& map,
                      const GradTarget& target) {
  MINIDL_DISPATCH(channel_gradient)(rows, x, g, map, target);
}

}  // namespace minidl::cpu
#endif  // HWY_ONCE
