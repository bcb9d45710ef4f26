#include <minidl/apps/color_transfer.h>
#include <minidl/core/error.h>
#include <minidl/core/parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

namespace minidl {
namespace {

using Vector3 = std::array<double, 3>;
using Matrix3 = std::array<Vector3, 3>;  // rows

constexpr double kEpsilon = 1.0;  // variance of one level of 0..255
constexpr int kHistogramRounds = 4;
constexpr Matrix3 kRgbAxes{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

/// Orthonormal: lightness, red against green, yellow against blue.
Matrix3 opponent_axes() {
  const double a = 1.0 / std::sqrt(3.0), b = 1.0 / std::sqrt(2.0), c = 1.0 / std::sqrt(6.0);
  return {{{a, a, a}, {b, -b, 0}, {c, c, -2 * c}}};
}

Matrix3 multiply(const Matrix3& a, const Matrix3& b) {
  Matrix3 product{};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) product[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
  }
  return product;
}

Vector3 apply(const Matrix3& a, const Vector3& x) {
  Vector3 product{};
  for (int i = 0; i < 3; ++i) product[i] = a[i][0] * x[0] + a[i][1] * x[1] + a[i][2] * x[2];
  return product;
}

Matrix3 transposed(const Matrix3& a) {
  Matrix3 result{};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) result[i][j] = a[j][i];
  }
  return result;
}

/// a^exponent of a symmetric positive definite matrix, by Jacobi's rotations: R a R^T becomes diagonal.
Matrix3 symmetric_power(Matrix3 a, double exponent) {
  Matrix3 rotation = kRgbAxes;
  for (int sweep = 0; sweep < 12; ++sweep) {  // converges quadratically: six or seven are enough
    for (const auto& [p, q] : {std::pair{0, 1}, {0, 2}, {1, 2}}) {
      if (a[p][q] == 0.0) continue;
      const double angle = 0.5 * std::atan2(2.0 * a[p][q], a[p][p] - a[q][q]);
      Matrix3 step = kRgbAxes;
      step[p][p] = step[q][q] = std::cos(angle);
      step[p][q] = std::sin(angle);
      step[q][p] = -step[p][q];
      a = multiply(multiply(step, a), transposed(step));
      rotation = multiply(step, rotation);
    }
  }
  Matrix3 power{};
  for (int i = 0; i < 3; ++i) power[i][i] = std::pow(a[i][i], exponent);
  return multiply(multiply(transposed(rotation), power), rotation);
}

struct ColorStatistics {
  Vector3 mean{};
  Matrix3 covariance{};  // with kEpsilon on the diagonal
};

ColorStatistics statistics_of(const Tensor& picture) {
  const std::span<const float> values = picture.span<float>();
  const size_t count = values.size() / 3;
  const double pixels = static_cast<double>(count);
  ColorStatistics statistics;
  for (size_t i = 0; i < values.size(); ++i) statistics.mean[i % 3] += values[i] / pixels;
  for (size_t i = 0; i < values.size(); i += 3) {
    Vector3 deviation;
    for (int c = 0; c < 3; ++c) deviation[c] = values[i + c] - statistics.mean[c];
    for (int c = 0; c < 3; ++c) {
      for (int k = 0; k < 3; ++k) statistics.covariance[c][k] += deviation[c] * deviation[k] / pixels;
    }
  }
  for (int c = 0; c < 3; ++c) statistics.covariance[c][c] += kEpsilon;
  return statistics;
}

/// to.mean + a (x - from.mean) of every pixel.
Tensor map_linearly(const Tensor& picture, const ColorStatistics& from, const ColorStatistics& to, const Matrix3& a) {
  Tensor result = Tensor::empty(picture.shape());
  const float* input = picture.data<float>();
  float* output = result.data<float>();
  for (int64_t i = 0; i < picture.count(); i += 3) {
    const Vector3 moved = apply(a, {input[i] - from.mean[0], input[i + 1] - from.mean[1], input[i + 2] - from.mean[2]});
    for (int c = 0; c < 3; ++c) output[i + c] = static_cast<float>(to.mean[c] + moved[c]);
  }
  return result;
}

Tensor match_mean(const Tensor& source, const ColorStatistics& from, const ColorStatistics& to) {
  Matrix3 scale{};
  for (int c = 0; c < 3; ++c) scale[c][c] = std::sqrt(to.covariance[c][c] / from.covariance[c][c]);
  return map_linearly(source, from, to, scale);
}

Tensor match_covariance(const Tensor& source, const ColorStatistics& from, const ColorStatistics& to) {
  const Matrix3 root = symmetric_power(from.covariance, 0.5), inverse_root = symmetric_power(from.covariance, -0.5);
  const Matrix3 middle = symmetric_power(multiply(multiply(root, to.covariance), root), 0.5);
  return map_linearly(source, from, to, multiply(multiply(inverse_root, middle), inverse_root));
}

/// Coordinate of every pixel along an axis.
std::vector<float> project(const Tensor& picture, const Vector3& axis) {
  const float* x = picture.data<float>();
  std::vector<float> coordinates(picture.count() / 3);
  for (size_t i = 0; i < coordinates.size(); ++i) {
    coordinates[i] = static_cast<float>(axis[0] * x[3 * i] + axis[1] * x[3 * i + 1] + axis[2] * x[3 * i + 2]);
  }
  return coordinates;
}

/// Three orthonormal axes and the target's sorted coordinates along them.
struct TargetRanks {
  Matrix3 axes;
  std::array<std::vector<float>, 3> coordinates;

  TargetRanks(const Tensor& target, const Matrix3& along) : axes(along) {
    parallel_for(0, 3, 1, [&](int64_t begin, int64_t end) {
      for (int64_t axis = begin; axis < end; ++axis) {
        coordinates[axis] = project(target, axes[axis]);
        std::sort(coordinates[axis].begin(), coordinates[axis].end());
      }
    });
  }
};

/// Replaces every value by the value of the same rank in `target` (sorted).
void match_ranks(std::vector<float>& values, const std::vector<float>& target) {
  std::vector<std::pair<float, uint32_t>> order(values.size());  // by value, with the place that it came from
  for (size_t i = 0; i < values.size(); ++i) order[i] = {values[i], static_cast<uint32_t>(i)};
  std::sort(order.begin(), order.end());
  const double ranks_per_rank = static_cast<double>(target.size()) / static_cast<double>(values.size());
  const double last = static_cast<double>(target.size() - 1);
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && order[end].first == order[begin].first) ++end;
    const double middle = 0.5 * static_cast<double>(begin + end);  // of the ranks [begin, end) that this value holds
    const double position = std::clamp(middle * ranks_per_rank - 0.5, 0.0, last);
    const size_t below = static_cast<size_t>(position), above = std::min(below + 1, target.size() - 1);
    const double share = position - static_cast<double>(below);
    const float matched = static_cast<float>((1.0 - share) * target[below] + share * target[above]);
    for (size_t i = begin; i < end; ++i) values[order[i].second] = matched;
  }
}

/// Matches the distributions along the target's axes.
void match_along(Tensor& picture, const TargetRanks& target) {
  std::array<std::vector<float>, 3> coordinates;
  parallel_for(0, 3, 1, [&](int64_t begin, int64_t end) {
    for (int64_t axis = begin; axis < end; ++axis) {
      coordinates[axis] = project(picture, target.axes[axis]);
      match_ranks(coordinates[axis], target.coordinates[axis]);
    }
  });
  float* output = picture.data<float>();
  const Matrix3 back = transposed(target.axes);
  for (size_t i = 0; i < coordinates[0].size(); ++i) {
    const Vector3 color = apply(back, {coordinates[0][i], coordinates[1][i], coordinates[2][i]});
    for (int c = 0; c < 3; ++c) output[3 * i + c] = static_cast<float>(color[c]);
  }
}

void match_histogram(Tensor& picture, const Tensor& target) {
  const TargetRanks opponent(target, opponent_axes()), rgb(target, kRgbAxes);
  for (int round = 0; round < kHistogramRounds; ++round) {
    match_along(picture, opponent);
    match_along(picture, rgb);
  }
}

void check_picture(const Tensor& picture, const char* op, const char* name) {
  const Shape& shape = picture.shape();
  MINIDL_CHECK(shape.rank() == 4 && shape[0] == 1 && shape[3] == 3 && shape.count() > 0,
               "[{}] {} must be [1, h, w, 3], it is {}", op, name, shape);
}

void check_finite(const ColorStatistics& statistics, const char* name) {
  const bool finite =
      std::all_of(statistics.mean.begin(), statistics.mean.end(), [](double mean) { return std::isfinite(mean); });
  MINIDL_CHECK(finite, "[match_colors] {} has values that are not finite", name);
}

}  // namespace

Tensor match_colors(const Tensor& source, const Tensor& target, ColorMatch match) {
  check_picture(source, "match_colors", "source");
  check_picture(target, "match_colors", "target");
  if (match == ColorMatch::none) return source;
  const ColorStatistics from = statistics_of(source), to = statistics_of(target);
  check_finite(from, "source");
  check_finite(to, "target");
  Tensor result = match == ColorMatch::mean ? match_mean(source, from, to) : match_covariance(source, from, to);
  if (match == ColorMatch::histogram) match_histogram(result, target);
  for (float& value : result.span<float>()) value = std::clamp(value, 0.0f, 255.0f);
  return result;
}

Tensor keep_luminance(const Tensor& stylised, const Tensor& content) {
  check_picture(stylised, "keep_luminance", "stylised");
  MINIDL_CHECK(stylised.shape() == content.shape(),
               "[keep_luminance] stylised is {}, content is {}; they must have the same size", stylised.shape(),
               content.shape());
  const auto luma = [](const float* rgb) { return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]; };
  Tensor result = Tensor::empty(content.shape());
  const float* light = stylised.data<float>();
  const float* color = content.data<float>();
  float* output = result.data<float>();
  for (int64_t i = 0; i < content.count(); i += 3) {
    const double y = std::clamp(luma(light + i), 0.0, 255.0), content_y = luma(color + i);
    double scale = 1.0;  // of the chroma
    for (int c = 0; c < 3; ++c) {
      const double chroma = color[i + c] - content_y;
      if (y + chroma > 255.0) scale = std::min(scale, (255.0 - y) / chroma);
      if (y + chroma < 0.0) scale = std::min(scale, -y / chroma);
    }
    for (int c = 0; c < 3; ++c) output[i + c] = static_cast<float>(y + scale * (color[i + c] - content_y));
  }
  return result;
}

}  // namespace minidl
