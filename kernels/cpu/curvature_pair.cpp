#include <minidl/kernels/cpu/kernels.h>

namespace minidl::cpu {
namespace {

void difference(int64_t count, const float* x, const float* y, float* output) {
  add_scaled(count, 1.0f, x, -1.0f, y, output);
}

void pair_products(int64_t count, const SearchArrays& point, const float* s, const float* y, double* products) {
  const float* const along[] = {point.direction, point.gradient};
  const float* const gradient[] = {point.gradient};
  dots(count, along, gradient, products);
  const float* const pair[] = {y, s};
  const float *const of_s[] = {s}, *const of_y[] = {y};
  dots(count, pair, of_s, products + 2);
  dots(count, of_y, of_y, products + 4);
}

}  // namespace

void curvature_pair(int64_t count, const SearchArrays& point, float* s, float* y, double* products) {
  difference(count, point.position, point.start, s);
  difference(count, point.gradient, point.gradient_at_start, y);
  pair_products(count, point, s, y, products);
}

void curvature_pair_bf16(int64_t count, const SearchArrays& point, uint16_t* s, uint16_t* y, float* y_values,
                         double* products) {
  Tensor rounded = Tensor::empty({count});
  float* const s_values = rounded.data<float>();
  difference(count, point.position, point.start, s_values);
  to_bf16(count, s_values, s);
  from_bf16(count, s, s_values);
  difference(count, point.gradient, point.gradient_at_start, y_values);
  to_bf16(count, y_values, y);
  from_bf16(count, y, y_values);
  pair_products(count, point, s_values, y_values, products);
}

}  // namespace minidl::cpu
