#pragma once
#include <minidl/kernels/cuda/window_products.h>

/// Mean and deviation of results that a product leaves of each channel and tile of its rows, with the tensor that it
/// writes, so that an instance norm behind it need not read the results for them.
namespace minidl::cuda {

/// Of one channel of `count` results. Their mean is shift + mean, in two numbers so that a deviation that is small
/// beside it stays exact; `squares` are their squared deviations from it, added up.
struct alignas(16) TileMoments {
  float count, shift, mean, squares;
};

/// Those of a pass that exists as long as this, of a tensor [n, h, w, c].
class ResultMoments {
 public:
  /// Of `phases` products with windows like these, which write `written` together; nullptr: nothing is left, as of
  /// products that leave no moments (WindowProducts::moment_rows).
  ResultMoments(const WindowProducts& products, const Windows& windows, int phases, const Tensor* written);
  /// Has the product of phase `phase` write to `output` leave its own.
  void add_to(GatherOutput& output, int phase = 0);
  /// Now they are written.
  void keep() const;

 private:
  const Tensor* written_;
  int64_t tiles_ = 0;  // of a picture and phase
  Tensor moments_;     // f32 [n, phases * tiles, c, 4]
};
/// Most that is allocated for them.
int64_t moment_bytes(const WindowProducts& products, int64_t pixels, int64_t channels);

/// What was left of `tensor` in this pass of a Recording, f32 [n, tiles, c, 4], each four a TileMoments; else
/// undefined. It stays there until the tensor is written.
Tensor moments_left(const Tensor& tensor);

}  // namespace minidl::cuda
