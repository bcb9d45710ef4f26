#include <minidl/core/dtype.h>
#include <minidl/core/rng.h>
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/cpu/simd.h>
#include <support/instruction_sets.h>

#include <bit>
#include <limits>

namespace minidl::cpu {
namespace {

constexpr int64_t kBlock = kAmxBlock, kBlockCount = kAmxBlockCount;

/// Operands of a product of 2 points, with gaps between them and between the columns of C.
struct Operands {
  std::vector<uint16_t> a, b;
  std::vector<float> c;
  AmxProduct product;

  Operands(int parts, int64_t rows, int64_t depth, int64_t columns, const std::function<uint16_t(Rng&)>& bits) {
    const int64_t row_blocks = (rows + kBlock - 1) / kBlock;
    product = {.parts = parts, .points = 2, .rows = rows, .depth = depth, .depth_step = depth, .columns = columns};
    product.a_plane = row_blocks * depth * parts * kBlockCount + 32;
    product.b_plane = columns * depth * parts * kBlockCount + 64;
    product.c_rows = (row_blocks + 1) * kBlock;
    product.c_plane = columns * product.c_rows * kBlock + 16;
    a.resize(static_cast<size_t>(2 * product.a_plane));
    b.resize(static_cast<size_t>(2 * product.b_plane));
    c.resize(static_cast<size_t>(2 * product.c_plane), -7.0f);
    Rng rng(3);
    for (uint16_t& element : a) element = bits(rng);
    for (uint16_t& element : b) element = bits(rng);
  }
  Operands(const Operands&) = delete;

  const std::vector<float>& multiply(const AmxBody& body) {
    product.a = a.data();
    product.b = b.data();
    product.c = c.data();
    body.multiply(product);
    return c;
  }
};

bool same_bits(float x, float y) {
  return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y) || (std::isnan(x) && std::isnan(y));
}

std::vector<float> random_values(size_t count, uint64_t seed) {
  std::vector<float> values(count);
  Rng rng(seed);
  for (float& value : values) value = 2.0f * rng.uniform() - 1.0f;
  return values;
}

const std::vector<const AmxBody*>& bodies() {
  static const std::vector<const AmxBody*> all = [] {
    std::vector<const AmxBody*> usable = {&amx_portable()};
    for (const AmxBody* body : {bf16_dot_products(), amx_instructions()})
      if (body) usable.push_back(body);
    return usable;
  }();
  return all;
}

/// Parts that are integers of at most 4: every sum is exact.
TEST(AmxProduct, IsExactOnIntegers) {
  for (const int parts : {1, 2, 3}) {
    for (const int64_t rows : {1, 16, 17, 32, 40, 64}) {
      const auto integer = [](Rng& rng) { return float_to_bfloat16(static_cast<float>(rng.below(9)) - 4.0f); };
      for (const AmxBody* body : bodies()) {
        for (const int64_t step : {1, 2, 3}) {
          Operands operands(parts, rows, 3, 2, integer);
          AmxProduct& p = operands.product;
          p.depth_step = step;
          const std::vector<float>& c = operands.multiply(*body);
          for (int64_t i = 0; i < 2 * rows * 2 * kBlock; ++i) {
            const int64_t point = i / (rows * 2 * kBlock), row = i / (2 * kBlock) % rows, column = i % (2 * kBlock);
            double expected = 0.0;
            for (int64_t k = 0; k < 3 * kBlock; ++k) {
              const int64_t block = k / kBlock, within = k % kBlock, j = column % kBlock;
              const uint16_t* a = operands.a.data() + point * p.a_plane +
                                  (row / kBlock * 3 + block) * parts * kBlockCount + row % kBlock * kBlock + within;
              const uint16_t* b = operands.b.data() + point * p.b_plane +
                                  (column / kBlock * 3 + block) * parts * kBlockCount + j / 16 * (kBlockCount / 2) +
                                  within / 2 * kBlock + j % 16 * 2 + within % 2;
              for (int x = 0; x < parts; ++x)
                for (int y = 0; x + y < parts; ++y)
                  expected +=
                      double{bfloat16_to_float(a[x * kBlockCount])} * double{bfloat16_to_float(b[y * kBlockCount])};
            }
            const size_t at =
                static_cast<size_t>(point * p.c_plane + (column / kBlock * p.c_rows + row) * kBlock + column % kBlock);
            ASSERT_EQ(double{c[at]}, expected) << "parts " << parts << " rows " << rows << " row " << row;
          }
        }
      }
    }
  }
}

TEST(AmxProduct, PortableBodyHasTheBitsOfTheInstructions) {
  if (!amx_instructions()) GTEST_SKIP() << "this machine has no AMX instructions to compare with";
  struct Kind {
    const char* name;
    std::function<uint16_t(Rng&)> bits;
    bool subnormal_products;  // only a fused multiply-add has the bits of the instructions then
  };
  const auto scaled = [](float scale) {
    return [scale](Rng& rng) { return float_to_bfloat16(scale * (2.0f * rng.uniform() - 1.0f)); };
  };
  const auto of_all_sizes = [](Rng& rng) {
    const float exponent = static_cast<float>(rng.below(60)) - 66.0f;
    return float_to_bfloat16((2.0f * rng.uniform() - 1.0f) * std::exp2(exponent));
  };
  const Kind kinds[] = {{"usual", scaled(1.0f), false},
                        {"large", scaled(1e19f), false},
                        {"tiny products", scaled(1e-18f), true},
                        {"subnormal products", scaled(3e-20f), true},
                        {"of all sizes", of_all_sizes, true},
                        {"any bits", [](Rng& rng) { return static_cast<uint16_t>(rng.below(65536)); }, true}};
  const std::string set = simd().name;
  const bool fused = set != "sse4" && set != "sse2" && set != "scalar";
  for (const Kind& kind : kinds) {
    if (kind.subnormal_products && !fused) continue;
    for (const int parts : {1, 2, 3}) {
      Operands instructions(parts, 40, 3, 2, kind.bits), portable(parts, 40, 3, 2, kind.bits);
      const std::vector<float>& expected = instructions.multiply(*amx_instructions());
      const std::vector<float>& actual = portable.multiply(amx_portable());
      size_t different = 0;
      for (size_t i = 0; i < expected.size(); ++i) different += !same_bits(expected[i], actual[i]);
      EXPECT_EQ(different, 0u) << kind.name << ", " << parts << " parts, of " << expected.size();
    }
  }
}

/// x = x0 + x1 + x2 for every x that is not tiny, 16 bits of it in two parts and 8 in one.
TEST(AmxSplit, PartsAddUp) {
  const std::vector<float> values = random_values(36 * kBlock, 5);
  for (const AmxBody* body : bodies()) {
    for (const int parts : {1, 2, 3}) {
      std::vector<uint16_t> output(36 * 3 * kBlockCount);
      body->split(values.data(), 36, parts, output.data(), 3 * kBlockCount);
      for (size_t i = 0; i < values.size(); ++i) {
        const uint16_t* first = output.data() + i / kBlock * 3 * kBlockCount + i % kBlock;
        EXPECT_EQ(first[0], float_to_bfloat16(values[i]));
        double sum = 0.0;
        for (int part = 0; part < parts; ++part) sum += double{bfloat16_to_float(first[part * kBlockCount])};
        constexpr double kRest[] = {0x1p-8, 0x1p-17, 0.0};  // of the value
        EXPECT_LE(std::abs(sum - double{values[i]}), kRest[parts - 1] * std::abs(double{values[i]}));
      }
    }
  }
}

TEST(AmxSplit, ColumnsAreSplitLikeRows) {
  const std::vector<float> values = random_values(kBlockCount, 6);
  std::vector<uint16_t> rows(3 * kBlockCount), columns(3 * kBlockCount);
  test::for_each_instruction_set([&](const char* name) {
    for (const AmxBody* body : bodies()) {
      body->split(values.data(), kBlock, 3, rows.data(), kBlock);
      body->split_columns(values.data(), 3, columns.data());
      for (int64_t i = 0; i < 3 * kBlockCount; ++i) {
        const int64_t part = i / kBlockCount, k = i % kBlockCount / kBlock, j = i % kBlock;
        const int64_t at = part * kBlockCount + j / 16 * (kBlockCount / 2) + k / 2 * kBlock + j % 16 * 2 + k % 2;
        ASSERT_EQ(columns[static_cast<size_t>(at)], rows[static_cast<size_t>(i)]) << name;
      }
    }
  });
}

TEST(AmxSplit, PortableBodyHasTheBitsOfTheInstructions) {
  if (!amx_instructions()) GTEST_SKIP() << "this machine has no AMX instructions to compare with";
  std::vector<float> values = random_values(kBlockCount, 7);
  const float special[] = {0.0f,
                           -0.0f,
                           INFINITY,
                           -INFINITY,
                           NAN,
                           1e-38f,
                           -1e-39f,
                           1e-45f,
                           1.1754944e-38f,
                           3e38f,
                           std::numeric_limits<float>::max(),
                           1.00390625f,
                           1.01171875f};  // the last two: ties
  std::copy(std::begin(special), std::end(special), values.begin());
  for (const int parts : {2, 3}) {
    std::vector<uint16_t> expected(3 * kBlockCount), actual(3 * kBlockCount);
    amx_instructions()->split(values.data(), kBlock, parts, expected.data(), kBlock);
    amx_portable().split(values.data(), kBlock, parts, actual.data(), kBlock);
    for (size_t i = 0; i < expected.size(); ++i) {
      const bool both_nan = std::isnan(bfloat16_to_float(expected[i])) && std::isnan(bfloat16_to_float(actual[i]));
      EXPECT_TRUE(both_nan || expected[i] == actual[i]) << i << ": " << expected[i] << " and " << actual[i];
    }
  }
}

}  // namespace
}  // namespace minidl::cpu
