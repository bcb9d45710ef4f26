#pragma once
#include <minidl/core/safetensors.h>
#include <minidl/layers/vgg.h>

#include <string>
#include <vector>

namespace minidl {

/// In fp16: rescales a loss network so that features up to the deepest of `taps` cannot overflow (Vgg::normalize), by
/// its values for `pictures` [n, h, w, 3], shrunk where they are large. At other precisions: nothing.
void normalize_for_fp16(layers::Vgg& network, const std::vector<Tensor>& pictures,
                        const std::vector<std::string>& taps);

/// What the backward pass is multiplied by in fp16, so that gradients lie between the smallest and the largest number
/// that fp16 has (Micikevicius et al. 2018, "Mixed precision training"): a power of two, which stays the same for a
/// run, so that neither the gradient nor what is recorded once changes with it. At other precisions: 1.
class LossScale {
 public:
  /// Whether the precision is fp16 and there is none yet.
  bool is_missing() const;
  /// Chooses it by the largest absolute value of the loss's gradient with respect to a picture, computed in fp32, where
  /// it cannot underflow. Where that is 0 or not finite, there is still none, and it is 1 for now.
  void choose(float largest);
  /// What Tape::backward begins with.
  float get() const;
  /// Divides a gradient by it, which is exact, in place.
  void take_out(Tensor& gradient) const;

  /// Adds it to the state of a run, when there is one, and takes it from there; there is none afterwards when the state
  /// has none. load() throws Error for what is no power of two.
  void save(SafetensorsContent& state) const;
  void load(const SafetensorsReader& state);

 private:
  double chosen_ = 0;  // 0: none yet
};

}  // namespace minidl
