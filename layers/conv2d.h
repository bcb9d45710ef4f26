#pragma once
#include <minidl/kernels/conv2d.h>
#include <minidl/layers/module.h>

namespace minidl::layers {

struct Conv2dOptions {
  int64_t kernel = 3;  // height and width, >= 1
  int64_t stride = 1;  // >= 1
  Padding padding = {};
  bool bias = true;
  Activation activation = Activation::none;
};

/// act(conv(input, weight) + bias), [n, h, w, in_c] -> [n, out_h, out_w, out_c]; formula and errors in
/// kernels/conv2d.h. Parameters weight [out_c, kernel, kernel, in_c] and bias [out_c], initialised as PyTorch does (see
/// init.h).
class Conv2d final : public ActivatedModule {
 public:
  /// Throws Error when an extent is less than 1.
  Conv2d(int64_t in_c, int64_t out_c, const Conv2dOptions& options = {});
  Variable forward(const Variable& input) override;
  Variable forward_activated(const Variable& input, Activation activation) override;

 private:
  Window window_;
  Activation activation_;
  Variable weight_, bias_;  // bias_ is undefined without one
};

}  // namespace minidl::layers
