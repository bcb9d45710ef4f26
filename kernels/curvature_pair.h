#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// A point of a line search and its beginning, f32 of one shape on one device.
struct SearchPoint {
  const Tensor &position, &start;
  const Tensor &gradient, &gradient_at_start;
  const Tensor& direction;
};

/// The curvature pair of L-BFGS (Nocedal & Wright 2006, equation 6.5) and its products with itself and with the line,
/// in one pass over the point:
///   s = position - start, y = gradient - gradient_at_start, rounded to their type, f32 or bf16
///   products = { gradient'direction, gradient'gradient, s'y, s's, y'y }, f64 [5], of the rounded s and y
/// s and y have the point's shape and one type; y_values is y as f32, and undefined where y is f32 itself. Throws Error
/// for other types and shapes.
inline constexpr int64_t kPairProducts = 5;
void curvature_pair(const SearchPoint& point, Tensor& s, Tensor& y, Tensor& y_values, Tensor& products);

}  // namespace minidl
