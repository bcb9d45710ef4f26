#include <minidl/core/allocator.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/tensor.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace minidl {

struct Tensor::Storage {
  Storage(size_t size, Device where) : memory(allocator(where)), pointer(memory.allocate(size)), device(where) {}
  ~Storage() { memory.deallocate(pointer); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Allocator& memory;
  void* pointer;
  Device device;
  std::atomic<uint64_t> version{0};

  struct Derived {
    const void* key;
    int64_t offset_bytes;
    std::shared_ptr<const void> value;
  };
  std::mutex mutex;  // of what follows
  uint64_t derived_version = 0;
  std::optional<uint64_t> shared_version;  // of the contents of which what is derived is shared
  std::vector<Derived> derived;
};

Tensor Tensor::empty(Shape shape, Dtype dtype, Device device) {
  const auto element = static_cast<int64_t>(size_of(dtype));
  MINIDL_CHECK(shape.count() <= std::numeric_limits<int64_t>::max() / element, "[tensor] shape {} of {} is too large", shape,
               to_string(dtype));
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.storage_ = std::make_shared<Storage>(static_cast<size_t>(shape.count() * element), device);
  return tensor;
}

Tensor Tensor::zeros(Shape shape, Dtype dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  if (tensor.count() == 0) return tensor;
  if (device.kind == Device::Kind::cuda) {
    cuda::clear(tensor.raw(), static_cast<size_t>(tensor.bytes()), device.index);
  } else {
    std::memset(tensor.raw(), 0, static_cast<size_t>(tensor.bytes()));
  }
  return tensor;
}

Tensor Tensor::full(Shape shape, float value, Device device) {
  Tensor tensor = empty(shape, Dtype::f32, device);
  tensor.fill(value);
  return tensor;
}

Tensor Tensor::from(std::span<const float> values, Shape shape) {
  MINIDL_CHECK(static_cast<int64_t>(values.size()) == shape.count(), "[tensor] {} values given for shape {}", values.size(), shape);
  Tensor tensor = empty(shape);
  std::copy(values.begin(), values.end(), tensor.data<float>());
  return tensor;
}

Device Tensor::device() const { return storage_ ? storage_->device : Device::cpu(); }

void* Tensor::address() const { return storage_ ? static_cast<char*>(storage_->pointer) + offset_bytes_ : nullptr; }

void* Tensor::raw_checked(Dtype wanted) const {
  MINIDL_CHECK(storage_, "[tensor] data of an undefined tensor was asked for");
  MINIDL_CHECK(wanted == dtype_, "[tensor] data asked for as {}, but the tensor {} holds {}", to_string(wanted), shape_, to_string(dtype_));
  return address();
}

void Tensor::bump_version() {
  if (storage_) storage_->version.fetch_add(1, std::memory_order_relaxed);
}

std::shared_ptr<const void> Tensor::derived(const void* key) const {
  const std::scoped_lock lock(storage_->mutex);
  if (storage_->derived_version != storage_->version) return nullptr;
  for (const Storage::Derived& kept : storage_->derived) {
    if (kept.key == key && kept.offset_bytes == offset_bytes_) return kept.value;
  }
  return nullptr;
}

void Tensor::keep_derived(const void* key, std::shared_ptr<const void> value) const {
  std::vector<Storage::Derived> old;  // destroyed when the lock is no longer held
  const std::scoped_lock lock(storage_->mutex);
  if (storage_->derived_version != storage_->version) old.swap(storage_->derived);
  storage_->derived_version = storage_->version;
  for (Storage::Derived& kept : storage_->derived) {
    if (kept.key != key || kept.offset_bytes != offset_bytes_) continue;
    old.push_back(std::exchange(kept, {key, offset_bytes_, std::move(value)}));
    return;
  }
  storage_->derived.push_back({key, offset_bytes_, std::move(value)});
}

std::shared_ptr<const void> Tensor::take_derived(const void* key) const {
  const std::scoped_lock lock(storage_->mutex);
  if (storage_->derived_version != storage_->version) return nullptr;
  for (Storage::Derived& kept : storage_->derived) {
    if (kept.key != key || kept.offset_bytes != offset_bytes_) continue;
    const bool shared = storage_->shared_version == storage_->version;
    return shared ? kept.value : std::exchange(kept.value, nullptr);
  }
  return nullptr;
}

void Tensor::share_derived() const {
  const std::scoped_lock lock(storage_->mutex);
  storage_->shared_version = storage_->version;
}

void Tensor::forget_derived() const {
  std::vector<Storage::Derived> old;  // destroyed when the lock is no longer held
  const std::scoped_lock lock(storage_->mutex);
  if (storage_->shared_version != storage_->version) old.swap(storage_->derived);
}

uint64_t Tensor::version() const { return storage_ ? storage_->version.load(std::memory_order_relaxed) : 0; }

Tensor Tensor::reshape(Shape shape) const {
  MINIDL_CHECK(shape.count() == count(), "[tensor] reshape from {} to {} changes the number of elements", shape_, shape);
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  MINIDL_CHECK(shape_.rank() > 0 && 0 <= begin && begin <= end && end <= shape_[0], "[tensor] slice {} to {} is outside shape {}", begin,
               end, shape_);
  const int64_t row = shape_[0] > 0 ? count() / shape_[0] : 0;
  std::array<int64_t, Shape::kMaxRank> extents{};
  std::copy(shape_.begin(), shape_.end(), extents.begin());
  extents[0] = end - begin;
  Tensor view = *this;
  view.shape_ = Shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(shape_.rank())));
  view.offset_bytes_ += begin * row * static_cast<int64_t>(size_of(dtype_));
  return view;
}

Tensor Tensor::to(Device device) const {
  if (!storage_ || storage_->device == device) return *this;
  Tensor copy = empty(shape_, dtype_, device);
  cuda::copy(copy.raw(), device, raw(), storage_->device, static_cast<size_t>(bytes()));
  return copy;
}

Tensor Tensor::clone() const {
  if (!storage_) return {};
  Tensor copy = empty(shape_, dtype_, storage_->device);
  copy.copy_from(*this);
  return copy;
}

void Tensor::copy_from(const Tensor& source) {
  MINIDL_CHECK(storage_ && source.storage_ && shape_ == source.shape_ && dtype_ == source.dtype_,
               "[tensor] copy of {} {} into {} {}: shape and type must be the same", to_string(source.dtype_), source.shape_,
               to_string(dtype_), shape_);
  if (count() == 0) return;
  const Device from = source.device();
  if (device().kind == Device::Kind::cuda || from.kind == Device::Kind::cuda) {
    cuda::copy(raw(), device(), source.raw(), from, static_cast<size_t>(bytes()));
  } else {
    std::memmove(raw(), source.raw(), static_cast<size_t>(bytes()));
  }
}

void Tensor::fill(float value) {
  if (device().kind == Device::Kind::cuda) return cuda::fill(data<float>(), count(), value, device().index);
  const std::span<float> elements = span<float>();
  std::fill(elements.begin(), elements.end(), value);
}

float Tensor::item() const {
  MINIDL_CHECK(count() == 1, "[tensor] item() of a tensor with shape {}: it needs exactly one element", shape_);
  return *to(Device::cpu()).data<float>();
}

namespace {

float to_float(const void* source, Dtype dtype, int64_t i) {
  switch (dtype) {
    case Dtype::f32: return static_cast<const float*>(source)[i];
    case Dtype::f16: return half_to_float(static_cast<const uint16_t*>(source)[i]);
    case Dtype::bf16: return bfloat16_to_float(static_cast<const uint16_t*>(source)[i]);
    case Dtype::u8: return static_cast<const uint8_t*>(source)[i];
    case Dtype::i8: return static_cast<const int8_t*>(source)[i];
    default: fail("[tensor] no conversion from {}", to_string(dtype));
  }
}

void from_float(float value, void* target, Dtype dtype, int64_t i) {
  switch (dtype) {
    case Dtype::f32: static_cast<float*>(target)[i] = value; return;
    case Dtype::f16: static_cast<uint16_t*>(target)[i] = float_to_half(value); return;
    case Dtype::bf16: static_cast<uint16_t*>(target)[i] = float_to_bfloat16(value); return;
    default: fail("[tensor] no conversion to {}", to_string(dtype));
  }
}

}  // namespace

Tensor Tensor::to(Dtype dtype) const {
  if (!storage_ || dtype == dtype_) return *this;
  if (storage_->device.kind == Device::Kind::cuda) return to(Device::cpu()).to(dtype).to(storage_->device);
  Tensor converted = empty(shape_, dtype, storage_->device);
  void* target = converted.raw();
  const void* source = raw();
  for (int64_t i = 0; i < count(); ++i) from_float(to_float(source, dtype_, i), target, dtype, i);
  return converted;
}

}  // namespace minidl
