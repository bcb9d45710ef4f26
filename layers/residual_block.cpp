#include <minidl/layers/residual_block.h>

namespace minidl::layers {

ResidualBlock::ResidualBlock(int64_t channels, const ResidualBlockOptions& options) {
  const Conv2dOptions same_size{.kernel = 3, .padding = {options.padding, 1, 1, 1, 1}};
  conv1_ = &register_child("conv1", std::make_unique<Conv2d>(channels, channels, same_size));
  norm1_ = &register_child("norm1", make_norm(options.norm, channels));
  conv2_ = &register_child("conv2", std::make_unique<Conv2d>(channels, channels, same_size));
  norm2_ = &register_child("norm2", make_norm(options.norm, channels));
}

Variable ResidualBlock::forward(const Variable& input) {
  const Variable hidden = norm1_->forward_activated(conv1_->forward(input), Activation::relu);
  return norm2_->forward_residual(conv2_->forward(hidden), input);
}

}  // namespace minidl::layers
