#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/stained_glass.h>
#include <minidl/apps/demo/supersampling.h>
#include <minidl/apps/demo/window_design.h>
#include <minidl/core/parallel.h>

namespace minidl::demo {
namespace {

constexpr int kScale = 2;                                   // samples per pixel and side
constexpr float kNarrow = 0.0030f, kWide = 0.0048f;         // half of the lead's width, in units of the height
constexpr float kSolder = 0.0060f;                          // radius of the joints
constexpr Vec3 kLead{22, 21, 26}, kLeadShine{96, 96, 108};  // in [0, 255]

class Window {
 public:
  Window(int64_t height, int64_t width, uint32_t seed)
      : seed_(seed),
        height_(static_cast<int>(height) * kScale),
        width_(static_cast<int>(width) * kScale),
        unit_(static_cast<float>(height_)),
        design_(static_cast<float>(width_) / unit_, seed),
        panes_(static_cast<size_t>(height_) * width_) {}

  Tensor make() {
    for_each_row([&](int y) {
      for (int x = 0; x < width_; ++x) panes_[at(y, x)] = design_.pane_at(to_unit(x), to_unit(y));
    });
    lay_lead();
    std::vector<Vec3> samples(panes_.size());
    for_each_row([&](int y) {
      for (int x = 0; x < width_; ++x) samples[at(y, x)] = color(y, x);
    });
    return averaged(samples, height_ / kScale, width_ / kScale, kScale);
  }

 private:
  template <typename F>
  void for_each_row(const F& body) const {
    parallel_for(0, height_, 8, [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) body(static_cast<int>(y));
    });
  }
  size_t at(int y, int x) const {
    return static_cast<size_t>(std::clamp(y, 0, height_ - 1)) * width_ + std::clamp(x, 0, width_ - 1);
  }
  float to_unit(int i) const { return (static_cast<float>(i) + 0.5f) / unit_; }

  void lay_lead();
  Vec3 glass(int y, int x) const;
  Vec3 color(int y, int x) const;

  uint32_t seed_;
  int height_, width_;
  float unit_;
  WindowDesign design_;
  std::vector<Pane> panes_;
  std::vector<float> lead_;     // height of the came's rounded surface in [0, 1], 0 on glass
  std::vector<float> to_lead_;  // distance in units of the height
};

void Window::lay_lead() {
  std::vector<char> pieces(panes_.size()), regions(panes_.size()), joints(panes_.size());
  const auto key = [&](int y, int x) {
    const Pane& pane = panes_[at(y, x)];
    return static_cast<uint64_t>(pane.region) << 32 | pane.piece;
  };
  for_each_row([&](int y) {
    for (int x = 0; x < width_; ++x) {
      const uint64_t here = key(y, x), right = key(y, x + 1), below = key(y + 1, x), across = key(y + 1, x + 1);
      pieces[at(y, x)] = here != right || here != below;
      regions[at(y, x)] = here >> 32 != right >> 32 || here >> 32 != below >> 32;
      const int corners = (here != right) + (right != across) + (across != below) + (below != here);
      joints[at(y, x)] = corners > 2;
    }
  });
  const std::vector<float> narrow = distances_to(pieces, height_, width_),
                           wide = distances_to(regions, height_, width_),
                           solder = distances_to(joints, height_, width_);
  lead_.resize(panes_.size());
  to_lead_.resize(panes_.size());
  const auto rounded = [&](float distance, float half) {
    const float share = distance / (half * unit_);
    return std::sqrt(std::max(1.0f - share * share, 0.0f));
  };
  for (size_t i = 0; i < panes_.size(); ++i) {
    lead_[i] = std::max({rounded(narrow[i], kNarrow), rounded(wide[i], kWide), rounded(solder[i], kSolder)});
    to_lead_[i] = std::max(narrow[i] / unit_ - kNarrow, 0.0f);
  }
}

/// Streaky, wavy glass with the light behind it.
Vec3 Window::glass(int y, int x) const {
  const Pane& pane = panes_[at(y, x)];
  const float u = to_unit(x), v = to_unit(y);
  const float along = std::cos(pane.streak) * u + std::sin(pane.streak) * v;
  const float across = std::cos(pane.streak) * v - std::sin(pane.streak) * u;
  const auto seed = seed_ + 1000 + pane.piece % 4096 + 7 * pane.region;
  const float warp = fractal_noise(7.0f * u, 7.0f * v, 3, seed);
  const float streak = fractal_noise(9.0f * along + 2.0f * warp, 42.0f * across + 5.0f * warp, 5, seed + 1);
  Vec3 color = mix(pane.from, pane.to, smooth_step(0.25f, 0.72f, streak));
  // Ripples of the surface bend the light into lighter and darker lines.
  const NoiseValue ripple = value_noise(46.0f * along + 4.0f * warp, 120.0f * across, seed_ + 3);
  const float shimmer = 1.0f + 0.075f * std::clamp(ripple.along_y, -2.0f, 2.0f) + 0.30f * (streak - 0.47f);
  const float pane_light = 0.78f + 0.44f * lattice_noise(static_cast<int>(pane.piece), 3, seed_ + 4);
  const float patina = 1.0f - 0.50f * std::exp(-to_lead_[at(y, x)] / 0.0045f);
  return shimmer * pane_light * patina * design_.light_at(u, v) * color;
}

Vec3 Window::color(int y, int x) const {
  const float lead = lead_[at(y, x)];
  const Vec3 through = glass(y, x);
  if (lead <= 0.0f) return through;
  const float slope_x = lead_[at(y, x + 1)] - lead_[at(y, x - 1)], slope_y = lead_[at(y + 1, x)] - lead_[at(y - 1, x)];
  const float shine = smooth_step(0.1f, 0.9f, 1.2f * (slope_x + slope_y)) * (0.4f + 0.6f * lead);
  const float worn = fractal_noise(60.0f * to_unit(x), 60.0f * to_unit(y), 3, seed_ + 6);
  const Vec3 metal = mix(kLead, kLeadShine, 0.75f * shine * worn * 1.6f) + 0.05f * through;
  return mix(through, metal, smooth_step(0.0f, 0.35f, lead));
}

}  // namespace

Tensor make_stained_glass(int64_t height, int64_t width, uint32_t seed) {
  return Window(height, width, seed).make();
}

}  // namespace minidl::demo
