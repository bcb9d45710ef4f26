// What a node keeps for its backward pass: a tensor, or how it is computed anew.
#include <minidl/core/allocator.h>
#include <minidl/core/tape.h>
#include <support/compare.h>

#include <numeric>

namespace minidl {
namespace {

using test::equals;
using test::throws_error;

TEST(Saved, ReportsATensorThatWasOverwritten) {
  Tensor x = Tensor::zeros({3});
  const Saved saved(x);
  EXPECT_TRUE(saved);
  EXPECT_FALSE(Saved());
  EXPECT_TRUE(saved.get("conv2d").shares_storage_with(x));
  x.slice(1, 2).fill(1);  // through any view
  EXPECT_TRUE(
      throws_error([&] { saved.get("conv2d"); }, "[conv2d] a tensor [3] saved for the backward pass was overwritten"));
}

/// Rows [begin, end) of `whole`, as if they were computed anew; notes what was asked for.
Recompute copies_of(const Tensor& whole, std::vector<std::pair<int64_t, int64_t>>& asked) {
  return [whole, &asked](int64_t begin, int64_t end) {
    EXPECT_EQ(begin % kRecomputeUnit, 0);
    asked.emplace_back(begin, end);
    return rows_of(whole, begin, end).clone();
  };
}

Tensor counting(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  std::iota(x.data<float>(), x.data<float>() + x.count(), 0.0f);
  return x;
}

TEST(SavedValue, RowsShareStorage) {
  const Tensor x = counting({1, 5, 2, 3});
  const Tensor rows = rows_of(x, 1, 3);
  EXPECT_EQ(rows.shape(), Shape({1, 2, 2, 3}));
  EXPECT_EQ(rows.span<float>()[0], 6);
  EXPECT_TRUE(rows.shares_storage_with(x));
  EXPECT_EQ(rows_of(counting({2, 5, 2, 3}), 0, 5).shape(), Shape({2, 5, 2, 3}));
  EXPECT_FALSE(rows_of(BitMask(), 0, 1));
  EXPECT_EQ(rows_of(BitMask({1, 5, 2, 4}, Device::cpu()), 2, 5).shape(), Shape({1, 3, 2, 4}));
}

TEST(SavedValue, OfAVariableWithoutARecipeIsItsTensor) {
  const Variable x(counting({2, 3, 2, 1}));
  const Saved saved(x);
  EXPECT_TRUE(saved.get("test").shares_storage_with(x.value()));
  int parts = 0;
  saved.for_parts("test", [&](const Tensor& part, int64_t begin, int64_t end) {
    ++parts;
    EXPECT_EQ(part.shape(), x.shape());
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 3);
  });
  EXPECT_EQ(parts, 1);
  EXPECT_FALSE(Saved());
}

TEST(SavedValue, ThatIsComputedAnewIsNotKept) {
  // Rows of 128 KiB: parts of 32 rows.
  const Tensor whole = counting({1, 37, 256, 128});
  std::vector<std::pair<int64_t, int64_t>> asked;
  Allocator& memory = allocator(Device::cpu());
  Variable x(whole.clone());
  x.set_recompute(copies_of(whole, asked));
  const int64_t before = memory.stats().in_use;
  const Saved saved(x);
  x = Variable();
  EXPECT_LT(memory.stats().in_use, before);
  EXPECT_TRUE(saved);

  std::vector<float> values;
  saved.for_parts("test", [&](const Tensor& part, int64_t begin, int64_t end) {
    EXPECT_EQ(part.shape(), Shape({1, end - begin, 256, 128}));
    const auto span = part.span<float>();
    values.insert(values.end(), span.begin(), span.end());
  });
  EXPECT_TRUE(equals(whole, std::vector<double>(values.begin(), values.end())));
  EXPECT_EQ(asked, (std::vector<std::pair<int64_t, int64_t>>{{0, 32}, {32, 37}}));
  EXPECT_TRUE(equals(saved.get("test"), whole));

  asked.clear();
  EXPECT_TRUE(equals(saved.rows("test", 13, 30), rows_of(whole, 13, 30).clone()));
  EXPECT_EQ(asked, (std::vector<std::pair<int64_t, int64_t>>{{8, 30}}));
}

// A recipe for rows is one for rows of a picture.
TEST(SavedValue, SeveralPicturesAreComputedAnewAtOnce) {
  const Tensor whole = counting({2, 37, 256, 128});
  std::vector<std::pair<int64_t, int64_t>> asked;
  Variable x(whole.clone());
  x.set_recompute(copies_of(whole, asked));
  int parts = 0;
  Saved(x).for_parts("test", [&](const Tensor& part, int64_t, int64_t) {
    ++parts;
    EXPECT_TRUE(equals(part, whole));
  });
  EXPECT_EQ(parts, 1);
  EXPECT_EQ(asked, (std::vector<std::pair<int64_t, int64_t>>{{0, 37}}));
}

}  // namespace
}  // namespace minidl
