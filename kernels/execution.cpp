#include <minidl/core/error.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cpu/simd.h>
#include <minidl/kernels/execution.h>

#include <atomic>
#include <cstdlib>

namespace minidl {
namespace {

constexpr struct {
  const char* name;
  Precision precision;
} kPrecisions[] = {
    {"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}, {"fp16", Precision::fp16}};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void check_engine(const std::string& name, const char* source) {
  if (name.empty()) return;
  std::string names;
  for (const Conv2dEngine* engine : conv2d_engines()) {
    if (name == engine->name) return;
    names += (names.empty() ? "" : ", ") + std::string(engine->name);
  }
  fail("[conv2d] {} names the engine '{}', which does not exist; this build has: {}", source, name, names);
}

/// A setting that begins as an environment variable says and is checked when it is first read.
class EngineSetting {
 public:
  explicit EngineSetting(const char* variable) : variable_(variable), name_(environment(variable)) {}
  const std::string& get() {
    if (!checked_) check_engine(name_, variable_);
    checked_ = true;
    return name_;
  }
  void set(std::string_view name) {
    const std::string wanted(name);
    check_engine(wanted, "the setting");
    name_ = wanted;
    checked_ = true;
  }

 private:
  const char* variable_;
  std::string name_;
  std::atomic<bool> checked_ = false;  // convolutions may run on several threads
};

struct Settings {
  Precision precision = Precision::fp32;
  EngineSetting engine{"MINIDL_CONV2D_ENGINE"};
  EngineSetting verify{"MINIDL_VERIFY"};
  std::string tuning_file = environment("MINIDL_TUNE");
  int64_t filter_cache = int64_t{32} << 20;
  bool verbose = !environment("MINIDL_VERBOSE").empty() && environment("MINIDL_VERBOSE") != "0";
};
Settings& settings() {
  static Settings instance;
  return instance;
}

}  // namespace

Precision parse_precision(std::string_view name) {
  for (const auto& entry : kPrecisions) {
    if (name == entry.name) return entry.precision;
  }
  fail("[precision] '{}' is not a precision; use fp32, tf32, bf16 or fp16", name);
}

std::string to_string(Precision precision) {
  for (const auto& entry : kPrecisions) {
    if (precision == entry.precision) return entry.name;
  }
  fail("[precision] {} is not a precision", static_cast<int>(precision));
}

namespace execution {

Precision precision() {
  return settings().precision;
}

void set_precision(Precision precision) {
#ifndef MINIDL_HAS_CUDA
  MINIDL_CHECK(precision != Precision::fp16,
               "[precision] precision 'fp16' is not available: it is for GPUs only; use fp32");
#endif
  settings().precision = precision;
}

const std::string& conv2d_engine() {
  return settings().engine.get();
}
void set_conv2d_engine(std::string_view name) {
  settings().engine.set(name);
}

const std::string& verify_engine() {
  return settings().verify.get();
}
void set_verify_engine(std::string_view name) {
  settings().verify.set(name);
}

const std::string& tuning_file() {
  return settings().tuning_file;
}
void set_tuning_file(std::string_view path) {
  settings().tuning_file = path;
}

std::vector<std::string> simd_choices() {
  std::vector<std::string> names;
  for (const cpu::InstructionSet& set : cpu::simd_choices()) names.push_back(set.name);
  return names;
}
const std::string& simd() {
  return cpu::simd().name;
}
void set_simd(std::string_view name) {
  cpu::set_simd(name);
}

std::string fingerprint() {
  return to_string(precision()) + " " + conv2d_engine() + " " + verify_engine() + " " + tuning_file() + " " + simd();
}

int64_t filter_cache() {
  return settings().filter_cache;
}
void set_filter_cache(int64_t bytes) {
  MINIDL_CHECK(bytes >= 0, "[conv2d] a cache of {} bytes for filters; it must be 0 or more", bytes);
  settings().filter_cache = bytes;
}

bool verbose() {
  return settings().verbose;
}
void set_verbose(bool on) {
  settings().verbose = on;
}

}  // namespace execution
}  // namespace minidl
