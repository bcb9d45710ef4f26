#include <minidl/core/error.h>
#include <minidl/optim/schedule.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace minidl::optim {
namespace {

void check_rate(float lr, const char* name) {
  MINIDL_CHECK(std::isfinite(lr) && lr >= 0, "[schedule] {} is {}, it must be finite and not negative", name, lr);
}

}  // namespace

Schedule constant(float lr) {
  check_rate(lr, "lr");
  return [lr](int64_t) { return lr; };
}

Schedule step_decay(float lr, int64_t every, float factor) {
  check_rate(lr, "lr");
  MINIDL_CHECK(every >= 1, "[schedule] every is {}, it must be at least 1", every);
  MINIDL_CHECK(factor > 0 && factor <= 1, "[schedule] factor is {}, it must be in (0, 1]", factor);
  return [=](int64_t step) {
    return static_cast<float>(lr * std::pow(static_cast<double>(factor), static_cast<double>(step / every)));
  };
}

Schedule cosine(float lr, int64_t steps, float final_lr) {
  check_rate(lr, "lr");
  check_rate(final_lr, "final_lr");
  MINIDL_CHECK(steps >= 1, "[schedule] steps is {}, it must be at least 1", steps);
  return [=](int64_t step) {
    const double share = static_cast<double>(std::min(step, steps)) / static_cast<double>(steps);
    const double weight = 0.5 * (1 + std::cos(std::numbers::pi * share));
    return static_cast<float>(weight * lr + (1 - weight) * final_lr);
  };
}

Schedule linear_warm_up(int64_t steps, Schedule schedule) {
  MINIDL_CHECK(steps >= 0, "[schedule] steps is {}, it must not be negative", steps);
  MINIDL_CHECK(schedule != nullptr, "[schedule] warm-up of an empty schedule");
  return [steps, schedule = std::move(schedule)](int64_t step) {
    const float lr = schedule(step);
    return step < steps ? lr * static_cast<float>(step + 1) / static_cast<float>(steps) : lr;
  };
}

}  // namespace minidl::optim
