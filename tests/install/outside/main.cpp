#include <minidl/apps/builtin_models.h>
#include <minidl/apps/gatys.h>
#include <minidl/minidl.h>

#include <cstdio>
#include <utility>

using namespace minidl;

namespace {

/// One convolution with a ReLU: enough for a content and a style loss.
layers::NetworkDescription small_network() {
  using layers::LayerDescription;
  layers::NetworkDescription network;
  network.layers = {{.kind = LayerDescription::Kind::conv,
                     .name = "conv1_1",
                     .window = {.padding = Padding::zero(1)},
                     .k_h = 3,
                     .k_w = 3,
                     .in_c = 3,
                     .out_c = 8},
                    {.kind = LayerDescription::Kind::relu, .name = "relu1_1"}};
  layers::fill_random_weights(network, 1);
  return network;
}

Tensor gradient_picture(int64_t height, int64_t width, int64_t period) {
  Tensor picture = Tensor::empty({1, height, width, 3});
  float* pixel = picture.data<float>();
  for (int64_t i = 0; i < picture.count(); ++i) pixel[i] = static_cast<float>(i * 7 % period * 255 / period);
  return picture;
}

}  // namespace

int main() {
  layers::Vgg network(small_network());
  GatysSettings settings;
  settings.content_layers = settings.style_layers = {{"relu1_1", 1.0}};
  settings.size = 0;
  settings.scales = 1;
  settings.iterations = 5;
  Gatys gatys(network, settings, {.content = gradient_picture(16, 20, 97), .styles = {{gradient_picture(12, 12, 31)}}});
  const double before = gatys.evaluate_start().total;
  const GatysResult result = gatys.run();
  save_image("outside.png", result.picture);
  for (const BuiltinModel& model : builtin_models()) model.open();  // throws when its bytes are not in the library
  const bool works = result.losses.total < before && load_image("outside.png").shape() == result.picture.shape();
  std::printf("minidl %s: style transfer %s\n", MINIDL_VERSION, works ? "works" : "fails");
}
