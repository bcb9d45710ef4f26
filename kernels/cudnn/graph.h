#pragma once
#include <minidl/kernels/cudnn/descriptor.h>
#include <minidl/kernels/cudnn/plans.h>

#include <deque>

namespace minidl::cudnn {

/// What the tensors of a request are called in its graph. A gradient has the name of what it is the gradient of.
enum TensorName : int64_t { kInput = 1, kWeight, kOutput, kBias };

/// The operation graph of a request, the last one, after all that it is made of.
std::deque<Descriptor> operation_graph(const Request& request);

}  // namespace minidl::cudnn
