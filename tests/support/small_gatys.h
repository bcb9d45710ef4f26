#pragma once
#include <minidl/apps/gatys.h>
#include <support/tiny_vgg.h>

#include <cmath>

namespace minidl::test {

/// Six channels, all five blocks, four pools.
inline layers::NetworkDescription small_vgg() {
  return tiny_vgg({1, 1, 1, 1, 1}, 6);
}

/// A coloured pattern with large and small structures; another one for every `kind`.
inline Tensor wavy_picture(int64_t height, int64_t width, int kind) {
  Tensor picture = Tensor::empty({1, height, width, 3});
  float* value = picture.data<float>();
  const double frequency = 0.15 + 0.1 * kind;
  for (int64_t h = 0; h < height; ++h) {
    for (int64_t w = 0; w < width; ++w) {
      for (int c = 0; c < 3; ++c) {
        const double y = static_cast<double>(h), x = static_cast<double>(w);
        *value++ = static_cast<float>(std::lround(127.5 + 80 * std::sin(frequency * x + c) * std::cos(0.2 * kind * y) +
                                                  40 * std::sin(0.9 * y - c * kind)));
      }
    }
  }
  return picture;
}

inline GatysPictures small_pictures() {
  return {.content = wavy_picture(24, 32, 1), .styles = {{wavy_picture(28, 36, 3)}}, .init = {}};
}

inline GatysSettings small_settings(LossForm form = LossForm::relative) {
  GatysSettings settings;
  settings.form = form;
  settings.content_layers = {{"relu4_1", 1.0}};
  settings.size = 0;
  settings.scales = 1;
  settings.iterations = 4;
  settings.history = 10;
  return settings;
}

}  // namespace minidl::test
