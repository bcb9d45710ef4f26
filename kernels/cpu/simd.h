#pragma once
// Included first by every file that Highway compiles once per instruction set.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Not compiled: SSSE3, for processors older than SSE4 and AES (they run the scalar code), and SVE. The matrix kernels
// keep vectors in arrays, which those of unknown length cannot be: machines with SVE run the NEON code.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

/// The exported function for the instruction set in use. In place of Highway's own macro, which knows no MINIDL_SIMD.
#define MINIDL_DISPATCH(function) (::minidl::cpu::simd(), HWY_DYNAMIC_DISPATCH(function))

namespace minidl::cpu {

/// What kernels may use. Each set has all that those after it in simd_choices() have.
struct InstructionSet {
  std::string name;
  int64_t target;  // of Highway
  bool bf16;       // dot products of AVX512-BF16
  bool amx;        // tiles
};

/// Those that this build has code for and this processor runs, best first.
const std::vector<InstructionSet>& simd_choices();

/// The set in use: at first the one that MINIDL_SIMD names, or the best. Throws Error when there is no such set.
const InstructionSet& simd();
/// Empty: the best. Highway keeps the choice for the whole process.
void set_simd(std::string_view name);

/// Highway's target that MINIDL_DISPATCH calls, as the code compiled for it says.
int64_t dispatched_target();

}  // namespace minidl::cpu
