#pragma once
#include <minidl/kernels/conv2d.h>

#include <span>

namespace minidl::cuda {

/// The one of `candidates` (not empty) that is fastest on the device, by execution::tuning_file(). What has not been
/// measured yet is timed now, on tensors of its own beside the caller's; in the recording of a graph, which must not
/// wait, the first candidate is taken then.
const Conv2dEngine& tuned_engine(std::span<const Conv2dEngine* const> candidates, const Conv2dProblem& problem,
                                 Device device);

}  // namespace minidl::cuda
