#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/lbfgs_loops.h>
#include <minidl/kernels/reduce.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/halves.h>
#include <support/random_tensors.h>

#include <bit>
#include <random>

namespace minidl {
namespace {

using test::random_integers;
using test::random_uniform;
using test::same_bytes;
using test::throws_error;

/// f64, in [-1, 1); the diagonal of a matrix in [1, 2).
Tensor random_doubles(const Shape& shape, uint64_t seed) {
  std::mt19937_64 bits(seed);
  Tensor x = Tensor::empty(shape, Dtype::f64);
  for (int64_t i = 0; i < x.count(); ++i) x.data<double>()[i] = 2.0 * static_cast<double>(bits() >> 11) * 0x1p-53 - 1.0;
  if (shape.rank() < 2) return x;
  for (int64_t i = 0; i < shape[0]; ++i) {
    double& value = x.data<double>()[i * shape[1] + i];
    value = 1.0 + std::abs(value);
  }
  return x;
}

std::vector<Tensor> random_vectors(int64_t count, const Shape& shape, uint64_t seed) {
  std::vector<Tensor> vectors;
  for (int64_t i = 0; i < count; ++i) vectors.push_back(random_uniform(shape, seed + static_cast<uint64_t>(i)));
  return vectors;
}

std::vector<Tensor> rounded(const std::vector<Tensor>& vectors) {
  std::vector<Tensor> halves;
  for (const Tensor& vector : vectors) halves.push_back(test::to_bf16(vector));
  return halves;
}

/// Pairs around the width of a block and the number of products of a launch, in a matrix with room for more or not. What
/// is not of the triangle is NaN.
class LbfgsLoops : public ::testing::TestWithParam<std::pair<int64_t, int64_t>> {
 protected:
  LbfgsLoops() {
    for (int64_t j = 0; j < room_; ++j) {
      for (int64_t i = 0; i < room_; ++i) {
        if (i > j || j >= pairs_) columns_.data<double>()[j * room_ + i] = NAN;
        // Off the diagonal small enough that solutions do not grow with the number of pairs.
        if (i < j) columns_.data<double>()[j * room_ + i] *= 0.125;
      }
    }
  }
  double r(int64_t i, int64_t j) const { return columns_.data<double>()[j * room_ + i]; }
  Tensor coefficients() const {
    Tensor x = Tensor::empty({pairs_}, Dtype::f64);
    std::fill_n(x.data<double>(), pairs_, NAN);
    return x;
  }
  /// x[i]'y.
  std::vector<double> products(const std::vector<Tensor>& x, const Tensor& y) const {
    std::vector<double> all;
    for (const Tensor& of_x : x) all.push_back(dot(of_x, y));
    return all;
  }
  void expect_first(const Tensor& a, const std::vector<double>& right) const {
    for (int64_t i = 0; i < pairs_; ++i) {
      double sum = 0.0;
      for (int64_t j = i; j < pairs_; ++j) sum += r(i, j) * a.data<double>()[j];
      EXPECT_NEAR(sum, right[static_cast<size_t>(i)], 1e-12) << i;
    }
  }

  const int64_t pairs_ = GetParam().first, room_ = GetParam().second;
  const Shape shape_{7, 3};
  Tensor columns_ = random_doubles({room_, room_}, 1);
};

TEST_P(LbfgsLoops, TheFirstSolvesForTheCoefficientsOfY) {
  const std::vector<Tensor> s = random_vectors(pairs_, shape_, 10);
  const Tensor gradient = random_uniform(shape_, 2), none;
  Tensor a = coefficients();
  ON_DEVICE(lbfgs_first_loop)(s, gradient, none, columns_, a);
  expect_first(a, products(s, gradient));
}

TEST_P(LbfgsLoops, TheFirstWritesTheColumnOfTheNewestPair) {
  std::vector<Tensor> s = random_vectors(pairs_, shape_, 10);
  const Tensor gradient = random_uniform(shape_, 2), y = random_uniform(shape_, 3);
  // Its diagonal is y'y, not nearly zero.
  s.back() = y.clone();
  const Tensor before = columns_.clone();
  Tensor a = coefficients();
  ON_DEVICE(lbfgs_first_loop)(s, gradient, y, columns_, a);
  const std::vector<double> column = products(s, y);
  for (int64_t j = 0; j < room_; ++j) {
    for (int64_t i = 0; i < room_; ++i) {
      if (j == pairs_ - 1 && i < pairs_) {
        EXPECT_NEAR(r(i, j), column[static_cast<size_t>(i)], 1e-13) << i;
      } else {
        EXPECT_EQ(std::bit_cast<uint64_t>(r(i, j)), std::bit_cast<uint64_t>(before.data<double>()[j * room_ + i]));
      }
    }
  }
  expect_first(a, products(s, gradient));
}

TEST_P(LbfgsLoops, TheSecondSolvesForTheCoefficientsOfS) {
  const std::vector<Tensor> y = random_vectors(pairs_, shape_, 10);
  const Tensor a = random_doubles({pairs_}, 3), direction = random_uniform(shape_, 4);
  Tensor b = coefficients();
  ON_DEVICE(lbfgs_second_loop)(y, direction, columns_, a, b);
  const std::vector<double> with_y = products(y, direction);
  for (int64_t j = 0; j < pairs_; ++j) {
    double sum = 0.0;
    for (int64_t i = 0; i <= j; ++i) sum += r(i, j) * b.data<double>()[i];
    EXPECT_NEAR(sum, -r(j, j) * a.data<double>()[j] - with_y[static_cast<size_t>(j)], 1e-12) << j;
  }
}

TEST_P(LbfgsLoops, OfBf16TheyAreThoseOfTheValues) {
  const std::vector<Tensor> vectors = rounded(random_vectors(pairs_, shape_, 10));
  std::vector<Tensor> values;
  for (const Tensor& vector : vectors) values.push_back(test::from_bf16(vector));
  const Tensor x = random_uniform(shape_, 2), none;
  Tensor a = coefficients(), of_values = coefficients(), b = coefficients(), b_of_values = coefficients();
  ON_DEVICE(lbfgs_first_loop)(vectors, x, none, columns_, a);
  ON_DEVICE(lbfgs_first_loop)(values, x, none, columns_, of_values);
  ON_DEVICE(lbfgs_second_loop)(vectors, x, columns_, a, b);
  ON_DEVICE(lbfgs_second_loop)(values, x, columns_, a, b_of_values);
  EXPECT_TRUE(same_bytes(a, of_values));
  EXPECT_TRUE(same_bytes(b, b_of_values));
}

/// Products of integers are exact in every order.
TEST_P(LbfgsLoops, BytesAreTheSameOnEveryDevice) {
  std::vector<Tensor> vectors;
  for (int64_t i = 0; i < pairs_; ++i) vectors.push_back(random_integers(shape_, 20 + static_cast<uint64_t>(i)));
  const Tensor x = random_integers(shape_, 5), none;
  Tensor a = coefficients(), b = coefficients(), a_here = coefficients(), b_here = coefficients();
  ON_DEVICE(lbfgs_first_loop)(vectors, x, none, columns_, a);
  ON_DEVICE(lbfgs_second_loop)(vectors, x, columns_, a, b);
  lbfgs_first_loop(vectors, x, none, columns_, a_here);
  lbfgs_second_loop(vectors, x, columns_, a_here, b_here);
  EXPECT_TRUE(same_bytes(a, a_here));
  EXPECT_TRUE(same_bytes(b, b_here));
}

INSTANTIATE_TEST_SUITE_P(Sizes, LbfgsLoops,
                         ::testing::Values(std::pair{1, 1}, std::pair{2, 5}, std::pair{31, 32}, std::pair{65, 66},
                                           std::pair{129, 130}, std::pair{300, 300}),
                         [](const auto& size) { return "Pairs" + std::to_string(size.param.first); });

/// Vectors of several blocks: the systems are solved when all of them are done. Products of integers are exact.
TEST(LbfgsLoopsOfLongVectors, WaitForAllBlocks) {
  const Shape shape{9001};
  std::vector<Tensor> vectors;
  for (uint64_t i = 0; i < 3; ++i) vectors.push_back(random_integers(shape, 60 + i));
  const Tensor x = random_integers(shape, 5), y = vectors.back();
  Tensor columns = random_doubles({3, 3}, 1), columns_here = columns.clone();
  Tensor a = Tensor::empty({3}, Dtype::f64), b = a.clone(), a_here = a.clone(), b_here = a.clone();
  ON_DEVICE(lbfgs_first_loop)(vectors, x, y, columns, a);
  ON_DEVICE(lbfgs_second_loop)(vectors, x, columns, a, b);
  lbfgs_first_loop(vectors, x, y, columns_here, a_here);
  lbfgs_second_loop(vectors, x, columns_here, a_here, b_here);
  EXPECT_TRUE(same_bytes(columns, columns_here));
  EXPECT_TRUE(same_bytes(a, a_here));
  EXPECT_TRUE(same_bytes(b, b_here));
}

void start_search(const Tensor& x, const Tensor& b, const std::vector<Tensor>& s, const Tensor& gradient,
                  const Tensor& start, Tensor& direction, Tensor& position, Tensor& products) {
  lbfgs_direction(x, b, s, {gradient, start, direction, position, products});
}

TEST(LbfgsDirection, IsTheCombinationWithItsFirstPointAndProducts) {
  for (const Shape& shape : {Shape{1}, Shape{1025}, Shape{0}}) {
    for (const int64_t pairs : {0, 1, 10, 260}) {
      for (const bool halves : {false, true}) {
        std::vector<Tensor> s = random_vectors(pairs, shape, 40);
        if (halves) s = rounded(s);
        const Tensor x = random_uniform(shape, 1), b = random_doubles({pairs}, 2), gradient = random_uniform(shape, 3),
                     start = random_uniform(shape, 4);
        Tensor direction = Tensor::full(shape, NAN), position = Tensor::full(shape, NAN), expected = direction.clone();
        Tensor products = Tensor::empty({2}, Dtype::f64);
        std::fill_n(products.data<double>(), 2, NAN);
        ON_DEVICE(start_search)(x, b, s, gradient, start, direction, position, products);
        combination(1.0f, x, b, s, expected);
        EXPECT_TRUE(same_bytes(direction, expected)) << shape.str() << " " << pairs;
        add_scaled(1.0f, start, 1.0f, direction, expected);
        EXPECT_TRUE(same_bytes(position, expected)) << shape.str() << " " << pairs;
        const double square = dot(direction, direction), slope = dot(gradient, direction);
        EXPECT_NEAR(products.data<double>()[1], square, 1e-12 * square) << shape.str() << " " << pairs;
        EXPECT_NEAR(products.data<double>()[0], slope, 1e-12 * std::sqrt(square * dot(gradient, gradient)));
      }
    }
  }
}

/// More of them than the last one has threads.
TEST(LbfgsDirection, ProductsAreThoseOfManyBlocks) {
  const Shape shape{266000};
  const Tensor x = random_integers(shape, 1), gradient = random_integers(shape, 2), b = Tensor::empty({0}, Dtype::f64);
  double slope = 0.0, square = 0.0;
  for (int64_t i = 0; i < x.count(); ++i) {
    slope += static_cast<double>(gradient.span<float>()[i]) * x.span<float>()[i];
    square += static_cast<double>(x.span<float>()[i]) * x.span<float>()[i];
  }
  Tensor direction = Tensor::empty(shape), position = Tensor::empty(shape), products = Tensor::empty({2}, Dtype::f64);
  ON_DEVICE(start_search)(x, b, std::vector<Tensor>(), gradient, x, direction, position, products);
  EXPECT_EQ(products.data<double>()[0], slope);
  EXPECT_EQ(products.data<double>()[1], square);
}

TEST(LbfgsDirection, MayBeWrittenOverItsFirstTerm) {
  const std::vector<Tensor> s = random_vectors(3, {50}, 40);
  const Tensor x = random_uniform({50}, 1), b = random_doubles({3}, 2), start = random_uniform({50}, 4);
  Tensor over = x.clone(), apart = Tensor::empty({50}), position = Tensor::empty({50});
  Tensor products = Tensor::empty({2}, Dtype::f64);
  ON_DEVICE(start_search)(x, b, s, start, start, apart, position, products);
  ON_DEVICE(start_search)(over, b, s, start, start, over, position, products);
  EXPECT_TRUE(same_bytes(over, apart));
}

TEST(LbfgsLoopsErrors, BadArgumentsAreNamed) {
  Tensor columns = Tensor::zeros({3, 3}, Dtype::f64), flat = Tensor::zeros({3, 4}, Dtype::f64);
  Tensor a = Tensor::zeros({3}, Dtype::f64), longer = Tensor::zeros({4}, Dtype::f64), floats = Tensor::zeros({3});
  const Tensor x = Tensor::zeros({5}), other = Tensor::zeros({6}), none;
  const std::vector<Tensor> s(3, x), four(4, x), mixed{x, other, x}, empty;
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(s, x, none, flat, a); }, "columns are [3,4] of f64"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(s, x, none, columns, longer); }, "a is [4] of f64, it must be [3]"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(s, x, none, columns, floats); }, "a is [3] of f32"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(four, x, none, columns, longer); }, "there are 4 pairs"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(empty, x, none, columns, a); }, "there are 0 pairs"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(mixed, x, none, columns, a); }, "s has shape [6]"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(s, x, other, columns, a); }, "newest_y"));
  Tensor shorter = Tensor::zeros({2}, Dtype::f64);
  EXPECT_TRUE(throws_error([&] { lbfgs_second_loop(s, x, columns, a, shorter); }, "b is [2] of f64, it must be [3]"));
  EXPECT_TRUE(throws_error([&] { lbfgs_second_loop(s, other, columns, a, a); }, "y has shape [5]"));
  Tensor position = Tensor::zeros({5}), direction = Tensor::zeros({5});
  EXPECT_TRUE(
      throws_error([&] { lbfgs_direction(x, a, s, {x, x, direction, position, a}); }, "products is [3] of f64"));
  EXPECT_TRUE(throws_error([&] { lbfgs_direction(x, a, s, {x, other, direction, position, shorter}); }, "start"));
}

}  // namespace
}  // namespace minidl
