#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace minidl::cuda {

/// Work on a CUDA device that is done again and again with the same tensors. Its first time it is done as it is, so
/// that what is prepared once is prepared; the second time it is recorded as a CUDA graph; from then on the recording
/// is started as a whole, and the host's part, `work` itself, is not done again: what it made stays where it is, and
/// holds new values. Tensors that work makes come from a store of memory of its own, which nothing else uses.
/// While it runs, no other thread may use the device.
///
/// Work that cannot be recorded, because it waits for the device, is done each time, and so is everything with
/// MINIDL_CUDA_GRAPHS=0 or MINIDL_CUDA_CACHING=0 in the environment.
class Recording {
 public:
  /// Throws Error when there is no such device.
  explicit Recording(int index);
  ~Recording();
  Recording(Recording&&) noexcept;

  /// Does the work and waits for it. What work throws is passed on; then the next run is a first one again.
  void run(const std::function<void()>& work);
  /// Forgets the recording: the next run is a first one. For other tensors, shapes or settings.
  void reset();
  /// Whether the next run only starts what was recorded.
  bool is_recorded() const;

  /// Whether work is being recorded, so that nothing is computed now.
  bool is_recording() const;
  /// For use in work: what `make` allocates is not of the recording's store, and stays when that goes.
  Tensor outside_store(const std::function<Tensor()>& make);
  /// For use in work: what is recorded reads `derived`, which was computed from the contents that `source` has now. It
  /// keeps both, and when source was opened for writing since, the next run is a first one; what another recording
  /// writes when it is repeated is not noticed. False, and then work must not, when work itself writes to what it
  /// relied on, or when others did for a second time.
  bool rely_on(const Tensor& source, const Tensor& derived);

  /// The one whose work is being done on this thread, or nullptr.
  static Recording* current();
  /// A number of its own for each time that work is done on this thread; 0 outside of work. What one time leaves must
  /// not be read by another one, which may be recorded.
  static uint64_t current_pass();
  /// A scalar [] of f32 or f64 on the CPU that holds coefficient * value * times whenever run() has returned. `value`
  /// and `times`, 1 when undefined, are each one f64 on the device. For use in work.
  Tensor read(const Tensor& value, double coefficient, const Tensor& times = {}, Dtype dtype = Dtype::f32);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minidl::cuda
