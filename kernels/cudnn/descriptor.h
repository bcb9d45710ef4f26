#pragma once
#include <minidl/kernels/cudnn/library.h>

#include <cstdint>
#include <span>
#include <utility>

namespace minidl::cudnn {

/// cuDNN's name for a type of attributes.
template <typename T>
inline constexpr cudnnBackendAttributeType_t kTypeName = [] {
  static_assert(sizeof(T) == 0, "not one of the types below");
  return CUDNN_TYPE_INT64;
}();
template <>
inline constexpr auto kTypeName<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr auto kTypeName<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr auto kTypeName<int32_t> = CUDNN_TYPE_INT32;
template <>
inline constexpr auto kTypeName<int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr auto kTypeName<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr auto kTypeName<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr auto kTypeName<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr auto kTypeName<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr auto kTypeName<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr auto kTypeName<cudnnNanPropagation_t> = CUDNN_TYPE_NAN_PROPOGATION;
template <>
inline constexpr auto kTypeName<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr auto kTypeName<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;
template <>
inline constexpr auto kTypeName<cudnnBackendBehaviorNote_t> = CUDNN_TYPE_BEHAVIOR_NOTE;

/// Owns one of cuDNN's descriptors; moves, never copies. Every call throws Error when cuDNN refuses.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check(library().cudnnBackendCreateDescriptor(type, &handle_), "making a descriptor");
  }
  ~Descriptor() {
    if (handle_) library().cudnnBackendDestroyDescriptor(handle_);
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  cudnnBackendDescriptor_t handle() const { return handle_; }

  template <typename T>
  void set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    set(name, kTypeName<T>, values.size(), values.data());
  }
  template <typename T>
  void set(cudnnBackendAttributeName_t name, const T& value) {
    set(name, kTypeName<T>, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.handle_);
  }
  void set_handles(cudnnBackendAttributeName_t name, std::span<const cudnnBackendDescriptor_t> values) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, values.size(), values.data());
  }
  /// After the last attribute; `what` it describes stands in the error.
  void finalize(const char* what) { check(library().cudnnBackendFinalize(handle_), what); }

  template <typename T>
  T get(cudnnBackendAttributeName_t name) const {
    T value{};
    get(name, std::span<T>(&value, 1));
    return value;
  }
  /// Fills `values` and returns how many there are.
  template <typename T>
  size_t get(cudnnBackendAttributeName_t name, std::span<T> values) const {
    return get(name, kTypeName<T>, values.size(), values.data());
  }
  /// The same for descriptors, which were made, but not finalized, by the caller. Without any: how many there would be.
  size_t get(cudnnBackendAttributeName_t name, std::span<Descriptor> values) const {
    static_assert(sizeof(Descriptor) == sizeof(cudnnBackendDescriptor_t), "an array of them is one of handles");
    return get(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, values.size(), values.data());
  }

 private:
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, size_t count, const void* values) {
    check(library().cudnnBackendSetAttribute(handle_, name, type, static_cast<int64_t>(count), values),
          "setting an attribute");
  }
  size_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, size_t count, void* values) const {
    int64_t present = 0;
    check(library().cudnnBackendGetAttribute(handle_, name, type, static_cast<int64_t>(count), &present,
                                             count > 0 ? values : nullptr),
          "reading an attribute");
    return static_cast<size_t>(present);
  }

  cudnnBackendDescriptor_t handle_ = nullptr;
};

}  // namespace minidl::cudnn
