#include <minidl/kernels/curvature_pair.h>
#include <minidl/kernels/half.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::random_integers;
using test::random_uniform;
using test::throws_error;

/// Around the elements of a thread and of a block on a device, and of more blocks than those have threads.
const std::vector<int64_t> kCounts = {0, 1, 255, 257, 4096, 4097, 1100001};

struct Result {
  Tensor s, y, y_values, products;
};

struct Point {
  Tensor position, start, gradient, before, direction;
};

Result pair_of(const Point& point, Dtype dtype) {
  const Shape& shape = point.position.shape();
  Result result{Tensor::empty(shape, dtype), Tensor::empty(shape, dtype),
                dtype == Dtype::f32 ? Tensor() : Tensor::full(shape, NAN), Tensor::empty({kPairProducts}, Dtype::f64)};
  const auto run = [](const Tensor& position, const Tensor& start, const Tensor& gradient, const Tensor& before,
                      const Tensor& direction, Tensor& s, Tensor& y, Tensor& y_values, Tensor& products) {
    curvature_pair({position, start, gradient, before, direction}, s, y, y_values, products);
  };
  test::OnDevice{run}(point.position, point.start, point.gradient, point.before, point.direction, result.s, result.y,
                      result.y_values, result.products);
  return result;
}

Tensor values_of(const Tensor& x) {
  if (x.dtype() == Dtype::f32) return x;
  Tensor values = Tensor::empty(x.shape());
  from_half(x, values);
  return values;
}

double product(const Tensor& a, const Tensor& b) {
  return test::inner_product(a, b);
}

class CurvaturePair : public ::testing::TestWithParam<Dtype> {};

TEST_P(CurvaturePair, IsExactOnIntegers) {
  for (const int64_t count : kCounts) {
    const auto vector = [&](uint64_t seed) { return random_integers({count}, seed); };
    const Point point{vector(1), vector(2), vector(3), vector(4), vector(5)};
    const Result result = pair_of(point, GetParam());
    std::vector<double> s, y;
    for (int64_t i = 0; i < count; ++i) {
      s.push_back(point.position.span<float>()[i] - point.start.span<float>()[i]);
      y.push_back(point.gradient.span<float>()[i] - point.before.span<float>()[i]);
    }
    EXPECT_TRUE(test::equals(values_of(result.s), s)) << count;
    EXPECT_TRUE(test::equals(values_of(result.y), y)) << count;
    if (result.y_values) {
      EXPECT_TRUE(test::equals(result.y_values, y)) << count;
    }
    const Tensor s_values = values_of(result.s), y_values = values_of(result.y);
    const double expected[] = {product(point.gradient, point.direction), product(point.gradient, point.gradient),
                               product(s_values, y_values), product(s_values, s_values), product(y_values, y_values)};
    for (int k = 0; k < kPairProducts; ++k) {
      EXPECT_EQ(std::as_const(result.products).data<double>()[k], expected[k]) << count << " product " << k;
    }
  }
}

TEST_P(CurvaturePair, ProductsAreThoseOfWhatIsKept) {
  const auto vector = [&](uint64_t seed) { return random_uniform({5000}, seed); };
  const Point point{vector(1), vector(2), vector(3), vector(4), vector(5)};
  const Result result = pair_of(point, GetParam());
  const Tensor s = values_of(result.s), y = values_of(result.y);
  const double* const products = std::as_const(result.products).data<double>();
  EXPECT_NEAR(products[2], product(s, y), 1e-9);
  EXPECT_NEAR(products[3], product(s, s), 1e-9);
  EXPECT_NEAR(products[4], product(y, y), 1e-9);
  if (result.y_values) {
    EXPECT_TRUE(test::same_bytes(result.y_values, y));
  }
}

TEST_P(CurvaturePair, BytesDoNotDependOnThreads) {
  const auto vector = [&](uint64_t seed) { return random_uniform({70001}, seed); };
  const Point point{vector(1), vector(2), vector(3), vector(4), vector(5)};
  EXPECT_TRUE(test::same_for_all_threads([&] { return pair_of(point, GetParam()).products; }));
  EXPECT_TRUE(test::same_for_all_threads([&] { return values_of(pair_of(point, GetParam()).y); }));
}

INSTANTIATE_TEST_SUITE_P(Types, CurvaturePair, ::testing::Values(Dtype::f32, Dtype::bf16),
                         [](const auto& type) { return std::string(to_string(type.param)); });

TEST(CurvaturePairArguments, BadOnesAreNamed) {
  const Tensor x = Tensor::zeros({4}), other = Tensor::zeros({5});
  Tensor s = Tensor::zeros({4}), y = s.clone(), half = Tensor::empty({4}, Dtype::bf16), none,
         products = Tensor::empty({kPairProducts}, Dtype::f64), few = Tensor::empty({4}, Dtype::f64);
  const SearchPoint point{x, x, x, x, x};
  EXPECT_TRUE(throws_error([&] { curvature_pair({x, x, other, x, x}, s, y, none, products); }, "gradient"));
  EXPECT_TRUE(throws_error([&] { curvature_pair(point, s, half, none, products); }, "y is [4] of bf16"));
  EXPECT_TRUE(throws_error([&] { curvature_pair(point, half, half, none, products); }, "y_values"));
  EXPECT_TRUE(throws_error([&] { curvature_pair(point, s, y, s, products); }, "y_values"));
  EXPECT_TRUE(throws_error([&] { curvature_pair(point, s, y, none, few); }, "products is [4] of f64"));
  EXPECT_TRUE(throws_error([&] { curvature_pair(point, products, y, none, products); }, "f32 or bf16"));
}

}  // namespace
}  // namespace minidl
