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

GramShape shape_of(const Tensor& features, float scale) {
  const Shape& shape = features.shape();
  return {shape[0], shape[1] * shape[2], shape[3], scale};
}

}  // namespace

void gram_forward(const Tensor& features, float scale, Tensor& gram) {
  check_gram(features, gram, "gram");
  const ProfileRange range("gram", "forward");
  MINIDL_ON(common_device("gram", features, gram),
            gram_forward(shape_of(features, scale), features.data<float>(), gram.data<float>()));
}

void gram_backward(const Tensor& features, const Tensor& grad_gram, float scale, const Accumulate& how,
                   Tensor& grad_features) {
  check_gram(features, grad_gram, "grad_gram");
  common_device("gram", features, grad_gram);
  Tensor symmetric = Tensor::empty(grad_gram.shape(), Dtype::f32, grad_gram.device());
  const Shape& shape = grad_gram.shape();
  MINIDL_ON(grad_gram.device(), add_transposed(shape[0], shape[1], grad_gram.data<float>(), symmetric.data<float>()));
  gram_backward_symmetric(features, symmetric, scale, how, grad_features);
}

Number gram_difference(const Tensor& features, float scale, const Tensor& target, float factor, Tensor& difference) {
  const GramDifference term{features, scale, target, factor, difference};
  return gram_differences({&term, 1}).front();
}

std::vector<Number> gram_differences(std::span<const GramDifference> terms) {
  if (terms.empty()) return {};
  const Device device = terms.front().features.device();
  std::vector<GramDifferenceArrays> arrays;
  for (const auto& [features, scale, target, factor, difference] : terms) {
    check_gram(features, difference, "difference");
    const Shape& shape = difference.shape();
    if (target.shape() != Shape({1, shape[1], shape[1]})) check_shape(target, shape, "gram", "target");
    MINIDL_CHECK(!difference.shares_storage_with(target) || difference.count() == 0,
                 "[gram] difference is the target; give it a tensor of its own");
    common_device("gram", terms.front().features, features, target, difference);
    const int64_t apart = target.shape()[0] == shape[0] ? shape[1] * shape[1] : 0;
    arrays.push_back({shape_of(features, scale), features.data<float>(), target.data<float>(), apart, factor,
                      difference.data<float>(), &difference});
  }
  const ProfileRange range("gram", "difference");
  return MINIDL_ON(device, gram_differences(arrays));
}

void gram_backward_symmetric(const Tensor& features, const Tensor& matrix, float scale, const Accumulate& how,
                             Tensor& grad_features) {
  check_gram(features, matrix, "matrix");
  check_shape(grad_features, features.shape(), "gram", "grad_features");
  check_accumulate(how, grad_features, "gram");
  const ProfileRange range("gram", "backward");
  MINIDL_ON(common_device("gram", features, matrix, grad_features),
            gram_backward_symmetric(shape_of(features, scale), {features, matrix, grad_features},
                                    grad_target(how, grad_features)));
}

}  // namespace minidl
