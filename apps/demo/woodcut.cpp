#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/print_design.h>
#include <minidl/apps/demo/supersampling.h>
#include <minidl/apps/demo/woodcut.h>
#include <minidl/core/parallel.h>
#include <minidl/core/rng.h>

namespace minidl::demo {
namespace {

constexpr int kScale = 3;              // samples per pixel and side
constexpr Vec3 kInk{24, 22, 34};       // of the key block, in [0, 255]
constexpr Vec3 kSheet{242, 230, 200};  // paper
constexpr float kShift = 0.0022f;      // of the colour blocks against the key block, in units of the height
constexpr float kStep = 0.0012f;       // between points of a mark
constexpr float kOutline = 0.0034f;    // half of what is left standing between two regions

/// Which parts of the key block still stand, and what the gouge does to it.
class Woodcut {
 public:
  Woodcut(int64_t height, int64_t width, uint32_t seed)
      : seed_(seed),
        height_(static_cast<int>(height) * kScale),
        width_(static_cast<int>(width) * kScale),
        unit_(static_cast<float>(height_)),
        design_(static_cast<float>(width_) / unit_, seed),
        random_(seed),
        standing_(static_cast<size_t>(height_) * width_, 1.0f),
        reached_(standing_.size(), -1) {}

  Tensor print() {
    cut_key_block();
    return pull();
  }

 private:
  struct Mark {
    std::vector<Vec3> path;     // points kStep apart, in units of the height
    std::vector<float> widths;  // at each
  };

  void cut_key_block();
  std::vector<Vec3> follow(Vec3 start, float sense, int number) const;
  bool is_free(Vec3 point, float spacing, int number) const;
  void occupy(const std::vector<Vec3>& path, int number);
  void gouge(const std::vector<Vec3>& path);
  void remove(Vec3 center, float radius);
  Tensor pull() const;
  float grain(float x, float y, float pitch, uint32_t seed) const;
  bool inside(Vec3 point) const {
    return point.x > -0.03f && point.y > -0.03f && point.y < 1.03f &&
           point.x < static_cast<float>(width_) / unit_ + 0.03f;
  }

  uint32_t seed_;
  int height_, width_;
  float unit_;
  PrintDesign design_;
  Rng random_;
  std::vector<float> standing_;  // share of each sample that still takes ink
  std::vector<int> reached_;     // number of the line that passes, or -1
};

/// No other line within about half of the spacing.
bool Woodcut::is_free(Vec3 point, float spacing, int number) const {
  const float reach = 0.55f * spacing * unit_;
  const int x = static_cast<int>(point.x * unit_), y = static_cast<int>(point.y * unit_), r = static_cast<int>(reach);
  for (int j = std::max(y - r, 0); j <= std::min(y + r, height_ - 1); ++j) {
    for (int i = std::max(x - r, 0); i <= std::min(x + r, width_ - 1); ++i) {
      const int line = reached_[static_cast<size_t>(j) * width_ + i];
      if (line >= 0 && line != number && (i - x) * (i - x) + (j - y) * (j - y) <= r * r) return false;
    }
  }
  return true;
}

void Woodcut::occupy(const std::vector<Vec3>& path, int number) {
  for (const Vec3& point : path) {
    const int x = static_cast<int>(point.x * unit_), y = static_cast<int>(point.y * unit_);
    if (x >= 0 && y >= 0 && x < width_ && y < height_) reached_[static_cast<size_t>(y) * width_ + x] = number;
  }
}

/// A line of the direction field, from `start` to where the region ends or another line is near.
std::vector<Vec3> Woodcut::follow(Vec3 start, float sense, int number) const {
  constexpr int kLongest = 420;
  std::vector<Vec3> path;
  const Cut first = design_.cut_at(start.x, start.y);
  Vec3 before = sense * first.along, point = start;
  for (int i = 0; i < kLongest && inside(point); ++i) {
    const Cut cut = design_.cut_at(point.x, point.y);
    if (cut.region != first.region) break;
    Vec3 along = cut.along;
    if (dot(along, before) < 0.0f) along = -1.0f * along;
    if (dot(along, before) < 0.55f) break;  // no sharp turns
    const Vec3 ahead = point + kOutline * along;
    if (design_.cut_at(ahead.x, ahead.y).region != first.region) break;
    if (i % 3 == 0 && !is_free(point, cut.spacing, number)) break;
    path.push_back(point);
    before = along;
    point += kStep * along;
  }
  return path;
}

void Woodcut::remove(Vec3 center, float radius) {
  const float r = radius * unit_, x = center.x * unit_, y = center.y * unit_;
  for (int j = std::max(static_cast<int>(y - r - 1), 0); j <= std::min(static_cast<int>(y + r + 1), height_ - 1); ++j) {
    for (int i = std::max(static_cast<int>(x - r - 1), 0); i <= std::min(static_cast<int>(x + r + 1), width_ - 1);
         ++i) {
      const float distance = std::hypot(static_cast<float>(i) + 0.5f - x, static_cast<float>(j) + 0.5f - y);
      float& left = standing_[static_cast<size_t>(j) * width_ + i];
      left = std::min(left, std::clamp(distance - r + 0.5f, 0.0f, 1.0f));
    }
  }
}

/// Cuts a line in marks that begin thin, swell and run out, with a little wood left between two of them.
void Woodcut::gouge(const std::vector<Vec3>& path) {
  const int points = static_cast<int>(path.size());
  for (int begin = 0; begin < points;) {
    const Cut cut = design_.cut_at(path[begin].x, path[begin].y);
    const float longest = (9.0f + 22.0f * random_.uniform()) * cut.spacing * (0.35f + cut.light);
    const int count = std::min(static_cast<int>(longest / kStep), points - begin);
    const float hand = 0.85f + 0.3f * random_.uniform();
    for (int i = 0; i < count; ++i) {
      const Vec3& point = path[begin + i];
      const float share = static_cast<float>(i) / static_cast<float>(count);
      const float taper = std::pow(std::min({1.0f, 4.0f * share + 0.05f, 2.2f * (1.0f - share)}), 0.7f);
      const float light = design_.cut_at(point.x, point.y).light;
      remove(point, 0.47f * cut.spacing * hand * (0.25f + 0.85f * light) * taper * smooth_step(0.0f, 0.15f, light));
    }
    begin += count + static_cast<int>((0.25f + 0.9f * (1.0f - cut.light)) * cut.spacing / kStep) + 1;
  }
}

void Woodcut::cut_key_block() {
  // Lines are begun on a jittered grid, in an order without pattern.
  constexpr float kGrid = 0.0065f;
  const int columns = static_cast<int>(static_cast<float>(width_) / unit_ / kGrid) + 1,
            rows = static_cast<int>(1.0f / kGrid) + 1;
  std::vector<int> order(static_cast<size_t>(columns) * rows);
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random_.below(i + 1)]);
  for (size_t number = 0; number < order.size(); ++number) {
    const Vec3 start{kGrid * (static_cast<float>(order[number] % columns) + random_.uniform()),
                     kGrid * (static_cast<float>(order[number] / columns) + random_.uniform()), 0.0f};
    const auto line = static_cast<int>(number);
    const Cut cut = design_.cut_at(start.x, start.y);
    if (!is_free(start, 1.6f * cut.spacing, line)) continue;
    std::vector<Vec3> path = follow(start, -1.0f, line);
    std::reverse(path.begin(), path.end());
    const std::vector<Vec3> forwards = follow(start, 1.0f, line);
    if (!forwards.empty()) path.insert(path.end(), forwards.begin() + 1, forwards.end());
    if (static_cast<float>(path.size()) * kStep < 2.2f * cut.spacing) continue;
    occupy(path, line);
    gouge(path);
  }
}

/// Year rings of a plank: stretched lines that bend slowly, in [0, 1].
float Woodcut::grain(float x, float y, float pitch, uint32_t seed) const {
  const float bend = fractal_noise(0.9f * x, 2.0f * y, 3, seed);
  const float rings = fractal_noise(2.0f * x, pitch * (y + 0.25f * bend), 3, seed + 1);
  return smooth_step(0.25f, 0.7f, rings);
}

Tensor Woodcut::pull() const {
  std::vector<Vec3> samples(standing_.size());
  parallel_for(0, height_, 8, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t x = 0; x < width_; ++x) {
        const float u = (static_cast<float>(x) + 0.5f) / unit_, v = (static_cast<float>(y) + 0.5f) / unit_;
        const Vec3 color = design_.cut_at(u + kShift, v - 0.6f * kShift).color;
        const float cover = 0.80f + 0.20f * grain(u, v, 60.0f, seed_ + 20);
        const float fibre = 0.97f + 0.06f * (fractal_noise(150.0f * u, 150.0f * v, 2, seed_ + 22) - 0.37f);
        Vec3 print = fibre * mix(kSheet, color, cover);
        const float ink = standing_[y * width_ + x] * (0.93f + 0.07f * grain(u, v, 90.0f, seed_ + 23));
        print = mix(print, kInk, ink);
        samples[y * width_ + x] = print;
      }
    }
  });
  return averaged(samples, height_ / kScale, width_ / kScale, kScale);
}

}  // namespace

Tensor make_woodcut(int64_t height, int64_t width, uint32_t seed) {
  return Woodcut(height, width, seed).print();
}

}  // namespace minidl::demo
