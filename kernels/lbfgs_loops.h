#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// The two loops of L-BFGS over its pairs (Nocedal & Wright 2006, algorithm 7.4), when all products of vectors are
/// known: what is left are two triangular systems of the size of the history, solved where the vectors are, so that no
/// number of them has to come to the host. Of n pairs (s_i, y_i), oldest first, `columns` is f64 [room, room], room >=
/// n: columns[j, i] = s_i'y_j for i <= j < n, the columns of an upper triangle R. All tensors f64 on one device.

/// a = R^-1 a, the last one first; a [n] is S'g before.
void lbfgs_first_loop(const Tensor& columns, Tensor& a);
/// Solves R'b = -D a - w, D the diagonal of R, the first one first; b [n] is w = Y'(-r) before: then b is what the
/// direction -r gets of each s.
void lbfgs_second_loop(const Tensor& columns, const Tensor& a, Tensor& b);

}  // namespace minidl
