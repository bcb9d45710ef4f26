#pragma once
#include <minidl/core/device.h>
#include <minidl/core/dtype.h>
#include <minidl/core/shape.h>

#include <cstdint>
#include <memory>
#include <span>

namespace minidl {

/// A shape and an element type over shared storage on one device. Always contiguous, the last dimension fastest. Copying a Tensor copies
/// the handle; clone() copies the elements. A default-constructed Tensor is undefined: it has no storage and converts to false.
///
/// Asking for mutable data counts as writing: it raises the storage's version, by which the tape notices that a tensor it saved was
/// overwritten (see Saved in tape.h). Read through a const Tensor.
class Tensor {
 public:
  Tensor() = default;

  /// Contents undefined.
  static Tensor empty(Shape shape, Dtype dtype = Dtype::f32, Device device = Device::cpu());
  static Tensor zeros(Shape shape, Dtype dtype = Dtype::f32, Device device = Device::cpu());
  /// f32, every element `value`.
  static Tensor full(Shape shape, float value, Device device = Device::cpu());
  /// f32 copy of `values`, whose length must be shape.count().
  static Tensor from(std::span<const float> values, Shape shape);

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  Dtype dtype() const { return dtype_; }
  Device device() const;
  int64_t count() const { return shape_.count(); }
  int64_t bytes() const { return count() * static_cast<int64_t>(size_of(dtype_)); }

  /// Pointer to the first element, in the memory of the tensor's device; throws Error when the tensor is undefined or T
  /// is not its element type. On the host only what lies on the CPU may be touched: to(Device::cpu()) is a copy there.
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(raw_checked(DtypeOf<T>::value));
  }
  template <typename T>
  T* data() {
    bump_version();
    return static_cast<T*>(raw_checked(DtypeOf<T>::value));
  }
  /// Untyped access; nullptr when there are no elements.
  const void* raw() const { return address(); }
  void* raw() {
    bump_version();
    return address();
  }
  template <typename T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<size_t>(count())};
  }
  template <typename T>
  std::span<T> span() {
    return {data<T>(), static_cast<size_t>(count())};
  }

  /// The same storage seen as `shape`, which must have the same number of elements.
  Tensor reshape(Shape shape) const;
  /// Rows [begin, end) of the first dimension; shares storage.
  Tensor slice(int64_t begin, int64_t end) const;
  /// This tensor when it is already there, else a copy on `device`. Waits for what computes it.
  Tensor to(Device device) const;
  /// This tensor when it already has the type, else a converted copy. Between the floating types f32, f16 and bf16, and from u8 and i8 to f32.
  Tensor to(Dtype dtype) const;
  Tensor clone() const;
  /// Copies the elements of `source`, which has the same shape and type and may lie on another device.
  void copy_from(const Tensor& source);
  void fill(float value);
  /// The only element of an f32 tensor. Waits for what computes it.
  float item() const;

  /// Number of times that the storage was opened for writing.
  uint64_t version() const;
  bool shares_storage_with(const Tensor& other) const { return storage_ && storage_ == other.storage_; }
  /// Whether another tensor holds the storage, too. One that nobody else holds may be overwritten unnoticed.
  bool is_shared() const { return storage_.use_count() > 1; }

  /// What keep_derived() left under `key` for the contents that start where this tensor does; nullptr when nothing was
  /// left or the storage was opened for writing since.
  std::shared_ptr<const void> derived(const void* key) const;
  /// Keeps something computed from these contents: it is not given out when the storage was opened for writing since, and
  /// freed with the next that is kept, with the storage, or by forget_derived(). nullptr takes it away.
  void keep_derived(const void* key, std::shared_ptr<const void> value) const;
  /// What derived() gives, and takes it away, unless it is shared.
  std::shared_ptr<const void> take_derived(const void* key) const;
  /// Until the storage is opened for writing, what is kept with it is for several readers: take_derived() leaves it.
  void share_derived() const;
  /// Frees everything that is kept with the storage, unless it is shared.
  void forget_derived() const;

 private:
  struct Storage;

  void* address() const;
  void* raw_checked(Dtype wanted) const;
  void bump_version();

  std::shared_ptr<Storage> storage_;
  int64_t offset_bytes_ = 0;
  Shape shape_{0};
  Dtype dtype_ = Dtype::f32;
};

}  // namespace minidl
