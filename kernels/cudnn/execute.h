#pragma once
#include <minidl/kernels/cudnn/plans.h>

namespace minidl::cudnn {

/// The tensors of a request, or their gradients. Which of them is written the direction says.
struct Operands {
  const float* input;
  const float* weight;
  const float* output;
  const float* bias = nullptr;  // nullptr: the request has none
};

/// The plans for the device that is current.
Plans& current_plans();

/// Puts the work of a plan on the stream of the device that is current. Throws Error with the refusal when there is no
/// plan.
void execute(const Plan& plan, const Operands& operands);

}  // namespace minidl::cudnn
