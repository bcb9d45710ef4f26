#include <minidl/kernels/half.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/instruction_sets.h>
#include <support/random_tensors.h>

#include <algorithm>

namespace minidl {
namespace {

using test::random_uniform;
using test::throws_error;

uint16_t bits_of(const Tensor& halves, int64_t i) {
  return static_cast<const uint16_t*>(halves.raw())[i];
}

/// `floats` are all halves in turn, `back` is what they were rounded to.
void expect_all(const Tensor& floats, const Tensor& back) {
  for (int i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float expected = half_to_float(bits), value = floats.data<float>()[i];
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value) && std::isnan(half_to_float(bits_of(back, i)))) << i;
    } else if (std::isinf(expected)) {
      ASSERT_EQ(value, expected);
      ASSERT_EQ(half_to_float(bits_of(back, i)), std::copysign(65504.0f, expected));
    } else {
      ASSERT_EQ(value, expected);
      ASSERT_EQ(bits_of(back, i), bits) << i;
    }
  }
}

TEST(Half, EveryHalfComesBack) {
  Tensor halves = Tensor::empty({65536}, Dtype::f16), floats = Tensor::empty({65536}), back = halves.clone();
  for (int i = 0; i < 65536; ++i) static_cast<uint16_t*>(halves.raw())[i] = static_cast<uint16_t>(i);
  test::for_each_instruction_set([&](const char* name) {
    SCOPED_TRACE(name);
    ON_DEVICE(from_half)(halves, floats);
    ON_DEVICE(to_half)(floats, back);
    expect_all(floats, back);
  });
}

TEST(Half, RoundsToTheNearestEven) {
  for (const int64_t count : {0, 1, 7, 33, 40001}) {
    Tensor x = random_uniform({count}, 5, -70000.0f, 70000.0f), halves = Tensor::empty({count}, Dtype::f16);
    for (int64_t i = 0; i < count; i += 3) x.data<float>()[i] *= 1e-5f;
    if (count > 4) x.data<float>()[4] = 2049.0f;  // between 2048 and 2050
    Tensor back = Tensor::empty({count});
    test::for_each_instruction_set([&](const char* name) {
      ON_DEVICE(to_half)(x, halves);
      ON_DEVICE(from_half)(halves, back);
      for (int64_t i = 0; i < count; ++i) ASSERT_EQ(back.data<float>()[i], half_to_float(bits_of(halves, i))) << name;
      for (int64_t i = 0; i < count; ++i) {
        const float value = std::as_const(x).data<float>()[i];
        ASSERT_EQ(bits_of(halves, i), float_to_half(std::clamp(value, -65504.0f, 65504.0f))) << name << ": " << value;
      }
    });
  }
}

TEST(Bfloat16, EveryValueComesBack) {
  Tensor halves = Tensor::empty({65536}, Dtype::bf16), floats = Tensor::empty({65536}), back = halves.clone();
  for (int i = 0; i < 65536; ++i) static_cast<uint16_t*>(halves.raw())[i] = static_cast<uint16_t>(i);
  test::for_each_instruction_set([&](const char* name) {
    ON_DEVICE(from_half)(halves, floats);
    ON_DEVICE(to_half)(floats, back);
    for (int i = 0; i < 65536; ++i) {
      const auto bits = static_cast<uint16_t>(i);
      const float expected = bfloat16_to_float(bits), value = std::as_const(floats).data<float>()[i];
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(value) && std::isnan(bfloat16_to_float(bits_of(back, i)))) << name << i;
      } else {
        ASSERT_EQ(value, expected) << name;
        ASSERT_EQ(bits_of(back, i), bits) << name;
      }
    }
  });
}

TEST(Bfloat16, RoundsToTheNearestEven) {
  for (const int64_t count : {0, 1, 7, 33, 40001}) {
    Tensor x = random_uniform({count}, 6, -3.0f, 3.0f), halves = Tensor::empty({count}, Dtype::bf16);
    for (int64_t i = 0; i < count; i += 3) x.data<float>()[i] *= 1e-38f;  // subnormal ones among them
    if (count > 7) x.data<float>()[4] = 257.0f, x.data<float>()[5] = 259.0f, x.data<float>()[7] = 3.4e38f;  // ties
    test::for_each_instruction_set([&](const char* name) {
      ON_DEVICE(to_half)(x, halves);
      for (int64_t i = 0; i < count; ++i) {
        const float value = std::as_const(x).data<float>()[i];
        ASSERT_EQ(bits_of(halves, i), float_to_bfloat16(value)) << name << ": " << value;
      }
    });
  }
}

TEST(Half, AreReadAsF32) {
  const Tensor values = test::random_integers({3, 5}, 1);
  EXPECT_TRUE(as_f32(values).shares_storage_with(values));
  for (const Dtype type : {Dtype::f16, Dtype::bf16}) {
    EXPECT_TRUE(test::same_bytes(as_f32(values.to(test::device()).to(type)).to(Device::cpu()), values));
  }
}

TEST(Half, RefusesOtherTypesAndShapes) {
  Tensor x = Tensor::zeros({4}), halves = Tensor::zeros({5}, Dtype::f16), wrong = Tensor::zeros({4}, Dtype::i8);
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(to_half)(x, halves); }, "halves [5] of f16 must be [4] of f16 or bf16"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(from_half)(wrong, x); }, "halves [4] of i8 must be [4] of f16 or bf16"));
}

}  // namespace
}  // namespace minidl
