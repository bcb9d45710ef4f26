#include <minidl/core/profile.h>
#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/dispatch.h>

#include <utility>
#include <vector>

namespace minidl {

void adam_update(const AdamSettings& settings, int64_t step, const Tensor& grad, Tensor& first_moment,
                 Tensor& second_moment, Tensor& parameter) {
  AdamTensors one{step, grad, first_moment, second_moment, parameter};
  adam_update(settings, std::span(&one, 1));
}

void adam_update(const AdamSettings& settings, std::span<AdamTensors> parameters) {
  MINIDL_CHECK(settings.beta1 >= 0.0f && settings.beta1 < 1.0f && settings.beta2 >= 0.0f && settings.beta2 < 1.0f,
               "[adam] beta1 {} and beta2 {} must be at least 0 and below 1", settings.beta1, settings.beta2);
  MINIDL_CHECK(settings.eps > 0.0f, "[adam] eps is {}, it must be positive", settings.eps);
  std::vector<AdamArrays> arrays;
  for (auto& [step, grad, first_moment, second_moment, parameter] : parameters) {
    check_f32(parameter, "adam", "parameter");
    check_shape(grad, parameter.shape(), "adam", "grad");
    check_shape(first_moment, parameter.shape(), "adam", "first_moment");
    check_shape(second_moment, parameter.shape(), "adam", "second_moment");
    common_device("adam", parameters.front().parameter, parameter, grad, first_moment, second_moment);
    MINIDL_CHECK(step >= 1, "[adam] step is {}, it counts from 1", step);
    arrays.push_back({step, grad.count(), std::as_const(grad).data<float>(), first_moment.data<float>(),
                      second_moment.data<float>(), parameter.data<float>()});
  }
  if (parameters.empty()) return;
  const ProfileRange range("adam");
  const Device device = parameters.front().parameter.device();
  MINIDL_ON(device, adam_update(settings, arrays));
}

void sgd_update(float lr, float momentum, float weight_decay, const Tensor& grad, Tensor& velocity, Tensor& parameter) {
  check_f32(parameter, "sgd", "parameter");
  check_shape(grad, parameter.shape(), "sgd", "grad");
  check_shape(velocity, parameter.shape(), "sgd", "velocity");
  const ProfileRange range("sgd");
  MINIDL_ON(common_device("sgd", parameter, grad, velocity),
            sgd_update({lr, momentum, weight_decay}, grad.count(), grad.data<float>(), velocity.data<float>(),
                       parameter.data<float>()));
}

}  // namespace minidl
