#include <minidl/apps/distill_student.h>
#include <minidl/kernels/cholesky.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gemm.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/reduce.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace minidl {
namespace {

using layers::LayerDescription;
using Kind = LayerDescription::Kind;

// Of the mean variance, so that channels which never vary alone do not matter.
constexpr double kRidge = 1e-5;

/// Moments of what is to be predicted, t [.., rows], and of what predicts it, f [.., columns], at the same positions.
class Moments {
 public:
  Moments(int64_t rows, int64_t columns)
      : products_(Tensor::zeros({rows, columns})), sums_t_(Tensor::zeros({rows})), sums_f_(Tensor::zeros({columns})) {}

  void add(const Tensor& t, const Tensor& f) {
    const execution::PrecisionScope precision(Precision::fp32);
    const int64_t rows = products_.shape()[0], columns = products_.shape()[1], positions = t.count() / rows;
    MINIDL_CHECK(f.count() == positions * columns, "[distill] values of shape {} and {} are not at the same positions",
                 t.shape(), f.shape());
    gemm({.m = rows,
          .n = columns,
          .k = positions,
          .transpose_a = true,
          .lda = rows,
          .ldb = columns,
          .ldc = columns,
          .beta = 1.0f},
         t.data<float>(), f.data<float>(), products_.data<float>());
    sum_per_channel(t, 1.0f, sums_t_);
    sum_per_channel(f, 1.0f, sums_f_);
    count_ += static_cast<double>(positions);
  }

  /// Of products; with `centred`, of the deviations from the means. [rows, columns].
  std::vector<double> mean_products(bool centred) const {
    const std::span<const float> products = products_.span<float>(), t = sums_t_.span<float>(),
                                 f = sums_f_.span<float>();
    std::vector<double> result(products.size());
    for (size_t i = 0; i < result.size(); ++i) {
      const double both = static_cast<double>(t[i / f.size()]) * f[i % f.size()] / (count_ * count_);
      result[i] = products[i] / count_ - (centred ? both : 0.0);
    }
    return result;
  }
  double mean_t(size_t i) const { return sums_t_.data<float>()[i] / count_; }
  double mean_f(size_t i) const { return sums_f_.data<float>()[i] / count_; }

 private:
  Tensor products_, sums_t_, sums_f_;
  double count_ = 0;
};

/// t ≈ factors f + offset, in the least-squares sense.
struct Prediction {
  std::vector<double> factors;  // [rows, columns]
  std::vector<double> offset;   // [rows]
};

Prediction predict(const Moments& cross, const Moments& own, int64_t rows, int64_t columns, bool with_offset) {
  std::vector<double> matrix = own.mean_products(with_offset);
  const auto n = static_cast<size_t>(columns);
  double trace = 0;
  for (size_t i = 0; i < n; ++i) trace += matrix[i * n + i];
  for (size_t i = 0; i < n; ++i) matrix[i * n + i] += kRidge * trace / static_cast<double>(n);
  cholesky(matrix, columns);
  Prediction prediction{cross.mean_products(with_offset), std::vector<double>(static_cast<size_t>(rows), 0.0)};
  cholesky_solve(matrix, columns, prediction.factors, rows);
  for (size_t i = 0; with_offset && i < prediction.offset.size(); ++i) {
    prediction.offset[i] = cross.mean_t(i);
    for (size_t j = 0; j < n; ++j) prediction.offset[i] -= prediction.factors[i * n + j] * own.mean_f(j);
  }
  return prediction;
}

/// Greedy subset selection: the channel that explains most of the variance of all, then the one that explains most of
/// what is left. `residual` is the covariance [n, n]. Ascending.
std::vector<size_t> choose_channels(std::vector<double> residual, size_t n, size_t count) {
  std::vector<size_t> chosen;
  std::vector<bool> is_chosen(n, false);
  const double least = 1e-9 * *std::max_element(residual.begin(), residual.end());
  while (chosen.size() < count) {
    size_t best = n;
    double most = -1;
    for (size_t j = 0; j < n; ++j) {
      if (is_chosen[j]) continue;
      double explained = 0;
      const double variance = residual[j * n + j];
      for (size_t i = 0; variance > least && i < n; ++i) explained += residual[j * n + i] * residual[j * n + i];
      if (variance > least) explained /= variance;
      if (explained > most) {
        most = explained;
        best = j;
      }
    }
    is_chosen[best] = true;
    chosen.push_back(best);
    const double variance = residual[best * n + best];
    if (variance <= least) continue;
    const std::vector<double> row(residual.begin() + static_cast<std::ptrdiff_t>(best * n),
                                  residual.begin() + static_cast<std::ptrdiff_t>((best + 1) * n));
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) residual[i * n + j] -= row[i] * row[j] / variance;
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

/// What a 3x3 convolution with zeros around its input [n, h, w, c] reads at each position: [n, h, w, 9 c], in the order
/// of a weight.
Tensor patches_of(const Tensor& input) {
  const int64_t h = input.shape()[1], w = input.shape()[2], c = input.shape()[3];
  Tensor patches = Tensor::zeros({input.shape()[0], h, w, 9 * c});
  float* patch = patches.data<float>();
  for (int64_t position = 0; position < input.count() / c; ++position, patch += 9 * c) {
    const int64_t y = position / w % h, x = position % w;
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t dy = tap / 3 - 1, dx = tap % 3 - 1;
      if (y + dy < 0 || y + dy >= h || x + dx < 0 || x + dx >= w) continue;
      std::copy_n(input.data<float>() + (position + dy * w + dx) * c, c, patch + tap * c);
    }
  }
  return patches;
}

/// Channels of `values` [n, h, w, c] one after the other: [n, h, w, channels.size()].
Tensor channels_of(const Tensor& values, const std::vector<size_t>& channels) {
  const Shape& shape = values.shape();
  Tensor chosen = Tensor::empty({shape[0], shape[1], shape[2], static_cast<int64_t>(channels.size())});
  float* to = chosen.data<float>();
  for (int64_t position = 0; position < values.count() / shape[3]; ++position) {
    const float* from = values.data<float>() + position * shape[3];
    for (const size_t channel : channels) *to++ = from[channel];
  }
  return chosen;
}

void write_floats(const std::vector<double>& values, double factor, Tensor& to) {
  std::transform(values.begin(), values.end(), to.data<float>(),
                 [&](double value) { return static_cast<float>(factor * value); });
}

/// Each filter divided by the root mean square of its channel, which therefore becomes 1.
void normalise_filters(const Moments& own, Tensor& weight, Tensor& bias) {
  const std::vector<double> squares = own.mean_products(false);
  const auto channels = static_cast<size_t>(bias.count());
  const size_t length = static_cast<size_t>(weight.count()) / channels;
  for (size_t o = 0; o < channels; ++o) {
    const double square = squares[o * channels + o];
    const float factor = square > 0 ? static_cast<float>(1.0 / std::sqrt(square)) : 1.0f;
    for (size_t i = 0; i < length; ++i) weight.data<float>()[o * length + i] *= factor;
    bias.data<float>()[o] *= factor;
  }
}

/// Whether the teacher has every convolution of the student, and its ReLU, under the same name and at least as wide.
bool is_thinner(const layers::NetworkDescription& student, const layers::NetworkDescription& teacher) {
  return std::all_of(student.layers.begin(), student.layers.end(), [&](const LayerDescription& own) {
    return own.kind == Kind::pool ||
           std::any_of(teacher.layers.begin(), teacher.layers.end(), [&](const LayerDescription& other) {
             return own.name == other.name && own.kind == other.kind && own.out_c <= other.out_c;
           });
  });
}

Variable parameter_of(const layers::Vgg& network, const std::string& name) {
  for (const auto& [known, parameter] : network.named_parameters()) {
    if (known == name) return parameter;
  }
  fail("[distill] the network has no parameter '{}'", name);
}

}  // namespace

Tensor DistillStudent::centred(const Tensor& pictures) const {
  Tensor negative_mean = Tensor::empty({3}), input = Tensor::empty(pictures.shape());
  const std::array<float, 3>& mean = chain_.description().mean;
  std::transform(mean.begin(), mean.end(), negative_mean.data<float>(), std::negate<>());
  add_per_channel(1.0f, chain_input(pictures), negative_mean, input);
  return input;
}

Tensor DistillStudent::values_at(const std::string& layer, const Tensor& pictures) {
  const execution::PrecisionScope precision(settings_.student_precision);
  return chain_(Variable(chain_input(pictures)), {layer}).at(layer).value();
}

Tensor DistillStudent::teacher_values(layers::Vgg& teacher, const std::string& layer, const Tensor& pictures) const {
  const execution::PrecisionScope precision(settings_.teacher_precision);
  return teacher(Variable(pictures), {layer}).at(layer).value();
}

bool DistillStudent::start_from(layers::Vgg& teacher, const std::vector<Tensor>& pictures) {
  const std::vector<LayerDescription>& layers = chain_.description().layers;
  if (!is_thinner(chain_.description(), teacher.description())) return false;
  for (size_t l = 0; l + 1 < layers.size(); ++l) {
    if (layers[l].kind != Kind::conv) continue;
    fit_convolution(l, teacher, pictures);
    fit_projection(layers[l + 1].name, teacher, pictures);
  }
  return true;
}

void DistillStudent::fit_convolution(size_t l, layers::Vgg& teacher, const std::vector<Tensor>& pictures) {
  const std::vector<LayerDescription>& layers = chain_.description().layers;
  const LayerDescription& layer = layers[l];
  const std::string& relu = layers[l + 1].name;
  const int64_t own_c = layer.out_c, patch_c = 9 * layer.in_c;
  Moments of_teacher(teacher.loss_channels(relu), teacher.loss_channels(relu));
  for (const Tensor& picture : pictures) {
    const Tensor values = teacher_values(teacher, relu, picture);
    of_teacher.add(values, values);
  }
  const auto chosen = choose_channels(of_teacher.mean_products(true), static_cast<size_t>(teacher.loss_channels(relu)),
                                      static_cast<size_t>(own_c));
  Moments cross(own_c, patch_c), patches(patch_c, patch_c);
  for (const Tensor& picture : pictures) {
    const Tensor patch = patches_of(l == 0 ? centred(picture) : values_at(layers[l - 1].name, picture));
    cross.add(channels_of(teacher_values(teacher, layer.name, picture), chosen), patch);
    patches.add(patch, patch);
  }
  const Prediction filters = predict(cross, patches, own_c, patch_c, true);
  Tensor weight = parameter_of(chain_, layer.name + ".weight").mutable_value();
  Tensor bias = parameter_of(chain_, layer.name + ".bias").mutable_value();
  write_floats(filters.factors, 1.0, weight);
  write_floats(filters.offset, 1.0, bias);
  Moments own(own_c, own_c);
  for (const Tensor& picture : pictures) {
    const Tensor values = values_at(relu, picture);
    own.add(values, values);
  }
  normalise_filters(own, weight, bias);
}

void DistillStudent::fit_projection(const std::string& tap, layers::Vgg& teacher, const std::vector<Tensor>& pictures) {
  const auto q = q_.find(tap);
  if (q == q_.end()) return;
  const int64_t rows = teacher.loss_channels(tap), columns = chain_.loss_channels(tap);
  Moments cross(rows, columns), own(columns, columns);
  for (const Tensor& picture : pictures) {
    const Tensor values = values_at(tap, picture);
    own.add(values, values);
    cross.add(teacher_values(teacher, tap, picture), values);
  }
  write_floats(predict(cross, own, rows, columns, false).factors, 1.0 / units_.at(tap), q->second.mutable_value());
}

}  // namespace minidl
