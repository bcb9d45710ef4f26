#include <minidl/apps/demo/brush.h>
#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/painting.h>
#include <minidl/apps/demo/palette.h>
#include <minidl/apps/demo/supersampling.h>
#include <minidl/core/rng.h>

#include <array>

namespace minidl::demo {
namespace {

constexpr int kScale = 2;  // canvas pixels per picture pixel

/// In units of the picture's height, from its upper left corner.
struct Whirl {
  float x, y, radius;
  float turn;  // direction and strength
  float hue;   // place in the warm palette
};
constexpr std::array<Whirl, 5> kWhirls{{{1.02f, 0.27f, 0.27f, 1.0f, 0.15f},
                                        {0.30f, 0.36f, 0.20f, -0.9f, 0.55f},
                                        {0.68f, 0.70f, 0.15f, 0.9f, 0.90f},
                                        {0.06f, 0.86f, 0.13f, 1.0f, 0.35f},
                                        {1.24f, 0.80f, 0.15f, -1.0f, 0.70f}}};

constexpr std::array<Vec3, 6> kCold{
    {{13, 24, 74}, {22, 48, 128}, {30, 84, 168}, {24, 128, 160}, {70, 172, 178}, {158, 206, 196}}};
constexpr std::array<Vec3, 6> kWarm{
    {{250, 236, 168}, {250, 204, 66}, {238, 156, 34}, {222, 92, 32}, {178, 40, 30}, {92, 22, 40}}};

class Whirls {
 public:
  Whirls(int64_t height, int64_t width, uint32_t seed)
      : seed_(seed),
        height_(static_cast<int>(height) * kScale),
        width_(static_cast<int>(width) * kScale),
        random_(seed),
        canvas_(height_, width_, kCold[1]) {}

  Tensor paint() {
    // From the broad brush to the fine one; each layer covers most of the one below.
    for (const float width : {0.075f, 0.045f, 0.028f, 0.018f}) paint_layer(width * static_cast<float>(height_));
    return photograph();
  }

 private:
  Vec3 flow(float x, float y) const;
  Vec3 color(float x, float y);
  void paint_layer(float brush_width);
  Tensor photograph() const;

  uint32_t seed_;
  int height_, width_;
  Rng random_;
  Canvas canvas_;
};

/// Direction of the strokes at a place in units of the height: around the whirls, elsewhere along slow waves.
Vec3 Whirls::flow(float x, float y) const {
  const float wave = 5.5f * fractal_noise(1.6f * x, 1.6f * y, 3, seed_ + 1) - 2.4f;
  Vec3 direction = 0.30f * Vec3{std::cos(wave), std::sin(wave), 0.0f};
  for (const Whirl& whirl : kWhirls) {
    const float to_x = x - whirl.x, to_y = y - whirl.y;
    const float distance = std::sqrt(to_x * to_x + to_y * to_y) + 1e-4f;
    const float strength =
        whirl.turn * std::exp(-0.9f * distance * distance / (whirl.radius * whirl.radius)) * 1.6f / distance;
    direction += strength * Vec3{-to_y - 0.12f * to_x, to_x - 0.12f * to_y, 0.0f};
  }
  return direction;
}

Vec3 Whirls::color(float x, float y) {
  const float drift = fractal_noise(2.3f * x + 7.0f, 2.3f * y, 4, seed_ + 2);
  float place = 0.10f + 1.05f * (drift - 0.2f) + 0.26f * (random_.uniform() - 0.5f);
  Vec3 color = pick(kCold, place);
  for (const Whirl& whirl : kWhirls) {
    const float to_x = x - whirl.x, to_y = y - whirl.y;
    const float distance = std::sqrt(to_x * to_x + to_y * to_y) / whirl.radius;
    // Rings of warm paint that wind outwards and thin out.
    const float angle = std::atan2(to_y, to_x);
    const float ring = 0.5f + 0.5f * std::cos(9.0f * distance - whirl.turn * angle + 6.0f * drift);
    const float warm = smooth_step(1.25f, 0.35f, distance) + 0.9f * ring * smooth_step(1.55f, 0.8f, distance);
    const float reds = 0.62f * distance + 0.30f * (whirl.hue - 0.3f) + 0.20f * (random_.uniform() - 0.5f);
    if (warm > 0.35f + 0.45f * random_.uniform()) color = pick(kWarm, reds);
  }
  // Rare accents against the neighbourhood.
  const float accent = random_.uniform();
  if (accent < 0.018f) color = kWarm[3];
  if (accent > 0.980f) color = kCold[5];
  return color;
}

void Whirls::paint_layer(float brush_width) {
  const float unit = static_cast<float>(height_);
  const float stroke_length = 4.2f * brush_width;
  const float area = (static_cast<float>(width_) + 2.0f * stroke_length) * (unit + 2.0f * stroke_length);
  const int strokes = static_cast<int>(3.0f * area / (brush_width * stroke_length));
  for (int i = 0; i < strokes; ++i) {
    // Also from outside: strokes run into the picture from every side.
    Vec3 point{mix(-stroke_length, static_cast<float>(width_) + stroke_length, random_.uniform()),
               mix(-stroke_length, unit + stroke_length, random_.uniform()), 0.0f};
    Stroke stroke{
        .path = {}, .width = brush_width * (0.7f + 0.6f * random_.uniform()), .color = {}, .seed = random_.bits()};
    stroke.color = color(point.x / unit, point.y / unit);
    const int points = static_cast<int>(2.0f * stroke_length * (0.5f + 1.0f * random_.uniform()));
    for (int step = 0; step < points; ++step) {
      stroke.path.push_back(point);
      point += 0.5f * normalised(flow(point.x / unit, point.y / unit));
    }
    canvas_.paint(stroke);
  }
}

Tensor Whirls::photograph() const {
  std::vector<Vec3> samples(static_cast<size_t>(height_) * width_);
  for (int y = 0; y < height_; ++y) {
    for (int x = 0; x < width_; ++x) samples[static_cast<size_t>(y) * width_ + x] = canvas_.lit_color(y, x);
  }
  return averaged(samples, height_ / kScale, width_ / kScale, kScale);
}

}  // namespace

Tensor paint_whirls(int64_t height, int64_t width, uint32_t seed) {
  return Whirls(height, width, seed).paint();
}

}  // namespace minidl::demo
