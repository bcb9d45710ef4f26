#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/clip.h>

#include <cmath>

namespace minidl::optim {

double gradient_norm(const std::vector<Variable>& parameters) {
  std::vector<Tensor> grads;
  for (const Variable& parameter : parameters) {
    if (parameter.grad()) grads.push_back(parameter.grad());
  }
  return std::sqrt(squared_norm_number(grads).get());
}

void clip_gradients(const std::vector<Variable>& parameters, double norm, double longest) {
  if (longest <= 0 || norm <= longest) return;
  for (Variable parameter : parameters) {
    if (!parameter.grad()) continue;
    Tensor& grad = parameter.mutable_grad();
    affine(static_cast<float>(longest / norm), grad, 0.0f, grad);
  }
}

}  // namespace minidl::optim
