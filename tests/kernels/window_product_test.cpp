#include <gtest/gtest.h>
#include <minidl/core/dtype.h>
#include <minidl/core/rng.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <support/instruction_sets.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kBlock = kAmxBlock, kBlockCount = kAmxBlockCount;

const std::vector<const AmxBody*>& bodies() {
  static const std::vector<const AmxBody*> all = [] {
    std::vector<const AmxBody*> usable = {&amx_portable()};
    for (const AmxBody* body : {bf16_dot_products(), amx_instructions()})
      if (body) usable.push_back(body);
    return usable;
  }();
  return all;
}

/// Windows that overlap, blocks of them that overlap, steps in any order, filters of whole steps and of a few pairs.
struct Operands {
  std::vector<uint16_t> picture, filters;
  std::vector<int64_t> first = {40, 0, 7};
  std::vector<WindowStep> steps;
  std::vector<float> sums;
  WindowProduct product;

  Operands(int64_t pixel, int64_t depth, const std::function<uint16_t(Rng&)>& bits)
      : picture(static_cast<size_t>((40 + kBlock) * pixel + 64 * depth + kBlock)),
        filters(static_cast<size_t>(depth * kBlockCount)),
        sums(3 * kBlockCount, -7.0f) {
    Rng rng(3);
    for (uint16_t& element : picture) element = bits(rng);
    for (int64_t step = 0; step < depth; ++step) {
      steps.push_back({(depth - 1 - step) * 61, step % 2 == 0 ? 16 : 5});
      for (int64_t i = 0; i < kBlockCount; ++i) {
        const bool exists = i % (kBlockCount / 2) / kBlock < steps.back().pairs;
        filters[static_cast<size_t>(step * kBlockCount + i)] = exists ? bits(rng) : uint16_t{0};
      }
    }
    product = {.pixel = pixel, .blocks = 3, .depth = depth};
  }
  Operands(const Operands&) = delete;

  const std::vector<float>& multiply(const AmxBody& body, int64_t depth_step) {
    product.picture = picture.data();
    product.first = first.data();
    product.steps = steps.data();
    product.depth_step = depth_step;
    product.filters = filters.data();
    product.sums = sums.data();
    body.multiply_windows(product);
    return sums;
  }

  double expected(int64_t block, int64_t row, int64_t column) const {
    double sum = 0.0;
    for (int64_t step = 0; step < product.depth; ++step) {
      const int64_t window = (first[static_cast<size_t>(block)] + row) * product.pixel;
      for (int64_t k = 0; k < kBlock; ++k) {
        const int64_t a = window + steps[static_cast<size_t>(step)].offset + k;
        const int64_t b =
            step * kBlockCount + column / 16 * (kBlockCount / 2) + k / 2 * kBlock + column % 16 * 2 + k % 2;
        sum += double{bfloat16_to_float(picture[static_cast<size_t>(a)])} *
               double{bfloat16_to_float(filters[static_cast<size_t>(b)])};
      }
    }
    return sum;
  }
};

TEST(WindowProduct, IsExactOnIntegers) {
  const auto integer = [](Rng& rng) { return float_to_bfloat16(static_cast<float>(rng.below(9)) - 4.0f); };
  for (const int64_t pixel : {1, 3, 20, 32}) {
    for (const int64_t depth : {1, 4, 11}) {
      for (const AmxBody* body : bodies()) {
        for (const int64_t step : {1, 3, 20}) {
          Operands operands(pixel, depth, integer);
          const std::vector<float>& sums = operands.multiply(*body, step);
          for (int64_t i = 0; i < 3 * kBlockCount; ++i) {
            const int64_t block = i / kBlockCount, row = i % kBlockCount / kBlock, column = i % kBlock;
            ASSERT_EQ(double{sums[static_cast<size_t>(i)]}, operands.expected(block, row, column))
                << "pixel " << pixel << " depth " << depth << " in steps of " << step << " at " << i;
          }
        }
      }
    }
  }
}

TEST(WindowProduct, OfNothingIsZero) {
  for (const AmxBody* body : bodies()) {
    Operands operands(3, 0, [](Rng&) { return uint16_t{0}; });
    for (const float sum : operands.multiply(*body, 9)) ASSERT_EQ(sum, 0.0f);
  }
}

TEST(WindowProduct, PortableBodyHasTheBitsOfTheInstructions) {
  if (!amx_instructions()) GTEST_SKIP() << "this machine has no AMX instructions to compare with";
  const std::function<uint16_t(Rng&)> kinds[] = {
      [](Rng& rng) { return float_to_bfloat16(2.0f * rng.uniform() - 1.0f); },
      [](Rng& rng) { return static_cast<uint16_t>(rng.below(65536)); }};
  for (const auto& bits : kinds) {
    for (const int64_t pixel : {3, 32}) {
      Operands instructions(pixel, 11, bits), portable(pixel, 11, bits);
      const std::vector<float>& expected = instructions.multiply(*amx_instructions(), 4);
      const std::vector<float>& actual = portable.multiply(amx_portable(), 4);
      for (size_t i = 0; i < expected.size(); ++i) {
        const bool both_nan = std::isnan(expected[i]) && std::isnan(actual[i]);
        ASSERT_TRUE(both_nan || std::bit_cast<uint32_t>(expected[i]) == std::bit_cast<uint32_t>(actual[i])) << i;
      }
    }
  }
}

/// Every count and width, rows apart and side by side; nothing else is written.
TEST(RowsToRound, BecomeBf16) {
  Rng rng(5);
  std::vector<float> values(3 * 50);
  for (float& value : values) value = 2.0f * rng.uniform() - 1.0f;
  values[0] = std::numeric_limits<float>::infinity();
  values[1] = 1.00390625f;  // a tie
  values[2] = -1e-40f;      // subnormal numbers become zeros
  for (const AmxBody* body : bodies()) {
    for (int64_t width = 1; width <= kBlock; ++width) {
      for (const int64_t count : {width, (width + 1) / 2}) {
        std::vector<uint16_t> output(static_cast<size_t>(3 * width + 1), 0x4242);
        body->round({values.data(), 50, 3, count, width, output.data()});
        for (int64_t i = 0; i < 3 * width; ++i) {
          const float value = values[static_cast<size_t>(i / width * 50 + i % width)];
          const bool exists = i % width < count && std::abs(value) >= std::numeric_limits<float>::min();
          ASSERT_EQ(bfloat16_to_float(output[static_cast<size_t>(i)]),
                    exists ? bfloat16_to_float(float_to_bfloat16(value)) : 0.0f)
              << "width " << width << " count " << count << " at " << i;
        }
        EXPECT_EQ(output.back(), 0x4242);
      }
    }
  }
}

}  // namespace
}  // namespace minidl::cpu
