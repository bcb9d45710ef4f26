#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/result_moments.h>

#include <memory>

namespace minidl::cuda {
namespace {

constexpr int64_t kNumbers = sizeof(TileMoments) / sizeof(float);

struct Left {
  Shape of;  // the tensor whose they are: a part of it, or another view, has others
  Tensor moments;
  uint64_t made_in;  // Recording::current_pass()
};
/// What Tensor::keep_derived() keeps it under.
constexpr char kKey = 0;

}  // namespace

ResultMoments::ResultMoments(const WindowProducts& products, const Windows& windows, int phases, const Tensor* written)
    : written_(written) {
  if (!written || !products.moment_rows) return;
  const int64_t channels = written->shape()[3];
  const int rows = products.moment_rows(windows, static_cast<int>(channels));
  if (rows == 0) return;
  tiles_ = divided_up(int64_t{windows.windows_h} * windows.windows_w, rows);
  moments_ = Tensor::empty({windows.n, phases * tiles_, channels, kNumbers}, Dtype::f32, written->device());
}

void ResultMoments::add_to(GatherOutput& output, int phase) {
  if (!moments_) return;
  output.moments = static_cast<TileMoments*>(moments_.raw()) + phase * tiles_ * output.channels;
  output.moments_apart = moments_.shape()[1] * output.channels;
}

void ResultMoments::keep() const {
  if (!moments_) return;
  written_->keep_derived(&kKey, std::make_shared<const Left>(Left{written_->shape(), moments_, Recording::current_pass()}));
}

int64_t moment_bytes(const WindowProducts& products, int64_t pixels, int64_t channels) {
  return products.moment_rows ? divided_up(pixels, kFewestMomentRows) * channels * int64_t{sizeof(TileMoments)} : 0;
}

Tensor moments_left(const Tensor& tensor) {
  const auto left = std::static_pointer_cast<const Left>(tensor.derived(&kKey));
  const bool fits = left && left->of == tensor.shape() && left->made_in == Recording::current_pass();
  return fits ? left->moments : Tensor();
}

}  // namespace minidl::cuda
