#include <minidl/core/parallel.h>
#include <minidl/core/rng.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace minidl {
namespace {

constexpr int64_t kBlocksPerChunk = 4096;

float to_unit(uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

/// Fills `output` four values at a time; `values(words)` turns one Philox block into four floats.
template <typename Values>
void fill(Tensor& output, uint64_t seed, uint64_t stream, uint64_t first_block, const Values& values) {
  if (output.device().kind == Device::Kind::cuda) {
    Tensor host = Tensor::empty(output.shape());
    fill(host, seed, stream, first_block, values);
    return output.copy_from(host);
  }
  const int64_t count = output.count();
  float* target = output.data<float>();
  parallel_for(0, (count + 3) / 4, kBlocksPerChunk, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const std::array<float, 4> four = values(Rng::philox(seed, stream, first_block + static_cast<uint64_t>(block)));
      std::copy_n(four.begin(), std::min<int64_t>(4, count - block * 4), target + block * 4);
    }
  });
}

}  // namespace

std::array<uint32_t, 4> Rng::philox(uint64_t seed, uint64_t stream, uint64_t counter) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::array<uint32_t, 4> x{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                            static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * x[0], product1 = kMultiplier1 * x[2];
    x = {static_cast<uint32_t>(product1 >> 32) ^ x[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ x[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return x;
}

uint32_t Rng::bits() {
  const uint64_t word = position_++;
  return philox(seed_, stream_, word / 4)[word % 4];
}

float Rng::uniform() {
  return to_unit(bits());
}

uint64_t Rng::below(uint64_t bound) {
  MINIDL_CHECK(bound > 0, "[rng] below(0) has no value to return");
  const uint64_t rejected = (0 - bound) % bound;  // 2^64 mod bound: words below it would be counted twice
  while (true) {
    const uint64_t high = bits();
    const uint64_t word = high << 32 | bits();
    if (word >= rejected) return word % bound;
  }
}

uint64_t Rng::next_block(int64_t values) {
  const uint64_t block = (position_ + 3) / 4;
  position_ = (block + static_cast<uint64_t>(values + 3) / 4) * 4;
  return block;
}

void Rng::fill_uniform(Tensor& output, float low, float high) {
  const float below_high = std::nextafter(high, low);  // low + (high - low) * u may round up to high
  fill(output, seed_, stream_, next_block(output.count()), [=](const std::array<uint32_t, 4>& words) {
    std::array<float, 4> values;
    for (int i = 0; i < 4; ++i) values[i] = std::min(low + (high - low) * to_unit(words[i]), below_high);
    return values;
  });
}

void Rng::fill_normal(Tensor& output, float mean, float standard_deviation) {
  fill(output, seed_, stream_, next_block(output.count()), [=](const std::array<uint32_t, 4>& words) {
    std::array<float, 4> values;
    for (int i = 0; i < 4; i += 2) {
      const double radius = std::sqrt(-2.0 * std::log((words[i] + 1.0) * 0x1p-32));  // (0, 1]: the logarithm is finite
      const double angle = 2.0 * std::numbers::pi * words[i + 1] * 0x1p-32;
      values[i] = mean + standard_deviation * static_cast<float>(radius * std::cos(angle));
      values[i + 1] = mean + standard_deviation * static_cast<float>(radius * std::sin(angle));
    }
    return values;
  });
}

}  // namespace minidl
