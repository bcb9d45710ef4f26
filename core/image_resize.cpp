#include <minidl/core/image.h>
#include <minidl/core/parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace minidl {
namespace {

constexpr int64_t kMaxExtent = int64_t{1} << 30;
constexpr int64_t kRowsPerChunk = 8;

/// The part of one source axis that one target position reads, with a weight for each of its positions; the weights sum
/// to 1.
struct Window {
  int64_t first;
  std::vector<float> weights;
};

/// Adds the weight of source position `position`, replicating the borders, and widens the window to reach it.
class WindowBuilder {
 public:
  explicit WindowBuilder(int64_t extent) : extent_(extent) {}

  void add(int64_t position, double weight) {
    if (weight == 0.0) return;
    position = std::clamp<int64_t>(position, 0, extent_ - 1);
    if (weights_.empty()) first_ = position;
    weights_.resize(std::max<size_t>(weights_.size(), static_cast<size_t>(position - first_ + 1)));
    weights_[static_cast<size_t>(position - first_)] += weight;
  }
  Window finish() const {
    double sum = 0.0;
    for (const double weight : weights_) sum += weight;
    Window window{first_, {}};
    for (const double weight : weights_) window.weights.push_back(static_cast<float>(weight / sum));
    return window;
  }

 private:
  int64_t extent_, first_ = 0;
  std::vector<double> weights_;
};

/// Target position i covers [i * source / target, (i + 1) * source / target) of the source; in units of 1 / target all
/// bounds are integers.
Window area_window(int64_t i, int64_t source, int64_t target) {
  const int64_t begin = i * source, end = begin + source;
  WindowBuilder window(source);
  for (int64_t j = begin / target; j * target < end; ++j) {
    window.add(j, static_cast<double>(std::min(end, (j + 1) * target) - std::max(begin, j * target)));
  }
  return window.finish();
}

/// Cubic convolution kernel with a = -0.5 at distance x >= 0 (Keys, "Cubic convolution interpolation for digital image
/// processing", 1981, equation 15).
double catmull_rom(double x) {
  if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
  if (x < 2.0) return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
  return 0.0;
}

/// The centre of target position i lies at (i + 1/2) * source / target - 1/2 = base + t, 0 <= t < 1; it reads base - 1
/// to base + 2.
Window catmull_rom_window(int64_t i, int64_t source, int64_t target) {
  const int64_t numerator = (2 * i + 1) * source - target, denominator = 2 * target;
  const int64_t base = numerator >= 0 ? numerator / denominator : -1;
  const double t = static_cast<double>(numerator - base * denominator) / static_cast<double>(denominator);
  WindowBuilder window(source);
  for (int64_t tap = -1; tap <= 2; ++tap) window.add(base + tap, catmull_rom(std::abs(t - static_cast<double>(tap))));
  return window.finish();
}

std::vector<Window> windows(int64_t source, int64_t target, ResizeFilter filter) {
  std::vector<Window> result;
  result.reserve(static_cast<size_t>(target));
  for (int64_t i = 0; i < target; ++i) {
    result.push_back(filter == ResizeFilter::area ? area_window(i, source, target)
                                                  : catmull_rom_window(i, source, target));
  }
  return result;
}

/// [1, h, w, c] to [1, height, w, c].
Tensor resize_rows(const Tensor& input, int64_t height, ResizeFilter filter) {
  const Shape& shape = input.shape();
  if (shape[1] == height) return input;
  const int64_t row = shape[2] * shape[3];
  const std::vector<Window> plan = windows(shape[1], height, filter);
  Tensor output = Tensor::empty({1, height, shape[2], shape[3]});
  const float* source = input.data<float>();
  float* target = output.data<float>();
  parallel_for(0, height, kRowsPerChunk, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; ++y) {
      const Window& window = plan[static_cast<size_t>(y)];
      float* out = target + y * row;
      std::fill_n(out, row, 0.0f);
      for (size_t tap = 0; tap < window.weights.size(); ++tap) {
        const float weight = window.weights[tap];
        const float* in = source + (window.first + static_cast<int64_t>(tap)) * row;
        for (int64_t k = 0; k < row; ++k) out[k] += weight * in[k];
      }
    }
  });
  return output;
}

/// [1, h, w, c] to [1, h, width, c].
Tensor resize_columns(const Tensor& input, int64_t width, ResizeFilter filter) {
  const Shape& shape = input.shape();
  if (shape[2] == width) return input;
  const int64_t channels = shape[3];
  const std::vector<Window> plan = windows(shape[2], width, filter);
  Tensor output = Tensor::empty({1, shape[1], width, channels});
  const float* source = input.data<float>();
  float* target = output.data<float>();
  parallel_for(0, shape[1], kRowsPerChunk, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; ++y) {
      const float* row = source + y * shape[2] * channels;
      float* out = target + y * width * channels;
      for (const Window& window : plan) {
        const float* in = row + window.first * channels;
        std::fill_n(out, channels, 0.0f);
        for (const float weight : window.weights) {
          for (int64_t c = 0; c < channels; ++c) out[c] += weight * in[c];
          in += channels;
        }
        out += channels;
      }
    }
  });
  return output;
}

/// sRGB's transfer function (IEC 61966-2-1) on [0, 255]; continued to negative values as an odd function.
float srgb_to_linear(float value) {
  const float x = std::abs(value) / 255.0f;
  const float linear = x <= 0.04045f ? x / 12.92f : std::pow((x + 0.055f) / 1.055f, 2.4f);
  return std::copysign(255.0f * linear, value);
}
float linear_to_srgb(float value) {
  const float x = std::abs(value) / 255.0f;
  const float srgb = x <= 0.0031308f ? x * 12.92f : 1.055f * std::pow(x, 1.0f / 2.4f) - 0.055f;
  return std::copysign(255.0f * srgb, value);
}

template <typename Function>
Tensor map_elements(const Tensor& input, const Function& function) {
  constexpr int64_t kElementsPerChunk = 1 << 14;
  Tensor output = Tensor::empty(input.shape());
  const float* source = input.data<float>();
  float* target = output.data<float>();
  parallel_for(0, input.count(), kElementsPerChunk, [&](int64_t first, int64_t last) {
    std::transform(source + first, source + last, target + first, function);
  });
  return output;
}

void check_sizes(const Tensor& image, int64_t height, int64_t width) {
  const Shape& shape = image.shape();
  MINIDL_CHECK(image && image.dtype() == Dtype::f32 && shape.rank() == 4 && shape[0] == 1 && shape.count() > 0,
               "[resize_image] needs an f32 tensor [1, height, width, channels] that is not empty, got {} {}",
               to_string(image.dtype()), shape);
  MINIDL_CHECK(height >= 1 && width >= 1 && height <= kMaxExtent && width <= kMaxExtent && shape[1] <= kMaxExtent &&
                   shape[2] <= kMaxExtent,
               "[resize_image] from {} to height {} and width {}: sizes must be in 1 to {}", shape, height, width,
               kMaxExtent);
}

}  // namespace

Tensor resize_image(const Tensor& image, int64_t height, int64_t width, ResizeFilter filter, bool linear_light) {
  check_sizes(image, height, width);
  if (image.shape()[1] == height && image.shape()[2] == width) return image.clone();
  const Tensor input = linear_light ? map_elements(image, srgb_to_linear) : image;
  const Tensor output = resize_columns(resize_rows(input, height, filter), width, filter);
  return linear_light ? map_elements(output, linear_to_srgb) : output;
}

Tensor resize_image(const Tensor& image, int64_t height, int64_t width) {
  check_sizes(image, height, width);
  if (image.shape()[1] == height && image.shape()[2] == width) return image.clone();
  const auto filter_for = [](int64_t source, int64_t target) {
    return target < source ? ResizeFilter::area : ResizeFilter::catmull_rom;
  };
  const Tensor rows = resize_rows(image, height, filter_for(image.shape()[1], height));
  return resize_columns(rows, width, filter_for(image.shape()[2], width));
}

Extent fit_longer_side(int64_t height, int64_t width, int64_t size) {
  MINIDL_CHECK(height >= 1 && width >= 1 && height <= kMaxExtent && width <= kMaxExtent,
               "[fit_longer_side] a picture of height {} and width {}: both must be in 1 to {}", height, width,
               kMaxExtent);
  MINIDL_CHECK(size >= 0 && size <= kMaxExtent, "[fit_longer_side] size is {}, it must be in 0 to {}", size,
               kMaxExtent);
  if (size == 0) return {height, width};
  const int64_t longer = std::max(height, width);
  const auto scaled = [&](int64_t side) { return std::max<int64_t>(1, (2 * side * size + longer) / (2 * longer)); };
  return {scaled(height), scaled(width)};
}

}  // namespace minidl
