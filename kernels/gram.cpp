#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/gram.h>

namespace minidl {
namespace {

void check_gram(const Tensor& features, const Tensor& gram, const char* name) {
  check_rank(features, 4, "gram", "features");
  const Shape& shape = features.shape();
  check_shape(gram, {shape[0], shape[3], shape[3]}, "gram", name);
}

}  // namespace

void gram_forward(const Tensor& features, float scale, Tensor& gram) {
  check_gram(features, gram, "gram");
  const Shape& shape = features.shape();
  const ProfileRange range("gram", "forward");
  MINIDL_ON(common_device("gram", features, gram),
            gram_forward({shape[0], shape[1] * shape[2], shape[3], scale}, features.data<float>(), gram.data<float>()));
}

void gram_backward(const Tensor& features, const Tensor& grad_gram, float scale, const Accumulate& how,
                   Tensor& grad_features) {
  check_gram(features, grad_gram, "grad_gram");
  const Shape& shape = features.shape();
  check_shape(grad_features, shape, "gram", "grad_features");
  check_accumulate(how, grad_features, "gram");
  const ProfileRange range("gram", "backward");
  MINIDL_ON(common_device("gram", features, grad_gram, grad_features),
            gram_backward({shape[0], shape[1] * shape[2], shape[3], scale}, features.data<float>(),
                          grad_gram.data<float>(), grad_target(how, grad_features)));
}

}  // namespace minidl
