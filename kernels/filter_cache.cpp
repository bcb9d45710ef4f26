#include <minidl/core/profile.h>
#include <minidl/kernels/cpu/simd.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/filter_cache.h>

#include <atomic>
#include <memory>

namespace minidl {
namespace {

std::atomic<int64_t> bytes_kept{0};

/// A form of a weight, or only the note that it was asked for once.
struct Kept {
  Shape shape;                                       // of the weight: a reshaped view of it has other filters
  const cpu::InstructionSet* layout = &cpu::simd();  // whose vectors the filters are laid out for
  Tensor filters;

  Kept(const Shape& weight_shape, Tensor form) : shape(weight_shape), filters(std::move(form)) {
    bytes_kept += filters.bytes();
  }
  ~Kept() { bytes_kept -= filters.bytes(); }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
};

/// nullptr for weights that were not asked for since they changed.
std::shared_ptr<const Kept> find(const Tensor& weight, const void* form) {
  auto kept = std::static_pointer_cast<const Kept>(weight.derived(form));
  return kept && kept->shape == weight.shape() && kept->layout == &cpu::simd() ? kept : nullptr;
}

bool have_room(int64_t bytes) {
  return bytes_kept + bytes <= execution::filter_cache();
}

Tensor make_filters(const std::function<Tensor()>& make) {
  const ProfileRange range("filters");
  return make();
}

void keep(const Tensor& weight, const void* form, Tensor filters) {
  weight.keep_derived(form, std::make_shared<const Kept>(weight.shape(), std::move(filters)));
}

}  // namespace

Tensor kept_filters(const Tensor& weight, const void* form, const std::function<Tensor()>& make) {
  const auto seen = find(weight, form);
  if (seen && seen->filters) return seen->filters;
  const Tensor filters = make_filters(make);
  if (!seen) {
    keep(weight, form, Tensor());
  } else if (have_room(filters.bytes())) {
    keep(weight, form, filters);
  }
  return filters;
}

Tensor filters_if_kept(const Tensor& weight, const void* form, int64_t bytes, const std::function<Tensor()>& make) {
  const auto seen = find(weight, form);
  if (seen && (seen->filters || have_room(bytes))) return kept_filters(weight, form, make);
  if (!seen) weight.keep_derived(form, std::make_shared<const Kept>(weight.shape(), Tensor()));
  return {};
}

Tensor filters_kept_at_once(const Tensor& weight, const void* form, const std::function<Tensor()>& make) {
  const auto seen = find(weight, form);
  if (seen && seen->filters) return seen->filters;
  const Tensor filters = make_filters(make);
  if (have_room(filters.bytes())) keep(weight, form, filters);
  return filters;
}

Tensor filters_there(const Tensor& weight, const void* form) {
  const auto seen = find(weight, form);
  if (!seen) keep(weight, form, Tensor());  // in place of those of earlier contents, whose memory goes
  return seen ? seen->filters : Tensor();
}

}  // namespace minidl
