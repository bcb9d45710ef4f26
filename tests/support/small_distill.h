#pragma once
#include <minidl/apps/distill.h>
#include <support/random_tensors.h>
#include <support/small_fast_style.h>
#include <support/tiny_network.h>

namespace minidl::test {

/// A student of three channels that learns from tiny_network() on pictures of 32 pixels; its pool begins after two
/// steps.
inline DistillSettings small_distill_settings() {
  DistillSettings settings;
  settings.student = {.widths = {3, 3, 3, 3, 3}, .convolutions = {1, 1, 1, 2, 1}};
  settings.steps = 9;
  settings.batch = 3;
  settings.on_policy = 2;
  settings.size = 32;
  settings.pretraining = 2;
  settings.pool = 3;
  settings.pool_iterations = 2;
  settings.pool_turns = 2;
  settings.warm_up = 0;
  settings.seed = 5;
  return settings;
}

inline DistillData small_distill_data() {
  DistillData data;
  data.photos = [](int64_t step) { return small_photos(step, 3); };
  data.paintings = [](int64_t step) { return small_photos(step + 100, 3); };
  return data;
}

}  // namespace minidl::test
