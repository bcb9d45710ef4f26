#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/clip.h>

#include <cmath>

namespace minidl::optim {

double gradient_norm(const std::vector<Variable>& parameters) {
  double squared = 0;
  for (const Variable& parameter : parameters) {
    if (parameter.grad()) squared += squared_norm(parameter.grad());
  }
  return std::sqrt(squared);
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
