#pragma once
#include <minidl/core/tensor.h>

#include <array>
#include <cstdint>

namespace minidl {

/// Counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): value i of a stream is a
/// function of (seed, stream, i) alone, so results do not depend on device, thread count or the order of calls.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  /// Four independent 32-bit words for this counter.
  static std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t counter);

  /// Next 32 random bits.
  uint32_t bits();
  /// Uniform in [0, 1), a multiple of 2^-24.
  float uniform();
  /// Uniform integer in [0, bound), bound > 0, without modulo bias.
  uint64_t below(uint64_t bound);

  /// Fills an f32 tensor: uniform in [low, high), or normal by Box-Muller. Advances the position by whole blocks of four.
  void fill_uniform(Tensor& output, float low, float high);
  void fill_normal(Tensor& output, float mean, float standard_deviation);

  /// For checkpoints: the whole state is (seed, stream, position).
  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }
  uint64_t position() const { return position_; }
  void set_position(uint64_t position) { position_ = position; }

 private:
  uint64_t next_block(int64_t values);

  uint64_t seed_;
  uint64_t stream_;
  uint64_t position_ = 0;  // number of 32-bit words consumed
};

}  // namespace minidl
