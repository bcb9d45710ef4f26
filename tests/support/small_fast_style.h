#pragma once
#include <minidl/apps/fast_style.h>
#include <support/random_tensors.h>
#include <support/small_gatys.h>

namespace minidl::test {

/// A net of width 8 with one residual block, learning from pictures of 32 pixels through small_vgg().
inline FastStyleSettings small_fast_settings() {
  FastStyleSettings settings;
  settings.net = {.width = 8, .residual_blocks = 1};
  settings.content_layers = {{"relu2_1", 1.0}};
  settings.style_layers = {{"relu1_1", 0.5}, {"relu3_1", 0.5}};
  settings.steps = 6;
  settings.batch = 2;
  settings.size = 32;
  settings.seed = 3;
  return settings;
}

/// Photos are waves whose kind and colours depend on the step.
inline Tensor small_photos(int64_t step, int64_t batch = 2, int64_t size = 32) {
  Tensor photos = Tensor::empty({batch, size, size, 3});
  for (int64_t i = 0; i < batch; ++i)
    photos.slice(i, i + 1).copy_from(wavy_picture(size, size, static_cast<int>((step * batch + i) % 7) + 1));
  return photos;
}

inline FastStyleData small_fast_data(int styles = 1) {
  FastStyleData data;
  for (int i = 0; i < styles; ++i) data.styles.push_back(wavy_picture(36, 40, 9 + 3 * i));
  data.photos = [](int64_t step) { return small_photos(step); };
  return data;
}

}  // namespace minidl::test
