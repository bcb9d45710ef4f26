#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/recording.h>
#include <minidl/core/error.h>

namespace minidl::cuda {
namespace {

[[noreturn]] void fail_absent() {
  fail("[cuda] {}", unavailable_reason());
}

}  // namespace

int device_count() {
  return 0;
}

const std::string& unavailable_reason() {
  static const std::string reason = "this build of libminidl has no CUDA backend; use 'cpu' or 'auto'";
  return reason;
}

std::string machine_name(int) {
  fail_absent();
}

DeviceScope::DeviceScope(int) {
  fail_absent();
}
DeviceScope::~DeviceScope() = default;

Device current_device() {
  fail_absent();
}

Allocator& allocator(int index) {
  fail("[cuda] cuda:{} is not usable: {}", index, unavailable_reason());
}

void copy(void*, Device, const void*, Device, size_t) {
  fail_absent();
}

void clear(void*, size_t, int) {
  fail_absent();
}

void fill(float*, int64_t, float, int) {
  fail_absent();
}

void synchronize(int) {
  fail_absent();
}

struct Recording::Impl {};

Recording::Recording(int) {
  fail_absent();
}
Recording::~Recording() = default;
Recording::Recording(Recording&&) noexcept = default;
void Recording::run(const std::function<void()>&) {
  fail_absent();
}
void Recording::reset() {
  fail_absent();
}
bool Recording::is_recorded() const {
  return false;
}
bool Recording::is_recording() const {
  return false;
}
Tensor Recording::outside_store(const std::function<Tensor()>&) {
  fail_absent();
}
bool Recording::rely_on(const Tensor&, const Tensor&) {
  fail_absent();
}
Recording* Recording::current() {
  return nullptr;
}
uint64_t Recording::current_pass() {
  return 0;
}
Tensor Recording::read(const Tensor&, double, const Tensor&, Dtype) {
  fail_absent();
}

}  // namespace minidl::cuda
