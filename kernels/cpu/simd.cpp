#include <minidl/kernels/cpu/simd.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "minidl/kernels/cpu/simd.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>
#include <minidl/core/error.h>
#include <minidl/kernels/cpu/amx_product.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

HWY_BEFORE_NAMESPACE();
namespace minidl::cpu::HWY_NAMESPACE {

int64_t Target() {
  return HWY_TARGET;
}

}  // namespace minidl::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace minidl::cpu {

HWY_EXPORT(Target);

namespace {

/// Highway's word in small letters, but for AVX-512, which it calls AVX3.
std::string name_of(int64_t target) {
  std::string name = hwy::TargetName(target);
  if (name == "AVX3") return "avx512";
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

const InstructionSet& named(std::string_view name, const char* source) {
  std::string names;
  for (const InstructionSet& set : simd_choices()) {
    if (name == set.name) return set;
    names += (names.empty() ? "" : ", ") + set.name;
  }
  fail("[simd] {} names the instruction set '{}', which this processor or build does not have; use one of: {}", source,
       name, names);
}

const InstructionSet& use(const InstructionSet& set) {
  hwy::DisableTargets(~set.target);
  return set;
}

const InstructionSet& initial() {
  const char* name = std::getenv("MINIDL_SIMD");
  return name && *name ? use(named(name, "MINIDL_SIMD")) : simd_choices().front();
}

const InstructionSet*& current() {
  static const InstructionSet* set = &initial();
  return set;
}

}  // namespace

const std::vector<InstructionSet>& simd_choices() {
  static const std::vector<InstructionSet> sets = [] {
    const std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();  // best first
    std::vector<InstructionSet> all;
    if (amx_instructions()) all.push_back({"amx", targets.front(), true, true});
    if (bf16_dot_products()) all.push_back({"avx512_bf16", targets.front(), true, false});
    for (const int64_t target : targets) all.push_back({name_of(target), target, false, false});
    return all;
  }();
  return sets;
}

const InstructionSet& simd() {
  return *current();
}

void set_simd(std::string_view name) {
  const InstructionSet& set = name.empty() ? simd_choices().front() : named(name, "the setting");
  current() = &use(set);
}

int64_t dispatched_target() {
  return MINIDL_DISPATCH(Target)();
}

}  // namespace minidl::cpu
#endif
