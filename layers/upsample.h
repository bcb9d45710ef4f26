#pragma once
#include <minidl/layers/module.h>

namespace minidl::layers {

/// Nearest-neighbour upsampling by a whole factor, [n, h, w, c] -> [n, h * factor, w * factor, c]. Followed by a
/// convolution it is the alternative to fractional strides that leaves no checkerboard (Odena et al. 2016).
class Upsample final : public Module {
 public:
  /// Throws Error unless factor >= 1.
  explicit Upsample(int64_t factor = 2);
  Variable forward(const Variable& input) override;

 private:
  int64_t factor_;
};

}  // namespace minidl::layers
