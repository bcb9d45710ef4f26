#include <minidl/layers/activation.h>
#include <minidl/layers/sequential.h>

namespace minidl::layers {

Variable Sequential::forward(const Variable& input) {
  Variable x = input;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool relu_follows = i + 1 < layers_.size() && dynamic_cast<Relu*>(layers_[i + 1]);
    auto* const fusible = fusion_ && relu_follows ? dynamic_cast<ActivatedModule*>(layers_[i]) : nullptr;
    x = fusible ? fusible->forward_activated(x, Activation::relu) : layers_[i]->forward(x);
    if (fusible) ++i;
  }
  return x;
}

Sequential& Sequential::set_fusion(bool on) {
  fusion_ = on;
  return *this;
}

Module& Sequential::operator[](size_t index) const {
  MINIDL_CHECK(index < layers_.size(), "[sequential] no layer {}: there are {}", index, layers_.size());
  return *layers_[index];
}

}  // namespace minidl::layers
