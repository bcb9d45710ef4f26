#pragma once
#include <minidl/core/tensor.h>

#include <functional>

namespace minidl::cuda {

/// The form of a weight that a direction multiplies by, kept under `form` (filter_cache.h) if it is to be kept. A
/// recording has it made before, where the weight did not change since its first run; else it makes it each time, as in
/// training.
Tensor weight_form(bool keep, const Tensor& weight, const void* form, const std::function<Tensor()>& make);

}  // namespace minidl::cuda
