#include <minidl/core/dtype.h>
#include <support/compare.h>

#include <bit>
#include <limits>

namespace minidl {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The value of a small float with `mantissa_bits`, from its definition; not for infinities and NaN.
double value_of(uint16_t bits, int mantissa_bits, int bias) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int exponent = (bits & 0x7fff) >> mantissa_bits;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

struct Format {
  const char* name;
  float (*decode)(uint16_t);
  uint16_t (*encode)(float);
  int mantissa_bits;
  int bias;
  uint16_t infinity;
};

class SmallFloat : public ::testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, SmallFloat,
                         ::testing::Values(Format{"half", half_to_float, float_to_half, 10, 15, 0x7c00},
                                           Format{"bfloat16", bfloat16_to_float, float_to_bfloat16, 7, 127, 0x7f80}),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(SmallFloat, EveryCodeHasItsValueAndComesBack) {
  const Format& format = GetParam();
  for (uint32_t code = 0; code < 65536; ++code) {
    const auto bits = static_cast<uint16_t>(code);
    const float value = format.decode(bits);
    ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << code;
    const uint16_t magnitude = bits & 0x7fff;
    if (magnitude > format.infinity) {
      ASSERT_TRUE(std::isnan(value)) << code;
      ASSERT_TRUE(std::isnan(format.decode(format.encode(value)))) << code;
      continue;
    }
    if (magnitude == format.infinity) {
      ASSERT_EQ(std::abs(value), kInfinity);
    } else {
      ASSERT_EQ(static_cast<double>(value), value_of(bits, format.mantissa_bits, format.bias)) << code;
    }
    ASSERT_EQ(format.encode(value), bits) << code;
  }
}

TEST_P(SmallFloat, RoundsToTheNearestAndToEvenHalfWay) {
  const Format& format = GetParam();
  for (uint16_t bits = 0; bits + 1 < format.infinity; ++bits) {  // the gap above every finite value
    const double low = value_of(bits, format.mantissa_bits, format.bias);
    const double high = value_of(static_cast<uint16_t>(bits + 1), format.mantissa_bits, format.bias);
    const auto middle = static_cast<float>((low + high) / 2);
    const auto even = static_cast<uint16_t>(bits + (bits & 1));
    if (static_cast<double>(middle) == (low + high) / 2) {  // not below the subnormals of f32
      ASSERT_EQ(format.encode(middle), even) << bits;
    }
    ASSERT_EQ(format.encode(std::nextafter(middle, 0.0f)), bits) << bits;
    ASSERT_EQ(format.encode(std::nextafter(middle, kInfinity)), bits + 1) << bits;
    ASSERT_EQ(format.encode(-std::nextafter(middle, kInfinity)), (bits + 1) | 0x8000) << bits;
  }
}

TEST_P(SmallFloat, OverflowsToInfinityFromHalfWayOn) {
  const Format& format = GetParam();
  const auto largest_bits = static_cast<uint16_t>(format.infinity - 1);
  const double largest = format.decode(largest_bits);
  const double gap = largest - format.decode(static_cast<uint16_t>(format.infinity - 2));
  const auto middle = static_cast<float>(largest + gap / 2);
  EXPECT_EQ(format.encode(middle), format.infinity);
  EXPECT_EQ(format.encode(std::nextafter(middle, 0.0f)), largest_bits);
  EXPECT_EQ(format.encode(-middle), format.infinity | 0x8000);
  EXPECT_EQ(format.encode(std::numeric_limits<float>::max()), format.infinity);
}

TEST_P(SmallFloat, TinyValuesBecomeZeroWithTheirSign) {
  const Format& format = GetParam();
  const float denormal = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(format.encode(denormal), 0);
  EXPECT_EQ(format.encode(-denormal), 0x8000);
}

TEST_P(SmallFloat, NaNStaysNaNWhateverItsPayload) {
  const Format& format = GetParam();
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    EXPECT_TRUE(std::isnan(format.decode(format.encode(std::bit_cast<float>(bits))))) << bits;
  }
}

TEST(Dtype, HasASizeAndAName) {
  const std::vector<std::tuple<Dtype, size_t, const char*>> cases = {
      {Dtype::f32, 4, "f32"}, {Dtype::f16, 2, "f16"}, {Dtype::bf16, 2, "bf16"}, {Dtype::f64, 8, "f64"},
      {Dtype::i64, 8, "i64"}, {Dtype::i32, 4, "i32"}, {Dtype::i8, 1, "i8"},     {Dtype::u8, 1, "u8"}};
  for (const auto& [dtype, size, name] : cases) {
    EXPECT_EQ(size_of(dtype), size);
    EXPECT_EQ(to_string(dtype), name);
  }
  EXPECT_TRUE(test::throws_error([] { size_of(static_cast<Dtype>(99)); }, "99"));
  EXPECT_TRUE(test::throws_error([] { to_string(static_cast<Dtype>(99)); }, "99"));
}

}  // namespace
}  // namespace minidl
