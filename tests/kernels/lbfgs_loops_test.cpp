#include <minidl/kernels/lbfgs_loops.h>
#include <support/compare.h>
#include <support/device.h>

#include <random>

namespace minidl {
namespace {

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

/// Pairs around the width of a block, in a matrix with room for more or not. What is not of the triangle is NaN.
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

  const int64_t pairs_ = GetParam().first, room_ = GetParam().second;
  Tensor columns_ = random_doubles({room_, room_}, 1);
};

TEST_P(LbfgsLoops, TheFirstSolvesForTheCoefficientsOfY) {
  const Tensor right = random_doubles({pairs_}, 2);
  Tensor a = right.clone();
  ON_DEVICE(lbfgs_first_loop)(columns_, a);
  for (int64_t i = 0; i < pairs_; ++i) {
    double sum = 0.0;
    for (int64_t j = i; j < pairs_; ++j) sum += r(i, j) * a.data<double>()[j];
    EXPECT_NEAR(sum, right.data<double>()[i], 1e-12) << i;
  }
}

TEST_P(LbfgsLoops, TheSecondSolvesForTheCoefficientsOfS) {
  const Tensor a = random_doubles({pairs_}, 3), with_y = random_doubles({pairs_}, 4);
  Tensor b = with_y.clone();
  ON_DEVICE(lbfgs_second_loop)(columns_, a, b);
  for (int64_t j = 0; j < pairs_; ++j) {
    double sum = 0.0;
    for (int64_t i = 0; i <= j; ++i) sum += r(i, j) * b.data<double>()[i];
    EXPECT_NEAR(sum, -r(j, j) * a.data<double>()[j] - with_y.data<double>()[j], 1e-12) << j;
  }
}

TEST_P(LbfgsLoops, BytesAreTheSameOnEveryDevice) {
  Tensor a = random_doubles({pairs_}, 5), b = random_doubles({pairs_}, 6);
  Tensor a_here = a.clone(), b_here = b.clone();
  ON_DEVICE(lbfgs_first_loop)(columns_, a);
  ON_DEVICE(lbfgs_second_loop)(columns_, a, b);
  lbfgs_first_loop(columns_, a_here);
  lbfgs_second_loop(columns_, a_here, b_here);
  EXPECT_TRUE(same_bytes(a, a_here));
  EXPECT_TRUE(same_bytes(b, b_here));
}

INSTANTIATE_TEST_SUITE_P(Sizes, LbfgsLoops,
                         ::testing::Values(std::pair{1, 1}, std::pair{2, 5}, std::pair{31, 32}, std::pair{129, 130},
                                           std::pair{300, 300}),
                         [](const auto& size) { return "Pairs" + std::to_string(size.param.first); });

TEST(LbfgsLoopsErrors, BadArgumentsAreNamed) {
  const Tensor columns = Tensor::zeros({3, 3}, Dtype::f64), flat = Tensor::zeros({3, 4}, Dtype::f64);
  Tensor a = Tensor::zeros({3}, Dtype::f64), longer = Tensor::zeros({4}, Dtype::f64), floats = Tensor::zeros({3});
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(flat, a); }, "columns are [3,4] of f64, they must be [room,room]"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(columns, longer); }, "a is [4] of f64"));
  EXPECT_TRUE(throws_error([&] { lbfgs_first_loop(columns, floats); }, "a is [3] of f32"));
  Tensor shorter = Tensor::zeros({2}, Dtype::f64);
  EXPECT_TRUE(throws_error([&] { lbfgs_second_loop(columns, a, shorter); }, "a is [3] and b [2]"));
}

}  // namespace
}  // namespace minidl
