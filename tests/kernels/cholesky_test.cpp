// Cholesky factors and solutions: of whole numbers exactly, of random matrices by their residual, and without pivots.
#include <minidl/kernels/cholesky.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/test_data.h>

namespace minidl {
namespace {

/// BᵀB for a random B with more rows than columns.
std::vector<double> positive_matrix(int64_t n, uint64_t seed) {
  const int64_t rows = 2 * n + 1;
  const Tensor b = test::random_uniform({rows, n}, seed);
  std::vector<double> matrix(static_cast<size_t>(n * n), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j)
        matrix[static_cast<size_t>(i * n + j)] +=
            static_cast<double>(b.data<float>()[r * n + i]) * b.data<float>()[r * n + j];
    }
  }
  return matrix;
}

TEST(Cholesky, ExactOfWholeNumbers) {
  // R = [2 1 3; 0 3 -1; 0 0 1].
  std::vector<double> matrix{4, 2, 6, 2, 10, 0, 6, 0, 11};
  cholesky(matrix, 3);
  const std::vector<double> expected{2, 1, 3, 3, -1, 1};
  const std::vector<double> upper{matrix[0], matrix[1], matrix[2], matrix[4], matrix[5], matrix[8]};
  EXPECT_EQ(upper, expected);
  std::vector<double> x{4 - 2 + 12, 2 - 10, 6 + 22};  // the matrix times (1, -1, 2)
  cholesky_solve(matrix, 3, x, 1);
  EXPECT_EQ(x, (std::vector<double>{1, -1, 2}));
}

TEST(Cholesky, SolvesForEveryRow) {
  for (const int64_t n : {1, 2, 7, 33}) {
    const std::vector<double> matrix = positive_matrix(n, static_cast<uint64_t>(n));
    std::vector<double> factor = matrix;
    cholesky(factor, n);
    constexpr int64_t kRows = 3;
    const Tensor rhs = test::random_uniform({kRows, n}, 9);
    std::vector<double> x(rhs.span<float>().begin(), rhs.span<float>().end());
    cholesky_solve(factor, n, x, kRows);
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t i = 0; i < n; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < n; ++j)
          sum += matrix[static_cast<size_t>(i * n + j)] * x[static_cast<size_t>(row * n + j)];
        EXPECT_NEAR(sum, rhs.data<float>()[row * n + i], 1e-10);
      }
    }
  }
}

// A variable that is another one, or nothing at all, gets no share.
TEST(Cholesky, SkipsWhatHasNoPivot) {
  std::vector<double> matrix{4, 4, 0, 4, 4, 0, 0, 0, 0};
  cholesky(matrix, 3);
  std::vector<double> x{8, 8, 5};
  cholesky_solve(matrix, 3, x, 1);
  EXPECT_EQ(x, (std::vector<double>{2, 0, 0}));
}

TEST(Cholesky, RefusesOtherSizes) {
  std::vector<double> matrix(5), x(4);
  EXPECT_TRUE(test::throws_error([&] { cholesky(matrix, 2); }, "a matrix of 5 values, it must have 4"));
  matrix.resize(4);
  EXPECT_TRUE(test::throws_error([&] { cholesky_solve(matrix, 2, x, 3); }, "they must have 4 and 6"));
}

}  // namespace
}  // namespace minidl
