#pragma once
#include <minidl/core/tensor.h>

#include <functional>

namespace minidl {

/// The filters of `weight` in the form that an engine multiplies by, made by `make`. Weights that are used a second
/// time unchanged keep it while all kept forms together fit into execution::filter_cache(): those in training change
/// with every step. `form` is the address of an object that stands for the engine and the direction.
Tensor kept_filters(const Tensor& weight, const void* form, const std::function<Tensor()>& make);

}  // namespace minidl
