#include <minidl/optim/optimizer.h>

#include <cmath>
#include <utility>

namespace minidl::optim {

const Tensor& state_entry(const State& state, const std::string& name, const Shape& shape, Dtype dtype,
                          const char* op) {
  const auto entry = state.find(name);
  MINIDL_CHECK(entry != state.end(), "[{}] the state has no entry '{}': it belongs to another optimiser or model", op,
               name);
  const Tensor& tensor = entry->second;
  MINIDL_CHECK(tensor && tensor.shape() == shape && tensor.dtype() == dtype,
               "[{}] entry '{}' of the state has shape {} and type {}, expected {} and {}", op, name, tensor.shape(),
               to_string(tensor.dtype()), shape, to_string(dtype));
  return tensor;
}

Optimizer::Optimizer(std::vector<Variable> parameters) : parameters_(std::move(parameters)) {
  for (const Variable& parameter : parameters_)
    MINIDL_CHECK(parameter, "[optimizer] a parameter is an undefined variable");
}

void Optimizer::zero_grad() {
  for (Variable& parameter : parameters_) parameter.zero_grad();
}

Tensor Optimizer::zeros_like(const Tensor& x) {
  return Tensor::zeros(x.shape(), Dtype::f32, x.device());
}

void Optimizer::check_not_negative(float value, const char* name, const char* op) {
  MINIDL_CHECK(std::isfinite(value) && value >= 0, "[{}] {} is {}, it must be finite and not negative", op, name,
               value);
}

}  // namespace minidl::optim
