#pragma once
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <vector>

namespace minidl::emulator {

/// An array of the device for a test: made from host values, copied back, freed at the end of the scope.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : count_(values.size()) {
    EXPECT_EQ(cudaMalloc(&pointer_, count_ * sizeof(T)), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(pointer_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  explicit DeviceArray(size_t count) : count_(count) {
    EXPECT_EQ(cudaMalloc(&pointer_, count * sizeof(T)), cudaSuccess);
  }
  ~DeviceArray() { cudaFree(pointer_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const { return static_cast<T*>(pointer_); }
  /// Empty after an error.
  std::vector<T> values() const {
    std::vector<T> values(count_);
    if (cudaMemcpy(values.data(), pointer_, count_ * sizeof(T), cudaMemcpyDeviceToHost) != cudaSuccess) values.clear();
    return values;
  }

 private:
  size_t count_;
  void* pointer_ = nullptr;
};

inline std::vector<float> random_values(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) value = distribution(generator);
  return values;
}

/// The kinds of what was found since the last call.
inline std::vector<Fault> found() {
  std::vector<Fault> faults;
  for (const Finding& finding : take_findings()) faults.push_back(finding.fault);
  return faults;
}

}  // namespace minidl::emulator
