#include <minidl/core/parallel.h>
#include <minidl/kernels/cpu/conv2d_engines.h>

#include <algorithm>
#include <vector>

namespace minidl::cpu {
namespace {

// The definition: loops n h w k r s c in this order or a part of it, sums in f64, no blocking. Everything faster
// answers to it.

const char* decline(const Conv2dProblem&, Precision precision) {
  return serves(precision) ? nullptr : kFp32Only;
}

int64_t workspace_bytes(const Conv2dProblem& problem) {
  const Conv2dDesc& d = problem.desc;
  const int64_t row = std::max({d.out_c, d.in_w * d.in_c, d.k_h * d.k_w * d.in_c});
  return row * static_cast<int64_t>(sizeof(double)) * num_threads();
}

/// Input row or column that tap r of window position h reads; -1 in zero padding.
int64_t row_read(const Conv2dDesc& d, int64_t h, int64_t r) {
  return padded_index(h * d.window.stride_h + r - d.window.padding.top, d.in_h, d.window.padding.mode);
}
int64_t column_read(const Conv2dDesc& d, int64_t w, int64_t s) {
  return padded_index(w * d.window.stride_w + s - d.window.padding.left, d.in_w, d.window.padding.mode);
}

double dot(const float* x, const float* y, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

void add_scaled(double scale, const float* x, int64_t count, double* sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] += scale * static_cast<double>(x[i]);
}

void forward(const Conv2dDesc& d, const Conv2dForwardArgs& args) {
  const int64_t out_h = d.out_h(), out_w = d.out_w();
  parallel_for(0, d.n * out_h, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / out_h, h = row % out_h;
      for (int64_t w = 0; w < out_w; ++w) {
        for (int64_t k = 0; k < d.out_c; ++k) {
          double sum = args.bias ? static_cast<double>(args.bias[k]) : 0.0;
          for (int64_t r = 0; r < d.k_h; ++r) {
            for (int64_t s = 0; s < d.k_w; ++s) {
              const int64_t i = row_read(d, h, r), j = column_read(d, w, s);
              if (i < 0 || j < 0) continue;
              sum += dot(args.input + ((n * d.in_h + i) * d.in_w + j) * d.in_c,
                         args.weight.data<float>() + ((k * d.k_h + r) * d.k_w + s) * d.in_c, d.in_c);
            }
          }
          if (args.activation == Activation::relu && sum < 0.0) sum = 0.0;
          args.output[(row * out_w + w) * d.out_c + k] = static_cast<float>(sum);
        }
      }
    }
  });
}

/// Adds to sum [in_w, in_c] what one row of grad_output [out_w, out_c] sends there through tap row r.
void backward_row(const Conv2dDesc& d, const float* weight, const float* grad_output, int64_t r, double* sum) {
  for (int64_t w = 0; w < d.out_w(); ++w) {
    for (int64_t s = 0; s < d.k_w; ++s) {
      const int64_t j = column_read(d, w, s);
      if (j < 0) continue;
      for (int64_t k = 0; k < d.out_c; ++k) {
        add_scaled(static_cast<double>(grad_output[w * d.out_c + k]), weight + ((k * d.k_h + r) * d.k_w + s) * d.in_c,
                   d.in_c, sum + j * d.in_c);
      }
    }
  }
}

void backward_data(const Conv2dDesc& d, const Conv2dBackwardDataArgs& args) {
  const int64_t out_h = d.out_h(), length = d.in_w * d.in_c;
  parallel_for(0, d.n * d.in_h, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(length));
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / d.in_h, i = row % d.in_h;
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t h = 0; h < out_h; ++h) {
        for (int64_t r = 0; r < d.k_h; ++r) {
          if (row_read(d, h, r) == i)
            backward_row(d, args.weight.data<float>(), args.grad_output + (n * out_h + h) * d.out_w() * d.out_c, r,
                         sum.data());
        }
      }
      for (int64_t e = 0; e < length; ++e) {
        float& target = args.grad_input[row * length + e];
        const bool open = !args.relu_mask || args.relu_mask[row * length + e];
        const double contribution = open ? sum[static_cast<size_t>(e)] : 0.0;
        target = static_cast<float>(args.beta != 0.0f
                                        ? static_cast<double>(args.beta) * static_cast<double>(target) + contribution
                                        : contribution);
      }
    }
  });
}

void backward_weight(const Conv2dDesc& d, const Conv2dBackwardWeightArgs& args) {
  const int64_t out_h = d.out_h(), out_w = d.out_w(), length = d.k_h * d.k_w * d.in_c;
  parallel_for(0, d.out_c, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(length));
    for (int64_t k = begin; k < end; ++k) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t row = 0; row < d.n * out_h; ++row) {
        for (int64_t w = 0; w < out_w; ++w) {
          const auto grad = static_cast<double>(args.grad_output[(row * out_w + w) * d.out_c + k]);
          for (int64_t r = 0; r < d.k_h; ++r) {
            for (int64_t s = 0; s < d.k_w; ++s) {
              const int64_t i = row_read(d, row % out_h, r), j = column_read(d, w, s);
              if (i < 0 || j < 0) continue;
              add_scaled(grad, args.input + ((row / out_h * d.in_h + i) * d.in_w + j) * d.in_c, d.in_c,
                         sum.data() + (r * d.k_w + s) * d.in_c);
            }
          }
        }
      }
      for (int64_t e = 0; e < length; ++e) {
        float& target = args.grad_weight[k * length + e];
        const double kept = args.beta != 0.0f ? static_cast<double>(args.beta) * static_cast<double>(target) : 0.0;
        target = static_cast<float>(kept + sum[static_cast<size_t>(e)]);
      }
    }
  });
}

}  // namespace

const Conv2dEngine conv2d_reference{.name = "reference",
                                    .device = Device::Kind::cpu,
                                    .error = 1e-6,
                                    .exact_integers = true,
                                    .decline = decline,
                                    .workspace_bytes = workspace_bytes,
                                    .kept_bytes = nullptr,
                                    .spared_bytes = nullptr,
                                    .writes_relu_mask = nullptr,
                                    .pools = nullptr,
                                    .forward = forward,
                                    .backward_data = backward_data,
                                    .backward_weight = backward_weight};

}  // namespace minidl::cpu
