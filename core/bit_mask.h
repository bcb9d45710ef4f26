#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>

namespace minidl {

/// Where the bits of a mask lie: bit i % 8 of byte i / 8 belongs to element i. Seven bytes after the last one with bits
/// may be read, so that a vector's bits can be fetched as one word.
struct BitSpan {
  const uint8_t* bits = nullptr;  // nullptr: no mask
  int64_t first = 0;              // what element 0 of the span is to the mask

  explicit operator bool() const { return bits != nullptr; }
  bool operator[](int64_t i) const { return (bits[(first + i) / 8] >> (first + i) % 8 & 1) != 0; }
  /// The same from element `offset` on.
  BitSpan from(int64_t offset) const { return {bits, first + offset}; }
};

/// One bit for each element of an f32 tensor of this shape, in memory order: a thirty-second of its size. What a
/// backward pass needs of a ReLU output is whether its values are positive, so the tape keeps this and lets the values
/// go. Copying copies the handle.
class BitMask {
 public:
  static constexpr int64_t kSlack = 7;  // readable bytes after the last one with bits

  BitMask() = default;
  /// Bits are undefined.
  BitMask(const Shape& shape, Device device) : shape_(shape), bits_(Tensor::empty({bytes(shape)}, Dtype::u8, device)) {}
  static int64_t bytes(const Shape& shape) { return (shape.count() + 7) / 8 + kSlack; }

  explicit operator bool() const { return static_cast<bool>(bits_); }
  const Shape& shape() const { return shape_; }
  Device device() const { return bits_.device(); }
  /// This mask when it is already there, else a copy on `device`.
  BitMask to(Device device) const {
    BitMask mask;
    mask.shape_ = shape_;
    mask.bits_ = bits_.to(device);
    return mask;
  }
  /// The bits from element `first` on, a multiple of 8, as a mask of `shape`; shares storage.
  BitMask part(int64_t first, const Shape& shape) const {
    BitMask mask;
    mask.shape_ = shape;
    mask.bits_ = bits_.slice(first / 8, first / 8 + bytes(shape));
    return mask;
  }
  BitSpan span() const { return {bits_.data<uint8_t>(), 0}; }
  uint8_t* data() { return bits_.data<uint8_t>(); }

 private:
  Shape shape_;
  Tensor bits_;  // undefined: no mask
};

}  // namespace minidl
