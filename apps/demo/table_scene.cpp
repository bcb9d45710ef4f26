#include <minidl/apps/demo/noise.h>
#include <minidl/apps/demo/table_scene.h>

namespace minidl::demo {
namespace {

constexpr float kWall = 3.4f;  // z of the wall behind
constexpr float kGrape = 0.20f;

float smooth_minimum(float a, float b, float radius) {
  const float share = std::max(radius - std::abs(a - b), 0.0f) / radius;
  return std::min(a, b) - 0.25f * share * share * radius;
}

float around(Vec3 p) {
  return std::sqrt(p.x * p.x + p.z * p.z);
}

/// A cylinder about the upright axis with rounded edges, from `low` to `high`.
float cylinder(Vec3 p, float radius, float low, float high, float rounded) {
  const float out = around(p) - radius + rounded;
  const float above = std::abs(p.y - 0.5f * (low + high)) - 0.5f * (high - low) + rounded;
  return std::min(std::max(out, above), 0.0f) + std::hypot(std::max(out, 0.0f), std::max(above, 0.0f)) - rounded;
}

float ball(Vec3 p, Vec3 center, float radius) {
  return length(p - center) - radius;
}

float bottle_distance(Vec3 p) {
  const float body = cylinder(p, 0.43f, 0.0f, 1.95f, 0.10f);
  const float shoulder = ball({p.x, 0.8f * p.y, p.z}, {0, 1.32f, 0}, 0.42f);
  const float neck = cylinder(p, 0.145f, 1.8f, 3.0f, 0.04f);
  const float lip = cylinder(p, 0.185f, 2.80f, 2.95f, 0.03f);
  return std::min(smooth_minimum(smooth_minimum(body, shoulder, 0.25f), neck, 0.35f), lip);
}

float jug_distance(Vec3 p) {
  const float belly = length(Vec3{p.x, 0.88f * (p.y - 0.78f), p.z}) - 0.74f;
  const float neck = cylinder(p, 0.37f + 0.10f * smooth_step(1.6f, 2.05f, p.y), 1.1f, 2.05f, 0.03f);
  float outside = smooth_minimum(std::max(belly, -p.y), neck, 0.40f);
  // The hollow, seen through the mouth.
  outside = std::max(outside, -cylinder(p, 0.34f + 0.10f * smooth_step(1.6f, 2.05f, p.y), 1.3f, 3.0f, 0.05f));
  const Vec3 q = p - Vec3{0.62f, 1.38f, 0.0f};  // the handle: a ring at its side
  const float ring = std::hypot(std::hypot(1.15f * q.x, 0.85f * q.y) - 0.42f, q.z) - 0.075f;
  return smooth_minimum(outside, std::max(ring, 0.30f - around(p)), 0.10f);
}

float bowl_distance(Vec3 p) {
  constexpr float kRadius = 1.45f;
  const float shell = std::abs(length(p - Vec3{0, kRadius + 0.10f, 0}) - kRadius) - 0.035f;
  const float cut = std::max(shell, p.y - 0.62f);
  return smooth_minimum(cut, cylinder(p, 0.46f, 0.0f, 0.12f, 0.03f), 0.08f);
}

float apple_distance(Vec3 p) {
  const float narrow = 1.0f + 0.13f * (1.0f - p.y);
  const Vec3 q{narrow * p.x, p.y - 0.92f, narrow * p.z};
  const float flesh = std::hypot(around(q) - 0.40f, 0.95f * q.y) - 0.62f;
  const Vec3 bent{p.x - 0.14f * (p.y - 1.3f), p.y, p.z};
  return std::min(0.85f * flesh, cylinder(bent, 0.035f, 1.30f, 1.78f, 0.02f));
}

float pear_distance(Vec3 p) {
  const float flesh = smooth_minimum(ball(p, {0, 0.80f, 0}, 0.80f), ball(p, {0.06f, 1.75f, 0}, 0.40f), 0.75f);
  const Vec3 bent{p.x - 0.06f - 0.25f * (p.y - 2.0f), p.y, p.z};
  return std::min(flesh, cylinder(bent, 0.035f, 2.0f, 2.55f, 0.02f));
}

float lemon_distance(Vec3 p) {
  const float flesh = length(Vec3{0.76f * p.x, p.y - 0.92f, p.z}) - 0.92f;
  return 0.8f * smooth_minimum(flesh, ball(p, {1.28f, 0.92f, 0}, 0.13f), 0.35f);
}

}  // namespace

TableScene::TableScene(uint32_t seed) : seed_(seed) {
  const auto add = [&](Kind kind, Vec3 place, float size, float tilt, float turn, float middle, float bound) {
    things_.push_back(
        {kind, place, size, tilt, turn, bound, {0, middle, 0}, seed + 100 + static_cast<uint32_t>(things_.size())});
  };
  add(Kind::bottle, {-1.42f, 0.03f, 1.35f}, 1.12f, 0.0f, 0.0f, 1.5f, 1.6f);
  add(Kind::jug, {1.50f, 0.03f, 1.15f}, 1.18f, 0.0f, 0.35f, 1.05f, 1.35f);
  add(Kind::bowl, {0.10f, 0.06f, 0.15f}, 1.0f, 0.0f, 0.0f, 0.4f, 1.35f);
  add(Kind::orange, {-0.42f, 0.30f, 0.35f}, 0.46f, 0.0f, 0.0f, 1.0f, 1.05f);
  add(Kind::apple, {0.38f, 0.28f, 0.52f}, 0.47f, -0.25f, 0.4f, 0.9f, 1.3f);
  add(Kind::orange, {0.02f, 0.22f, -0.32f}, 0.44f, 0.0f, 1.0f, 1.0f, 1.05f);
  add(Kind::pear, {-0.05f, 0.72f, 0.45f}, 0.42f, 0.42f, 0.0f, 1.2f, 1.5f);
  add(Kind::grapes, {0.82f, 0.16f, -0.30f}, 0.80f, 0.0f, 0.5f, 0.4f, 1.25f);
  add(Kind::lemon, {-1.38f, 0.05f, -0.62f}, 0.37f, 0.0f, 0.5f, 0.92f, 1.5f);
  add(Kind::apple, {1.95f, 0.03f, -0.42f}, 0.46f, 0.2f, 1.2f, 0.9f, 1.3f);
  add(Kind::lemon, {-0.72f, 0.05f, -1.05f}, 0.33f, 0.0f, -0.9f, 0.92f, 1.5f);
  add(Kind::apple, {0.62f, 0.03f, -1.42f}, 0.40f, -0.5f, 2.6f, 0.9f, 1.3f);
  add(Kind::pear, {-2.32f, 0.03f, 0.35f}, 0.47f, -0.10f, 0.8f, 1.2f, 1.5f);
  // A bunch, broad at the stalk.
  for (int i = 0; i < 44; ++i) {
    const auto noise = [&](int number) { return lattice_noise(i, number, seed + 9) - 0.5f; };
    const float along = static_cast<float>(i) / 43.0f, wide = 0.55f * std::sqrt(1.02f - along);
    const Vec3 grape{-0.35f + 1.2f * along, std::max(0.72f - 0.62f * along + 0.9f * wide * noise(1), kGrape),
                     1.9f * wide * noise(2)};
    grapes_.push_back(grape);
  }
}

Vec3 TableScene::to_local(const Thing& thing, Vec3 point) const {
  const Vec3 p = (1.0f / thing.size) * (point - thing.place);
  const float c = std::cos(thing.turn), s = std::sin(thing.turn);
  const Vec3 q{c * p.x - s * p.z, p.y, s * p.x + c * p.z};
  const float ct = std::cos(thing.tilt), st = std::sin(thing.tilt);
  return {ct * q.x - st * q.y, st * q.x + ct * q.y, q.z};
}

float TableScene::shape_distance(const Thing& thing, Vec3 local) const {
  switch (thing.kind) {
    case Kind::bottle:
      return bottle_distance(local);
    case Kind::jug:
      return jug_distance(local);
    case Kind::bowl:
      return bowl_distance(local);
    case Kind::apple:
      return apple_distance(local);
    case Kind::pear:
      return pear_distance(local);
    case Kind::lemon:
      return lemon_distance(local);
    case Kind::grapes: {
      float least = 1e9f;
      for (const Vec3& grape : grapes_) least = std::min(least, ball(local, grape, kGrape));
      return least;
    }
    default:
      return ball(local, {0, 1, 0}, 1.0f);
  }
}

TableScene::ClothPlace TableScene::cloth_place(float x, float z) {
  const float u = 0.94f * x + 0.34f * z, v = 0.94f * z - 0.34f * x;
  return {u, v, std::min(2.35f - std::abs(u + 0.1f), 1.0f - v)};
}

/// 1 on the cloth, 0 on the bare wood.
float TableScene::cloth_at(float x, float z) const {
  const auto [u, v, to_hem] = cloth_place(x, z);
  const float hem = 0.05f * std::sin(5.0f * u) + 0.04f * std::sin(7.0f * v);
  return smooth_step(0.0f, 0.06f, std::min(to_hem + hem, v + 3.2f));
}

float TableScene::table_height(float x, float z) const {
  const float cloth = cloth_at(x, z);
  if (cloth <= 0.0f) return 0.0f;
  // Folds that run together towards the bowl, and the creases of ironing.
  const auto [u, v, to_hem] = cloth_place(x, z);
  const float away = smooth_step(0.9f, 2.2f, std::hypot(x - 0.1f, z - 0.15f));
  const float bend = value_noise(0.9f * u, 0.9f * v, seed_ + 1).value;
  const float fold = value_noise(2.1f * u + 1.4f * bend, 0.55f * v + 0.8f * bend, seed_ + 2).value;
  const float crease = std::exp(-std::abs(std::fmod(u + 10.15f, 0.86f) - 0.43f) / 0.025f);
  return cloth * (0.03f + 0.13f * away * fold * fold + 0.012f * crease);
}

TableScene::Hit TableScene::nearest(Vec3 point) const {
  Hit hit{kWall - point.z, nullptr, Kind::wall};
  const float above = point.y > 0.4f ? point.y - 0.25f : 0.7f * (point.y - table_height(point.x, point.z));
  if (above < hit.distance) hit = {above, nullptr, Kind::table};
  for (const Thing& thing : things_) {
    const float to_bound = length(point - thing.place - thing.size * thing.middle) - thing.size * thing.bound;
    if (to_bound > hit.distance) continue;
    // Far from it the sphere around it is near enough.
    const float distance =
        to_bound > 0.25f ? to_bound + 0.1f : thing.size * shape_distance(thing, to_local(thing, point));
    if (distance < hit.distance) hit = {distance, &thing, thing.kind};
  }
  return hit;
}

Vec3 TableScene::normal(Vec3 point) const {
  constexpr float kStep = 0.0015f;
  const auto along = [&](Vec3 step) { return distance(point + step) - distance(point - step); };
  return normalised({along({kStep, 0, 0}), along({0, kStep, 0}), along({0, 0, kStep})});
}

float TableScene::intersect(Vec3 origin, Vec3 direction, float farthest) const {
  float t = 0.01f;
  for (int step = 0; step < 160 && t < farthest; ++step) {
    const float clearance = distance(origin + t * direction);
    if (clearance < 0.0006f * t + 0.0002f) return t;
    t += 0.9f * clearance;
  }
  return t < farthest ? t : -1.0f;
}

Material TableScene::material(Vec3 point) const {
  const Hit hit = nearest(point);
  if (hit.thing) return thing_material(*hit.thing, to_local(*hit.thing, point));
  return hit.kind == Kind::wall ? wall_material(point) : table_material(point);
}

}  // namespace minidl::demo
