#pragma once
#include <cstdint>
#include <functional>

namespace minidl::optim {

/// Learning rate of a step, counted from 0:
///   for (int64_t step = 0; step < steps; ++step) { optimizer.set_lr(schedule(step)); ... }
/// All functions here throw Error for arguments outside the ranges that they state.
using Schedule = std::function<float(int64_t step)>;

/// lr >= 0 at every step.
Schedule constant(float lr);
/// lr * factor^floor(step / every); lr >= 0, every >= 1, factor in (0, 1].
Schedule step_decay(float lr, int64_t every, float factor);
/// Half a cosine from lr at step 0 to final_lr at `steps` and after; steps >= 1, lr and final_lr >= 0 (Loshchilov &
/// Hutter 2017, equation 5).
Schedule cosine(float lr, int64_t steps, float final_lr = 0.0f);
/// Multiplies `schedule` by (step + 1) / steps in the first `steps` >= 0 steps; the schedule itself does not wait.
Schedule linear_warm_up(int64_t steps, Schedule schedule);

}  // namespace minidl::optim
