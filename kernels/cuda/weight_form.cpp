#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/cuda/weight_form.h>
#include <minidl/kernels/filter_cache.h>

namespace minidl::cuda {

Tensor weight_form(bool keep, const Tensor& weight, const void* form, const std::function<Tensor()>& make) {
  if (!keep) return make();
  Recording* const recording = Recording::current();
  if (!recording) return kept_filters(weight, form, make);
  if (!recording->is_recording()) {
    return recording->outside_store([&] { return filters_kept_at_once(weight, form, make); });
  }
  const Tensor filters = filters_there(weight, form);
  return filters && recording->rely_on(weight, filters) ? filters : make();
}

}  // namespace minidl::cuda
