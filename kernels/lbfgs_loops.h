#pragma once
#include <minidl/core/tensor.h>

#include <span>

namespace minidl {

/// The two loops of L-BFGS over its pairs (Nocedal & Wright 2006, algorithm 7.4) with their products of vectors taken
/// together: what is left are two triangular systems of the size of the history, solved where the vectors are, so that
/// no number of them has to come to the host. Of n pairs (s_i, y_i), oldest first, `columns` is f64 [room, room], room
/// >= n: columns[j, i] = s_i'y_j for i <= j < n, the columns of an upper triangle R. s and y are f32 or bf16, other
/// vectors f32, coefficients f64 [n], all on one device, which takes one launch for each loop as long as n <= 64 (a launch has 128 products). Throws Error for other
/// types and shapes.

/// a = R^-1 S'g, the last one first. `newest_y`, unless it is undefined, is y of the last pair: the last column of R,
/// S'y, is written first.
void lbfgs_first_loop(std::span<const Tensor> s, const Tensor& gradient, const Tensor& newest_y, Tensor& columns,
                      Tensor& a);
/// Solves R'b = -D a - Y'r, D the diagonal of R, the first one first: then b is what the direction r gets of each s.
void lbfgs_second_loop(std::span<const Tensor> y, const Tensor& r, const Tensor& columns, const Tensor& a, Tensor& b);

/// The direction, the first point of the search along it and its products, in one pass:
///   direction = x + sum of b[k] * s[k], as combination() adds them;  position = start + direction
///   products = {gradient'direction, direction'direction}, f64 [2]
/// `x` may be the direction.
struct SearchStart {
  const Tensor &gradient, &start;
  Tensor &direction, &position, &products;
};
void lbfgs_direction(const Tensor& x, const Tensor& b, std::span<const Tensor> s, const SearchStart& search);

}  // namespace minidl
