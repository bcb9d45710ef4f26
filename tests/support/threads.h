#pragma once
#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <support/compare.h>
#include <support/device.h>

#include <functional>
#include <vector>

namespace minidl::test {

/// Number of threads for a scope.
class WithThreads {
 public:
  explicit WithThreads(int threads) : before_(num_threads()) { set_num_threads(threads); }
  ~WithThreads() { set_num_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

/// `compute` gives the same bytes with 1, 2 and 5 threads; on a device, which has none of them, twice.
inline ::testing::AssertionResult same_for_all_threads(const std::function<Tensor()>& compute) {
  Tensor single;
  for (const int threads : on_cpu() ? std::vector<int>{1, 2, 5} : std::vector<int>{1, 2}) {
    const WithThreads scope(threads);
    const Tensor result = compute();
    if (!single) single = result;
    if (!same_bytes(single, result))
      return ::testing::AssertionFailure() << threads << " threads give other bytes than one";
  }
  return ::testing::AssertionSuccess();
}

}  // namespace minidl::test
