#pragma once
#include <gtest/gtest.h>

#include <minidl/core/tensor.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace minidl::test {

/// ||actual - expected|| / ||expected||, in f64; the norm of the difference itself where expected is all zero.
template <typename Actual, typename Expected>
double normalised_error(std::span<const Actual> actual, std::span<const Expected> expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double difference = 0.0, reference = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    reference += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(difference) / (reference > 0.0 ? std::sqrt(reference) : 1.0);
}
inline double normalised_error(const Tensor& actual, const std::vector<double>& expected) {
  return normalised_error(actual.span<float>(), std::span<const double>(expected));
}
inline double normalised_error(const Tensor& actual, const Tensor& expected) {
  return normalised_error(actual.span<float>(), expected.span<float>());
}

/// Sum of x * y in f64: the inner product of adjoint checks.
inline double inner_product(const Tensor& x, const Tensor& y) {
  const std::span<const float> a = x.span<float>(), b = y.span<float>();
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// Elements of an f32 tensor in f64.
inline std::vector<double> to_doubles(const Tensor& x) {
  const std::span<const float> values = x.span<float>();
  return {values.begin(), values.end()};
}

/// Same shape, type and bytes.
inline bool same_bytes(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  return a.count() == 0 || std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0;
}

/// Every element equals the exact one (compare with == : -0 and 0 are the same); names the first that does not.
inline ::testing::AssertionResult equals(const Tensor& actual, const std::vector<double>& expected) {
  const std::span<const float> values = actual.span<float>();
  if (values.size() != expected.size()) {
    return ::testing::AssertionFailure() << values.size() << " elements, expected " << expected.size();
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (static_cast<double>(values[i]) != expected[i]) {
      return ::testing::AssertionFailure()
             << "element " << i << " of " << values.size() << " in " << actual.shape().str() << " is " << values[i]
             << ", expected " << expected[i];
    }
  }
  return ::testing::AssertionSuccess();
}
inline ::testing::AssertionResult equals(const Tensor& actual, const Tensor& expected) {
  return equals(actual, to_doubles(expected));
}

/// `action` throws minidl::Error with `words` somewhere in its message.
inline ::testing::AssertionResult throws_error(const std::function<void()>& action, const std::string& words) {
  try {
    action();
  } catch (const Error& error) {
    if (std::string(error.what()).find(words) != std::string::npos) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "the message is \"" << error.what() << "\", expected it to contain \""
                                         << words << "\"";
  }
  return ::testing::AssertionFailure() << "nothing was thrown, expected an Error with \"" << words << "\"";
}

}  // namespace minidl::test
