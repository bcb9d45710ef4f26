#pragma once
#include <minidl/core/tensor.h>

#include <functional>

namespace minidl {

/// The filters of `weight` in the form that an engine multiplies by, made by `make`. Weights that are used a second
/// time unchanged keep it while all kept forms together fit into execution::filter_cache(): those in training change
/// with every step. `form` is the address of an object that stands for the engine and the direction.
Tensor kept_filters(const Tensor& weight, const void* form, const std::function<Tensor()>& make);
/// The same for an engine that can do with a part of the filters at a time: where their `bytes` are not kept, nothing
/// is made, and the result is undefined.
Tensor filters_if_kept(const Tensor& weight, const void* form, int64_t bytes, const std::function<Tensor()>& make);

/// Those of a weight that is known to be used again: kept from the first use on, when there is room.
Tensor filters_kept_at_once(const Tensor& weight, const void* form, const std::function<Tensor()>& make);
/// What is kept; undefined: nothing.
Tensor filters_there(const Tensor& weight, const void* form);

}  // namespace minidl
