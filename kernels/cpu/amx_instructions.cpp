#include <minidl/kernels/cpu/amx_product.h>

#ifdef MINIDL_COMPILES_AMX
#include <cpuid.h>
#include <minidl/kernels/cpu/amx_product-inl.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarms of g++ 12 (GCC bug 105593)
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace minidl::cpu {
namespace {

/// Argument of LDTILECFG: all eight tiles have 16 rows of 64 bytes.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// The tiles of this thread while it multiplies. Assembly instead of intrinsics: those of g++ 12 do not say that they
/// read memory, so stores before them could be dropped.
class InstructionTiles {
 public:
  InstructionTiles() {
    const TileConfiguration configuration;
    asm volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
  }
  ~InstructionTiles() { asm volatile("tilerelease"); }
  InstructionTiles(const InstructionTiles&) = delete;
  InstructionTiles& operator=(const InstructionTiles&) = delete;

  template <int kTile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kSum, int kA, int kB>
  void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
};

__attribute__((target("avx512f,avx512bw,avx512bf16"))) void split(const float* values, int64_t rows, int parts,
                                                                  uint16_t* output, int64_t stride) {
  // Words that become the upper halves of the 16 floats that a row of 32 bf16 begins and ends with.
  constexpr __mmask32 kUpper = 0xaaaaaaaa;
  const __m512i to_low = _mm512_slli_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), 16);
  const __m512i to_high = _mm512_add_epi16(to_low, _mm512_set1_epi16(16));
  for (int64_t row = 0; row < rows; ++row) {
    __m512 low = _mm512_loadu_ps(values + row * kAmxBlock), high = _mm512_loadu_ps(values + row * kAmxBlock + 16);
    for (int part = 0; part < parts; ++part) {
      const __m512i bits = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      _mm512_storeu_si512(output + row * stride + part * kAmxBlockCount, bits);
      low = _mm512_sub_ps(low, _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(kUpper, to_low, bits)));
      high = _mm512_sub_ps(high, _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(kUpper, to_high, bits)));
    }
  }
}

bool bit(unsigned word, int index) {
  return (word >> index & 1) != 0;
}

/// The instructions of both functions above.
bool processor_has_them() {
  unsigned a, b, c, d, sub_leaves;
  if (!__get_cpuid_count(7, 0, &sub_leaves, &b, &c, &d)) return false;
  const bool avx512 = bit(b, 16) && bit(b, 30) && bit(b, 31),
             tiles = bit(d, 22) && bit(d, 24);  // F, BW, VL; BF16, TILE
  if (!avx512 || !tiles || sub_leaves < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
  return bit(a, 5);  // AVX512_BF16
}

/// Registers of AVX-512 (bits 1, 2, 5, 6, 7) and tiles (17, 18) survive a change of threads.
bool system_saves_registers() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27)) return false;  // OSXSAVE
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kNeeded = 0b110'0000'0000'1110'0110;
  return (low & kNeeded) == kNeeded;
}

/// Linux gives a process the tiles when it asks for them, once for all of its threads.
bool system_permits() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

const AmxBody* amx_instructions() {
  static constexpr AmxBody kBody{multiply_with<InstructionTiles>, split};
  static const bool usable = processor_has_them() && system_saves_registers() && system_permits();
  return usable ? &kBody : nullptr;
}

}  // namespace minidl::cpu
#else
namespace minidl::cpu {

const AmxBody* amx_instructions() {
  return nullptr;
}

}  // namespace minidl::cpu
#endif
