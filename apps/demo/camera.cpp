#include <minidl/apps/demo/camera.h>
#include <minidl/core/parallel.h>

namespace minidl::demo {
namespace {

constexpr int kSamplesPerSide = 2;  // per pixel, against jagged edges

/// Linear light to an sRGB level, with a soft shoulder for what is brighter than white.
float level_of(float light) {
  const float x = 0.82f * light;
  const float toned = std::clamp(x * (2.51f * x + 0.03f) / (x * (2.43f * x + 0.59f) + 0.14f), 0.0f, 1.0f);
  return 255.0f * (toned <= 0.0031308f ? 12.92f * toned : 1.055f * std::pow(toned, 1.0f / 2.4f) - 0.055f);
}

}  // namespace

Tensor photograph(int64_t height, int64_t width, const std::function<Vec3(float x, float y)>& light_from) {
  constexpr float kStep = 1.0f / kSamplesPerSide;
  const float half = 0.5f * static_cast<float>(width);
  Tensor picture = Tensor::empty({1, height, width, 3});
  float* output = picture.data<float>();
  // A pixel is averaged over its samples after toning, so that what is brighter than white has a smooth edge, too.
  const auto levels_at = [&](int64_t x, int64_t y) {
    Vec3 sum;
    for (int j = 0; j < kSamplesPerSide; ++j) {
      for (int i = 0; i < kSamplesPerSide; ++i) {
        const float across = static_cast<float>(x) + (static_cast<float>(i) + 0.5f) * kStep,
                    down = static_cast<float>(y) + (static_cast<float>(j) + 0.5f) * kStep;
        const Vec3 light = light_from(across / half - 1.0f, (0.5f * static_cast<float>(height) - down) / half);
        sum += Vec3{level_of(light.x), level_of(light.y), level_of(light.z)};
      }
    }
    return kStep * kStep * sum;
  };
  parallel_for(0, height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const Vec3 levels = levels_at(x, y);
        float* pixel = output + (y * width + x) * 3;
        pixel[0] = levels.x;
        pixel[1] = levels.y;
        pixel[2] = levels.z;
      }
    }
  });
  return picture;
}

}  // namespace minidl::demo
