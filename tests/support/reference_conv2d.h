#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/conv2d.h>
#include <support/random_tensors.h>

#include <vector>

namespace minidl::test {

/// Visits every product of a convolution: visit(input pixel element, weight element, output element), indices into the
/// flat tensors. Terms that read zero padding are left out. All three directions in f64 are one line on it.
template <typename Visit>
void for_each_product(const Conv2dDesc& d, const Visit& visit) {
  const Padding& padding = d.window.padding;
  for (int64_t n = 0; n < d.n; ++n) {
    for (int64_t h = 0; h < d.out_h(); ++h) {
      for (int64_t w = 0; w < d.out_w(); ++w) {
        for (int64_t r = 0; r < d.k_h; ++r) {
          for (int64_t s = 0; s < d.k_w; ++s) {
            const int64_t i = padded_index(h * d.window.stride_h + r - padding.top, d.in_h, padding.mode);
            const int64_t j = padded_index(w * d.window.stride_w + s - padding.left, d.in_w, padding.mode);
            if (i < 0 || j < 0) continue;
            for (int64_t k = 0; k < d.out_c; ++k) {
              for (int64_t c = 0; c < d.in_c; ++c) {
                visit(((n * d.in_h + i) * d.in_w + j) * d.in_c + c, ((k * d.k_h + r) * d.k_w + s) * d.in_c + c,
                      ((n * d.out_h() + h) * d.out_w() + w) * d.out_c + k);
              }
            }
          }
        }
      }
    }
  }
}

/// act(bias + convolution); `bias` may be undefined.
inline std::vector<double> reference_conv2d(const Conv2dDesc& desc, const Tensor& input, const Tensor& weight,
                                            const Tensor& bias = {}, Activation activation = Activation::none) {
  std::vector<double> output(static_cast<size_t>(desc.output_shape().count()));
  for (size_t i = 0; i < output.size(); ++i)
    output[i] = bias ? static_cast<double>(bias.data<float>()[i % static_cast<size_t>(desc.out_c)]) : 0.0;
  const float *x = input.data<float>(), *w = weight.data<float>();
  for_each_product(desc, [&](int64_t i, int64_t k, int64_t o) {
    output[static_cast<size_t>(o)] += static_cast<double>(x[i]) * static_cast<double>(w[k]);
  });
  if (activation == Activation::relu) {
    for (double& value : output) value = value < 0.0 ? 0.0 : value;
  }
  return output;
}

inline std::vector<double> reference_conv2d_backward_data(const Conv2dDesc& desc, const Tensor& weight,
                                                          const Tensor& grad_output) {
  std::vector<double> grad_input(static_cast<size_t>(desc.input_shape().count()));
  const float *w = weight.data<float>(), *g = grad_output.data<float>();
  for_each_product(desc, [&](int64_t i, int64_t k, int64_t o) {
    grad_input[static_cast<size_t>(i)] += static_cast<double>(w[k]) * static_cast<double>(g[o]);
  });
  return grad_input;
}

inline std::vector<double> reference_conv2d_backward_weight(const Conv2dDesc& desc, const Tensor& input,
                                                            const Tensor& grad_output) {
  std::vector<double> grad_weight(static_cast<size_t>(desc.weight_shape().count()));
  const float *x = input.data<float>(), *g = grad_output.data<float>();
  for_each_product(desc, [&](int64_t i, int64_t k, int64_t o) {
    grad_weight[static_cast<size_t>(k)] += static_cast<double>(x[i]) * static_cast<double>(g[o]);
  });
  return grad_weight;
}

/// A convolution of noise and what it gives in double precision. Its plain loops take longer than all engines: to be
/// kept where these are compared.
struct Conv2dOnNoise {
  Conv2dDesc desc;
  Tensor input, weight, grad_output;
  std::vector<double> output, grad_input, grad_weight;

  explicit Conv2dOnNoise(const Conv2dDesc& problem)
      : desc(problem),
        input(random_uniform(desc.input_shape(), 1)),
        weight(random_uniform(desc.weight_shape(), 2)),
        grad_output(random_uniform(desc.output_shape(), 3)),
        output(reference_conv2d(desc, input, weight)),
        grad_input(reference_conv2d_backward_data(desc, weight, grad_output)),
        grad_weight(reference_conv2d_backward_weight(desc, input, grad_output)) {}
};

}  // namespace minidl::test
