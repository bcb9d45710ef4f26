#include <minidl/core/error.h>
#include <minidl/kernels/cholesky.h>
#include <minidl/kernels/gram.h>
#include <minidl/layers/student.h>

#include <utility>
#include <vector>

namespace minidl::layers {
namespace {

constexpr int64_t kWidest = 1024, kMostConvolutions = 8;
constexpr double kJitter = 1e-6;

/// QᵀQ + jitter, [c, c].
std::vector<double> normal_matrix(const Tensor& q) {
  const int64_t rows = q.shape()[0], c = q.shape()[3];
  Tensor product = Tensor::empty({1, c, c});
  gram_forward(q.reshape({1, rows, 1, c}), 1.0f, product);
  const std::span<const float> values = std::as_const(product).span<float>();
  std::vector<double> m(values.begin(), values.end());
  double trace = 0;
  for (int64_t i = 0; i < c; ++i) trace += m[static_cast<size_t>(i * c + i)];
  for (int64_t i = 0; i < c; ++i) m[static_cast<size_t>(i * c + i)] += kJitter * trace / static_cast<double>(c);
  return m;
}

}  // namespace

NetworkDescription student_description(const StudentOptions& options) {
  NetworkDescription network;
  network.source = "student";
  int64_t in_c = 3;
  for (size_t block = 0; block < StudentOptions::kBlocks; ++block) {
    const int64_t width = options.widths[block], convolutions = options.convolutions[block];
    MINIDL_CHECK(width >= 1 && width <= kWidest, "[student] block {} is {} channels wide; 1 to {} are possible",
                 block + 1, width, kWidest);
    MINIDL_CHECK(convolutions >= 1 && convolutions <= kMostConvolutions,
                 "[student] block {} has {} convolutions; 1 to {} are possible", block + 1, convolutions,
                 kMostConvolutions);
    const std::string number = std::to_string(block + 1);
    for (int64_t i = 1; i <= convolutions; ++i) {
      const std::string suffix = number + "_" + std::to_string(i);
      network.layers.push_back({.kind = LayerDescription::Kind::conv,
                                .name = "conv" + suffix,
                                .window = {1, 1, Padding::zero(1)},
                                .k_h = 3,
                                .k_w = 3,
                                .in_c = in_c,
                                .out_c = width});
      network.layers.push_back({.kind = LayerDescription::Kind::relu, .name = "relu" + suffix});
      in_c = width;
    }
    if (block + 1 == StudentOptions::kBlocks) break;
    network.layers.push_back({.kind = LayerDescription::Kind::pool,
                              .name = "pool" + number,
                              .window = {2, 2, {}},
                              .k_h = 2,
                              .k_w = 2,
                              .pool = options.pooling});
  }
  return network;
}

Tensor projection_of(const Tensor& q, double unit) {
  MINIDL_CHECK(q.shape().rank() == 4 && q.shape()[1] == 1 && q.shape()[2] == 1,
               "[student] Q has shape {}, it must be [teacher's channels, 1, 1, channels]", q.shape());
  const int64_t c = q.shape()[3];
  std::vector<double> m = normal_matrix(q);
  cholesky(m, c);
  Tensor projection = Tensor::zeros({c, 1, 1, c});
  float* value = projection.data<float>();
  for (int64_t i = 0; i < c; ++i) {
    for (int64_t j = i; j < c; ++j) value[i * c + j] = static_cast<float>(unit * m[static_cast<size_t>(i * c + j)]);
  }
  return projection;
}

}  // namespace minidl::layers
