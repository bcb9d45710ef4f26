#pragma once
#include <minidl/kernels/padding.h>
#include <minidl/layers/conv2d.h>
#include <minidl/layers/norm.h>

namespace minidl::layers {

struct ResidualBlockOptions {
  NormKind norm = NormKind::instance;
  Padding::Mode padding = Padding::Mode::reflect;
};

/// input + norm2(conv2(relu(norm1(conv1(input))))) with 3x3 convolutions of stride 1 that keep the size, [n, h, w, c]
/// -> the same: the residual block of transform nets (Guo & Wang, table 1; Johnson et al. 2016), with no ReLU after the
/// second norm or the sum. Children conv1, norm1, conv2, norm2.
class ResidualBlock final : public Module {
 public:
  explicit ResidualBlock(int64_t channels, const ResidualBlockOptions& options = {});
  Variable forward(const Variable& input) override;

 private:
  Conv2d *conv1_, *conv2_;  // owned by Module
  Norm *norm1_, *norm2_;
};

}  // namespace minidl::layers
