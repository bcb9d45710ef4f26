#include <minidl/apps/demo/supersampling.h>
#include <minidl/core/parallel.h>

namespace minidl::demo {
namespace {

constexpr float kFar = 1e12f;

/// Lower envelope of parabolas: output[i] = min over j of input[j] + (i - j)^2, for `count` values `step` apart.
void transform_line(float* values, int count, int step) {
  std::vector<int> place(static_cast<size_t>(count));
  std::vector<float> input(static_cast<size_t>(count)), from(static_cast<size_t>(count) + 1);
  for (int i = 0; i < count; ++i) input[i] = values[static_cast<size_t>(i) * step];
  int last = 0;
  place[0] = 0;
  from[0] = -kFar;
  from[1] = kFar;
  for (int i = 1; i < count; ++i) {
    const auto crossing = [&](int j) {
      const auto at = static_cast<float>(i), before = static_cast<float>(j);
      return (input[i] + at * at - input[j] - before * before) / (2.0f * (at - before));
    };
    float cut = crossing(place[last]);
    while (last > 0 && cut <= from[last]) cut = crossing(place[--last]);
    place[++last] = i;
    from[last] = cut;
    from[last + 1] = kFar;
  }
  for (int i = 0, k = 0; i < count; ++i) {
    while (k < last && from[k + 1] < static_cast<float>(i)) ++k;
    const auto away = static_cast<float>(i - place[k]);
    values[static_cast<size_t>(i) * step] = away * away + input[place[k]];
  }
}

}  // namespace

Tensor averaged(const std::vector<Vec3>& samples, int64_t height, int64_t width, int scale) {
  Tensor picture = Tensor::empty({1, height, width, 3});
  float* output = picture.data<float>();
  const float share = 1.0f / static_cast<float>(scale * scale);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      Vec3 sum;
      for (int64_t j = 0; j < scale; ++j) {
        for (int64_t i = 0; i < scale; ++i) sum += samples[(y * scale + j) * width * scale + x * scale + i];
      }
      for (const float value : {sum.x, sum.y, sum.z}) *output++ = std::clamp(share * value, 0.0f, 255.0f);
    }
  }
  return picture;
}

std::vector<float> distances_to(const std::vector<char>& marked, int height, int width) {
  std::vector<float> square(marked.size());
  for (size_t i = 0; i < marked.size(); ++i) square[i] = marked[i] ? 0.0f : 1e9f;
  parallel_for(0, width, 16, [&](int64_t begin, int64_t end) {
    for (int64_t x = begin; x < end; ++x) transform_line(square.data() + x, height, width);
  });
  parallel_for(0, height, 16, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) transform_line(square.data() + y * width, width, 1);
  });
  for (float& value : square) value = std::sqrt(value);
  return square;
}

}  // namespace minidl::demo
