#include <minidl/core/allocator.h>
#include <minidl/core/rng.h>
#include <minidl/core/tensor.h>
#include <support/compare.h>
#include <support/device.h>

#include <limits>

namespace minidl {
namespace {

using test::equals;
using test::same_bytes;
using test::throws_error;

Tensor counting(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  float value = 0;
  for (float& element : x.span<float>()) element = value++;
  return x;
}

TEST(Tensor, IsUndefinedByDefault) {
  const Tensor x;
  EXPECT_FALSE(x);
  EXPECT_EQ(x.count(), 0);
  EXPECT_EQ(x.version(), 0u);
  EXPECT_EQ(x.raw(), nullptr);
  EXPECT_EQ(x.device(), Device::cpu());
  EXPECT_FALSE(x.clone());
  EXPECT_FALSE(x.to(Dtype::f16));
  EXPECT_FALSE(x.to(Device::cpu()));
  EXPECT_FALSE(x.shares_storage_with(x));
  EXPECT_TRUE(throws_error([&] { x.data<float>(); }, "undefined tensor"));
}

TEST(Tensor, IsMadeWithItsContents) {
  EXPECT_TRUE(equals(Tensor::zeros({2, 3}), {0, 0, 0, 0, 0, 0}));
  EXPECT_TRUE(equals(Tensor::full({3}, 2.5f), {2.5, 2.5, 2.5}));
  EXPECT_TRUE(equals(Tensor::from(std::vector<float>{1, 2, 3, 4}, {2, 2}), {1, 2, 3, 4}));
  EXPECT_TRUE(throws_error(
      [] {
        Tensor::from(std::vector<float>{1, 2, 3}, {2, 2});
      },
      "3 values given for shape [2,2]"));
  const Tensor scalar = Tensor::full({}, 4.0f);
  EXPECT_EQ(scalar.count(), 1);
  EXPECT_EQ(scalar.item(), 4.0f);
  const Tensor zeros = Tensor::zeros({5}, Dtype::i64);
  EXPECT_EQ(zeros.bytes(), 40);
  EXPECT_EQ(zeros.data<int64_t>()[4], 0);
}

TEST(Tensor, MayHaveNoElements) {
  for (const Shape& shape : {Shape{0}, Shape{3, 0, 2}}) {
    Tensor x = Tensor::zeros(shape);
    EXPECT_TRUE(x);
    EXPECT_EQ(x.bytes(), 0);
    EXPECT_TRUE(x.span<float>().empty());
    x.fill(1);
    EXPECT_TRUE(same_bytes(x.clone(), x));
    EXPECT_EQ(x.to(Dtype::bf16).shape(), shape);
    EXPECT_EQ(x.slice(0, 0).count(), 0);
    EXPECT_EQ(x.reshape({0, 7}).shape(), (Shape{0, 7}));
  }
}

TEST(Tensor, RefusesSizesBeyondMemory) {
  const int64_t huge = int64_t{1} << 62;
  EXPECT_TRUE(throws_error([&] { Tensor::empty({huge}); }, "too large"));
  EXPECT_TRUE(throws_error([&] { Tensor::empty({huge}, Dtype::u8); }, "out of memory"));
}

TEST(Tensor, GivesItsMemoryBack) {
  const int64_t before = allocator(Device::cpu()).stats().in_use;
  {
    const Tensor x = Tensor::empty({1000});
    const Tensor view = x.slice(10, 20);
    EXPECT_EQ(allocator(Device::cpu()).stats().in_use, before + 4096);
  }
  EXPECT_EQ(allocator(Device::cpu()).stats().in_use, before);
}

TEST(Tensor, ACopyIsAHandleAndACloneIsNot) {
  Tensor x = counting({2, 2});
  Tensor handle = x, clone = x.clone();
  EXPECT_TRUE(handle.shares_storage_with(x));
  EXPECT_FALSE(clone.shares_storage_with(x));
  handle.data<float>()[3] = 9;
  EXPECT_TRUE(equals(x, {0, 1, 2, 9}));
  EXPECT_TRUE(equals(clone, {0, 1, 2, 3}));
}

TEST(Tensor, DataNeedsTheRightType) {
  const Tensor x = Tensor::zeros({2}, Dtype::i32);
  EXPECT_EQ(x.data<int32_t>()[1], 0);
  EXPECT_TRUE(throws_error([&] { x.data<float>(); }, "asked for as f32, but the tensor [2] holds i32"));
  EXPECT_TRUE(throws_error([&] { Tensor(x).fill(1); }, "holds i32"));
  EXPECT_TRUE(throws_error([&] { x.reshape({2, 1}).slice(0, 1).item(); }, "holds i32"));
}

TEST(Tensor, ReshapeSharesStorage) {
  Tensor x = counting({2, 6});
  Tensor view = x.reshape({3, 2, 2});
  EXPECT_EQ(view.shape(), (Shape{3, 2, 2}));
  view.data<float>()[11] = -1;
  EXPECT_EQ(x.span<float>()[11], -1.0f);
  EXPECT_TRUE(throws_error([&] { x.reshape({5}); }, "reshape from [2,6] to [5]"));
}

TEST(Tensor, SlicesAreRowsOfTheFirstDimension) {
  Tensor x = counting({4, 3});
  Tensor middle = x.slice(1, 3);
  EXPECT_EQ(middle.shape(), (Shape{2, 3}));
  EXPECT_TRUE(equals(middle, {3, 4, 5, 6, 7, 8}));
  EXPECT_TRUE(equals(middle.slice(1, 2), {6, 7, 8}));
  EXPECT_TRUE(equals(middle.reshape({3, 2}).slice(2, 3), {7, 8}));
  middle.slice(0, 1).fill(-1);
  EXPECT_TRUE(equals(x.slice(0, 2), {0, 1, 2, -1, -1, -1}));
  EXPECT_EQ(x.slice(4, 4).count(), 0);
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{-1, 2}, {3, 2}, {0, 5}}) {
    EXPECT_TRUE(throws_error([&, first = begin, last = end] { x.slice(first, last); }, "outside shape [4,3]"));
  }
  EXPECT_TRUE(throws_error([] { Tensor::full({}, 1).slice(0, 1); }, "outside shape []"));
}

TEST(Tensor, AskingForMutableDataRaisesTheVersion) {
  Tensor x = Tensor::empty({4});
  const Tensor& reader = x;
  const uint64_t start = x.version();
  reader.data<float>();
  reader.span<float>();
  reader.raw();
  EXPECT_EQ(x.version(), start);
  x.data<float>();
  EXPECT_EQ(x.version(), start + 1);
  x.span<float>();
  EXPECT_EQ(x.version(), start + 2);
  x.raw();
  EXPECT_EQ(x.version(), start + 3);
  x.fill(1);
  EXPECT_GT(x.version(), start + 3);
}

TEST(Tensor, KeepsWhatWasDerivedFromItsContents) {
  static const char kKey = 0, kOther = 0;
  Tensor x = counting({4, 2});
  EXPECT_EQ(x.derived(&kKey), nullptr);
  const auto value = std::make_shared<const int>(7), replaced = std::make_shared<const int>(8);
  x.keep_derived(&kKey, value);
  EXPECT_EQ(x.derived(&kKey), value);
  EXPECT_EQ(x.reshape({8}).derived(&kKey), value);
  EXPECT_EQ(x.derived(&kOther), nullptr);
  EXPECT_EQ(std::as_const(x).slice(1, 2).derived(&kKey), nullptr);  // other contents
  x.keep_derived(&kKey, replaced);
  EXPECT_EQ(x.derived(&kKey), replaced);
  EXPECT_EQ(value.use_count(), 1);
  x.data<float>();
  EXPECT_EQ(x.derived(&kKey), nullptr);
  x.keep_derived(&kOther, value);
  EXPECT_EQ(x.derived(&kKey), nullptr);
  EXPECT_EQ(replaced.use_count(), 1);
  x = Tensor();
  EXPECT_EQ(value.use_count(), 1);
}

TEST(Tensor, WhatWasDerivedIsTakenByOneReaderUnlessItIsShared) {
  static const char kKey = 0;
  Tensor x = counting({4, 2});
  EXPECT_EQ(x.take_derived(&kKey), nullptr);
  const auto value = std::make_shared<const int>(7);
  x.keep_derived(&kKey, value);
  EXPECT_EQ(std::as_const(x).slice(1, 2).take_derived(&kKey), nullptr);  // other contents
  EXPECT_EQ(x.take_derived(&kKey), value);
  EXPECT_EQ(value.use_count(), 1);
  EXPECT_EQ(x.derived(&kKey), nullptr);
  x.share_derived();
  x.keep_derived(&kKey, value);
  EXPECT_EQ(x.take_derived(&kKey), value);
  EXPECT_EQ(x.take_derived(&kKey), value);
  x.data<float>();
  EXPECT_EQ(x.take_derived(&kKey), nullptr);
  x.keep_derived(&kKey, value);
  EXPECT_EQ(x.take_derived(&kKey), value);
  EXPECT_EQ(x.take_derived(&kKey), nullptr) << "of the new contents nothing is shared";
}

TEST(Tensor, ViewsShareTheVersion) {
  Tensor x = Tensor::zeros({4});
  Tensor view = x.slice(0, 1).reshape({1, 1});
  const uint64_t before = x.version();
  view.fill(5);
  EXPECT_GT(x.version(), before);
  EXPECT_EQ(x.version(), view.version());
  const uint64_t source_version = x.version();
  Tensor target = Tensor::zeros({4});
  const uint64_t target_version = target.version();
  target.copy_from(x);
  EXPECT_EQ(x.version(), source_version);
  EXPECT_GT(target.version(), target_version);
  EXPECT_GE(x.clone().version(), 0u);
}

TEST(Tensor, CopiesBetweenEqualShapesAndTypes) {
  Tensor x = Tensor::zeros({2, 2});
  x.copy_from(counting({2, 2}));
  EXPECT_TRUE(equals(x, {0, 1, 2, 3}));
  Tensor all = counting({5});
  all.slice(1, 5).copy_from(all.slice(0, 4));  // overlapping
  EXPECT_TRUE(equals(all, {0, 0, 1, 2, 3}));
  EXPECT_TRUE(throws_error([&] { x.copy_from(counting({4})); }, "copy of f32 [4] into f32 [2,2]"));
  EXPECT_TRUE(throws_error([&] { x.copy_from(Tensor::zeros({2, 2}, Dtype::i32)); }, "copy of i32"));
  EXPECT_TRUE(throws_error([&] { x.copy_from(Tensor()); }, "copy"));
}

TEST(Tensor, ItemNeedsOneElement) {
  EXPECT_EQ(Tensor::full({1, 1}, 3.0f).item(), 3.0f);
  EXPECT_TRUE(throws_error([] { Tensor::zeros({2}).item(); }, "item() of a tensor with shape [2]"));
}

TEST(Tensor, ConvertsBetweenFloatingTypes) {
  const std::vector<float> values = {0.0f, -1.5f, 65504.0f, 1e6f, 0.1f, 1e-8f, std::numeric_limits<float>::infinity()};
  const Tensor x = Tensor::from(values, {7});
  for (const auto& [dtype, rounded] : std::vector<std::pair<Dtype, std::function<float(float)>>>{
           {Dtype::f16, [](float v) { return half_to_float(float_to_half(v)); }},
           {Dtype::bf16, [](float v) { return bfloat16_to_float(float_to_bfloat16(v)); }}}) {
    const Tensor narrow = x.to(dtype);
    EXPECT_EQ(narrow.dtype(), dtype);
    EXPECT_EQ(narrow.bytes(), 14);
    const Tensor back = narrow.to(Dtype::f32);
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(back.span<float>()[i], rounded(values[i])) << i;
    const Tensor other = narrow.to(dtype == Dtype::f16 ? Dtype::bf16 : Dtype::f16);
    EXPECT_EQ(other.to(Dtype::f32).span<float>()[1], -1.5f);
  }
  EXPECT_TRUE(x.to(Dtype::f32).shares_storage_with(x));
}

TEST(Tensor, ConvertsBytesToFloat) {
  Tensor u8 = Tensor::zeros({2}, Dtype::u8), i8 = Tensor::zeros({2}, Dtype::i8);
  u8.data<uint8_t>()[1] = 255;
  i8.data<int8_t>()[1] = -128;
  EXPECT_TRUE(equals(u8.to(Dtype::f32), {0, 255}));
  EXPECT_TRUE(equals(i8.to(Dtype::f32), {0, -128}));
}

TEST(Tensor, RefusesOtherConversions) {
  EXPECT_TRUE(throws_error([] { Tensor::zeros({2}).to(Dtype::i32); }, "no conversion to i32"));
  EXPECT_TRUE(throws_error([] { Tensor::zeros({2}, Dtype::f64).to(Dtype::f32); }, "no conversion from f64"));
}

TEST(Tensor, MovesToADevice) {
  const Tensor x = counting({3});
  EXPECT_TRUE(x.to(Device::cpu()).shares_storage_with(x));
  EXPECT_TRUE(throws_error([&] { x.to(Device{Device::Kind::cuda, 99}); }, "cuda:99 is not usable"));
}

TEST(Tensor, LivesOnTheTestsDevice) {
  const Device device = test::device();
  const Tensor x = counting({3, 5}), there = x.to(device);
  EXPECT_EQ(there.device(), device);
  EXPECT_TRUE(test::same_bytes(there.to(Device::cpu()), x));
  EXPECT_TRUE(test::same_bytes(there.clone().to(Device::cpu()), x));
  EXPECT_TRUE(test::same_bytes(there.slice(1, 3).to(Device::cpu()), x.slice(1, 3)));
  EXPECT_EQ(there.slice(2, 3).reshape({5}).slice(1, 2).item(), x.span<float>()[11]);

  Tensor target = Tensor::zeros({3, 5}, Dtype::f32, device);
  EXPECT_TRUE(test::same_bytes(target.to(Device::cpu()), Tensor::zeros({3, 5})));
  target.copy_from(x);
  EXPECT_TRUE(test::same_bytes(target.to(Device::cpu()), x));
  Tensor host = Tensor::zeros({3, 5});
  host.copy_from(target);
  EXPECT_TRUE(test::same_bytes(host, x));
  target.fill(-2.5f);
  EXPECT_TRUE(test::same_bytes(target.to(Device::cpu()), Tensor::full({3, 5}, -2.5f)));
  EXPECT_TRUE(test::same_bytes(Tensor::full({300, 7}, 4.0f, device).to(Device::cpu()), Tensor::full({300, 7}, 4.0f)));
  EXPECT_TRUE(test::same_bytes(there.to(Dtype::f16).to(Device::cpu()), x.to(Dtype::f16)));
  EXPECT_EQ(Tensor::zeros({0, 4}, Dtype::f32, device).to(Device::cpu()).count(), 0);

  Rng host_rng(7), device_rng(7);
  Tensor random = Tensor::empty({33});
  host_rng.fill_normal(random, 1.0f, 2.0f);
  Tensor random_there = Tensor::empty({33}, Dtype::f32, device);
  device_rng.fill_normal(random_there, 1.0f, 2.0f);
  EXPECT_TRUE(test::same_bytes(random_there.to(Device::cpu()), random));
}

}  // namespace
}  // namespace minidl
