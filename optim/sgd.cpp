#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/optim/sgd.h>

#include <utility>

namespace minidl::optim {
namespace {

std::string velocity_name(size_t i) {
  return "velocity." + std::to_string(i);
}

}  // namespace

Sgd::Sgd(std::vector<Variable> parameters, SgdSettings settings)
    : Optimizer(std::move(parameters)), settings_(settings), velocity_(parameters_.size()) {
  check_not_negative(settings.lr, "lr", "sgd");
  check_not_negative(settings.weight_decay, "weight_decay", "sgd");
  MINIDL_CHECK(settings.momentum >= 0 && settings.momentum < 1, "[sgd] momentum is {}, it must be in [0, 1)",
               settings.momentum);
}

void Sgd::step() {
  const auto [lr, momentum, weight_decay] = settings_;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& grad = parameters_[i].grad();
    if (!grad) continue;
    Tensor& value = parameters_[i].mutable_value();
    if (momentum == 0) {
      add_scaled(-lr, grad, 1 - lr * weight_decay, value, value);
    } else {
      if (!velocity_[i]) velocity_[i] = zeros_like(value);
      sgd_update(lr, momentum, weight_decay, grad, velocity_[i], value);
    }
  }
}

void Sgd::set_lr(float lr) {
  check_not_negative(lr, "lr", "sgd");
  settings_.lr = lr;
}

State Sgd::state() const {
  State state;
  if (settings_.momentum == 0) return state;
  for (size_t i = 0; i < velocity_.size(); ++i) {
    state[velocity_name(i)] = velocity_[i] ? velocity_[i].clone() : zeros_like(parameters_[i].value());
  }
  return state;
}

void Sgd::load_state(const State& state) {
  if (settings_.momentum == 0) return;
  std::vector<Tensor> velocity;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    velocity.push_back(state_entry(state, velocity_name(i), parameters_[i].shape(), Dtype::f32, "sgd")
                           .clone()
                           .to(parameters_[i].value().device()));
  }
  velocity_ = std::move(velocity);
}

}  // namespace minidl::optim
