#include <minidl/apps/demo/brush.h>
#include <minidl/apps/demo/noise.h>

namespace minidl::demo {
namespace {

constexpr float kBristlesPerPixel = 0.45f;

}  // namespace

Canvas::Canvas(int height, int width, Vec3 ground)
    : height_(height),
      width_(width),
      color_(static_cast<size_t>(height) * width, ground),
      thickness_(color_.size(), 0.0f) {}

void Canvas::paint(const Stroke& stroke) {
  const size_t points = stroke.path.size();
  for (size_t i = 1; i < points; ++i) {
    const Vec3 here = stroke.path[i], step = here - stroke.path[i - 1];
    const float size = length(step);
    if (size == 0.0f) continue;
    const Vec3 across{-step.y / size, step.x / size, 0.0f};
    const float along = static_cast<float>(i) / static_cast<float>(points);  // [0, 1]
    const float reach = 0.5f * stroke.width * std::min({1.0f, 0.45f + 6.0f * along, 0.35f + 4.0f * (1.0f - along)});
    for (float offset = -reach; offset <= reach; offset += 0.5f) {
      const int x = static_cast<int>(std::lround(here.x + offset * across.x)),
                y = static_cast<int>(std::lround(here.y + offset * across.y));
      if (x < 0 || y < 0 || x >= width_ || y >= height_) continue;
      // A bristle keeps its paint along the whole stroke, and lifts off somewhere near its end.
      const float bristle = value_noise(kBristlesPerPixel * offset + 100.0f, 1.7f * along, stroke.seed).value;
      if (along > 0.55f + 0.75f * bristle) continue;
      const float side = std::abs(offset) / (0.5f * stroke.width);
      const float opacity = 0.93f * smooth_step(1.0f, 0.85f, side);
      const size_t pixel = static_cast<size_t>(y) * width_ + x;
      color_[pixel] = mix(color_[pixel], (0.80f + 0.40f * bristle) * stroke.color, opacity);
      const float ridge = 0.5f + 0.9f * bristle + 0.8f * smooth_step(0.6f, 0.95f, side);
      thickness_[pixel] = mix(thickness_[pixel], ridge, 0.8f * opacity);
    }
  }
}

float Canvas::thickness_at(int y, int x) const {
  return thickness_[static_cast<size_t>(std::clamp(y, 0, height_ - 1)) * width_ + std::clamp(x, 0, width_ - 1)];
}

Vec3 Canvas::lit_color(int y, int x) const {
  const float slope_x = thickness_at(y, x + 1) - thickness_at(y, x - 1),
              slope_y = thickness_at(y + 1, x) - thickness_at(y - 1, x);
  const float relief = std::clamp(0.55f * (slope_x + slope_y), -0.30f, 0.45f);
  const Vec3 color = (1.0f + 0.55f * relief) * color_[static_cast<size_t>(y) * width_ + x];
  const float gloss = 60.0f * smooth_step(0.22f, 0.45f, relief);
  return {std::clamp(color.x + gloss, 0.0f, 255.0f), std::clamp(color.y + gloss, 0.0f, 255.0f),
          std::clamp(color.z + gloss, 0.0f, 255.0f)};
}

}  // namespace minidl::demo
