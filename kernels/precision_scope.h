#pragma once
#include <minidl/kernels/execution.h>

namespace minidl::execution {

/// A grade of precision for as long as the object lives.
class PrecisionScope {
 public:
  /// Throws Error as set_precision does.
  explicit PrecisionScope(Precision grade) : before_(precision()) { set_precision(grade); }
  ~PrecisionScope() { set_precision(before_); }
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  Precision before_;
};

}  // namespace minidl::execution
