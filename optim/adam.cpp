#include <minidl/optim/adam.h>

#include <cmath>
#include <map>
#include <utility>

namespace minidl::optim {
namespace {

std::string first_name(size_t i) {
  return "first_moment." + std::to_string(i);
}
std::string second_name(size_t i) {
  return "second_moment." + std::to_string(i);
}

}  // namespace

Adam::Adam(std::vector<Variable> parameters, AdamSettings settings, std::vector<float> lr_factors)
    : Optimizer(std::move(parameters)),
      settings_(settings),
      lr_factors_(std::move(lr_factors)),
      moments_(parameters_.size()) {
  check_not_negative(settings.lr, "lr", "adam");
  check_not_negative(settings.weight_decay, "weight_decay", "adam");
  MINIDL_CHECK(settings.beta1 >= 0 && settings.beta1 < 1 && settings.beta2 >= 0 && settings.beta2 < 1,
               "[adam] beta1 is {} and beta2 is {}, they must be in [0, 1)", settings.beta1, settings.beta2);
  MINIDL_CHECK(std::isfinite(settings.eps) && settings.eps > 0, "[adam] eps is {}, it must be positive", settings.eps);
  if (lr_factors_.empty()) lr_factors_.assign(parameters_.size(), 1.0f);
  MINIDL_CHECK(lr_factors_.size() == parameters_.size(),
               "[adam] {} factors of the learning rate for {} parameters: one for each", lr_factors_.size(),
               parameters_.size());
  for (const float factor : lr_factors_) check_not_negative(factor, "a factor of lr", "adam");
}

void Adam::step() {
  std::map<float, std::vector<AdamTensors>> updates;  // by factor
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& grad = parameters_[i].grad();
    if (!grad) continue;
    const Tensor& value = parameters_[i].mutable_value();
    Moments& moments = moments_[i];
    if (moments.steps == 0) {
      moments.first = zeros_like(value);
      moments.second = zeros_like(value);
    }
    updates[lr_factors_[i]].push_back({moments.steps + 1, grad, moments.first, moments.second, value});
  }
  for (auto& [factor, of_factor] : updates) {
    AdamSettings settings = settings_;
    settings.lr *= factor;
    adam_update(settings, of_factor);
  }
  for (size_t i = 0; i < parameters_.size(); ++i) moments_[i].steps += parameters_[i].grad() ? 1 : 0;
}

void Adam::set_lr(float lr) {
  check_not_negative(lr, "lr", "adam");
  settings_.lr = lr;
}

State Adam::state() const {
  State state;
  Tensor steps = Tensor::empty({static_cast<int64_t>(moments_.size())}, Dtype::i64);
  for (size_t i = 0; i < moments_.size(); ++i) {
    const Moments& moments = moments_[i];
    steps.data<int64_t>()[i] = moments.steps;
    if (moments.steps == 0) continue;
    state[first_name(i)] = moments.first.clone();
    state[second_name(i)] = moments.second.clone();
  }
  state["steps"] = steps;
  return state;
}

void Adam::load_state(const State& state) {
  std::vector<Moments> loaded(parameters_.size());
  const Tensor& steps = state_entry(state, "steps", {static_cast<int64_t>(loaded.size())}, Dtype::i64, "adam");
  for (size_t i = 0; i < loaded.size(); ++i) {
    const Shape& shape = parameters_[i].shape();
    loaded[i].steps = steps.data<int64_t>()[i];
    MINIDL_CHECK(loaded[i].steps >= 0, "[adam] the state has step {} for parameter {}", loaded[i].steps, i);
    if (loaded[i].steps == 0) continue;
    loaded[i].first =
        state_entry(state, first_name(i), shape, Dtype::f32, "adam").clone().to(parameters_[i].value().device());
    loaded[i].second =
        state_entry(state, second_name(i), shape, Dtype::f32, "adam").clone().to(parameters_[i].value().device());
  }
  moments_ = std::move(loaded);
}

}  // namespace minidl::optim
