#pragma once
#include <cstdint>
#include <span>

namespace minidl {

/// Cholesky factor of a symmetric positive matrix [n, n] (its upper triangle is read): afterwards the upper triangle is
/// R with RᵀR = matrix. Where a pivot is not positive its row becomes zero. In f64, on the calling thread.
void cholesky(std::span<double> matrix, int64_t n);
/// x = matrix^-1 x for each of the `rows` rows of x [rows, n], R as cholesky() leaves it. Components whose pivot is
/// zero become zero.
void cholesky_solve(std::span<const double> r, int64_t n, std::span<double> x, int64_t rows);

}  // namespace minidl
