#pragma once
#include <minidl/kernels/pool2d.h>
#include <minidl/layers/module.h>

namespace minidl::layers {

struct Pool2dOptions {
  int64_t kernel = 2;   // height and width, >= 1
  int64_t stride = 2;   // >= 1
  int64_t padding = 0;  // on each side, less than the kernel
};

/// Pooling over square windows, [n, h, w, c] -> [n, out_h, out_w, c]; sizes are floored. Formula and errors in
/// kernels/pool2d.h.
class Pool2d : public Module {
 public:
  explicit Pool2d(PoolKind kind, const Pool2dOptions& options = {});
  Variable forward(const Variable& input) override;

 private:
  PoolKind kind_;
  Pool2dOptions options_;
};

class MaxPool2d final : public Pool2d {
 public:
  explicit MaxPool2d(const Pool2dOptions& options = {}) : Pool2d(PoolKind::max, options) {}
};

class AvgPool2d final : public Pool2d {
 public:
  explicit AvgPool2d(const Pool2dOptions& options = {}) : Pool2d(PoolKind::average, options) {}
};

}  // namespace minidl::layers
