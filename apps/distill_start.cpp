#include <minidl/apps/distill_student.h>
#include <minidl/kernels/cholesky.h>
#include <minidl/kernels/gemm.h>
#include <minidl/kernels/reduce.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace minidl {
namespace {

using layers::LayerDescription;
using Kind = LayerDescription::Kind;

// Of the mean variance, so that channels which never vary alone do not matter.
constexpr double kRidge = 1e-5;

/// Moments of two feature maps at the same positions, teacher's t [.., rows] and student's f [.., columns].
class Moments {
 public:
  Moments(int64_t rows, int64_t columns)
      : products_(Tensor::zeros({rows, columns})), sums_t_(Tensor::zeros({rows})), sums_f_(Tensor::zeros({columns})) {}

  void add(const Tensor& t, const Tensor& f) {
    const int64_t rows = products_.shape()[0], columns = products_.shape()[1], positions = t.count() / rows;
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

/// The teacher's filters of the chosen channels on what `input` says about their inputs.
void prune_filters(const Tensor& teacher_weight, const Tensor& teacher_bias, const std::vector<size_t>& chosen,
                   const Prediction& input, Tensor& weight, Tensor& bias) {
  const auto taps = static_cast<size_t>(weight.shape()[1] * weight.shape()[2]);
  const auto in_c = static_cast<size_t>(weight.shape()[3]), teacher_in_c = input.offset.size();
  for (size_t o = 0; o < chosen.size(); ++o) {
    const float* source = teacher_weight.data<float>() + chosen[o] * taps * teacher_in_c;
    double constant = teacher_bias.data<float>()[chosen[o]];
    for (size_t tap = 0; tap < taps; ++tap) {
      std::vector<double> sums(in_c, 0.0);
      for (size_t i = 0; i < teacher_in_c; ++i) {
        const double value = source[tap * teacher_in_c + i];
        constant += value * input.offset[i];
        for (size_t j = 0; j < in_c; ++j) sums[j] += value * input.factors[i * in_c + j];
      }
      std::transform(sums.begin(), sums.end(), weight.data<float>() + (o * taps + tap) * in_c,
                     [](double sum) { return static_cast<float>(sum); });
    }
    bias.data<float>()[o] = static_cast<float>(constant);
  }
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

/// Whether the student's convolutions are the first of the teacher's, each followed by a ReLU of the same name and none
/// wider.
bool is_thinner(const layers::NetworkDescription& student, const layers::NetworkDescription& teacher) {
  if (student.layers.size() > teacher.layers.size()) return false;
  return std::equal(student.layers.begin(), student.layers.end(), teacher.layers.begin(),
                    [](const LayerDescription& own, const LayerDescription& other) {
                      return own.name == other.name && own.kind == other.kind && own.k_h == other.k_h &&
                             own.k_w == other.k_w && own.out_c <= other.out_c;
                    });
}

Variable parameter_of(const layers::Vgg& network, const std::string& name) {
  for (const auto& [known, parameter] : network.named_parameters()) {
    if (known == name) return parameter;
  }
  fail("[distill] the network has no parameter '{}'", name);
}

}  // namespace

bool DistillStudent::start_from(layers::Vgg& teacher, const std::vector<Tensor>& pictures) {
  const std::vector<LayerDescription>& layers = chain_.description().layers;
  if (!is_thinner(chain_.description(), teacher.description())) return false;
  Prediction input{std::vector<double>(9, 0.0), std::vector<double>(3, 0.0)};  // of the teacher's picture
  for (size_t i = 0; i < 3; ++i) input.factors[i * 3 + i] = kInputUnit;
  for (size_t l = 0; l + 1 < layers.size(); ++l) {
    if (layers[l].kind != Kind::conv) continue;
    const std::vector<std::string> tap{layers[l + 1].name};
    const int64_t teacher_c = teacher.description().layers[l].out_c, own_c = layers[l].out_c;
    Tensor weight = parameter_of(chain_, layers[l].name + ".weight").mutable_value();
    Tensor bias = parameter_of(chain_, layers[l].name + ".bias").mutable_value();
    std::vector<Tensor> teachers;
    Moments of_teacher(teacher_c, teacher_c);
    for (const Tensor& picture : pictures) {
      teachers.push_back(teacher(Variable(picture), tap).at(tap[0]).value());
      of_teacher.add(teachers.back(), teachers.back());
    }
    const auto chosen =
        choose_channels(of_teacher.mean_products(true), static_cast<size_t>(teacher_c), static_cast<size_t>(own_c));
    prune_filters(parameter_of(teacher, layers[l].name + ".weight").value(),
                  parameter_of(teacher, layers[l].name + ".bias").value(), chosen, input, weight, bias);

    const auto own_values = [&](const Tensor& picture) {
      return chain_(Variable(chain_input(picture)), tap).at(tap[0]).value();
    };
    Moments before(own_c, own_c), own(own_c, own_c), cross(teacher_c, own_c);
    for (const Tensor& picture : pictures) {
      const Tensor values = own_values(picture);
      before.add(values, values);
    }
    normalise_filters(before, weight, bias);
    for (size_t i = 0; i < pictures.size(); ++i) {
      const Tensor values = own_values(pictures[i]);
      own.add(values, values);
      cross.add(teachers[i], values);
    }
    input = predict(cross, own, teacher_c, own_c, true);
    const auto q = q_.find(tap[0]);
    if (q == q_.end()) continue;
    const std::vector<double> factors = predict(cross, own, teacher_c, own_c, false).factors;
    const double unit = units_.at(tap[0]);
    std::transform(factors.begin(), factors.end(), q->second.mutable_value().data<float>(),
                   [&](double factor) { return static_cast<float>(factor / unit); });
  }
  return true;
}

}  // namespace minidl
