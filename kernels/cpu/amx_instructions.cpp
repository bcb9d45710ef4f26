#include <minidl/kernels/cpu/amx_product.h>

#ifdef MINIDL_COMPILES_AMX
#include <minidl/kernels/cpu/amx_product-inl.h>
#include <minidl/kernels/cpu/cpuid_bits.h>
#include <sys/syscall.h>
#include <unistd.h>

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

bool processor_has_tiles() {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && bit(d, 22) && bit(d, 24);  // BF16, TILE
}

/// Linux gives a process the tiles when it asks for them, once for all of its threads.
bool system_permits() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

const AmxBody* amx_instructions() {
  static const AmxBody* vectors = bf16_dot_products();
  static const bool usable =
      vectors && processor_has_tiles() && system_saves(0b110'0000'0000'0000'0000) && system_permits();
  if (!usable) return nullptr;
  static const AmxBody kBody{multiply_with<InstructionTiles>, vectors->split, vectors->split_columns,
                             multiply_windows_with<InstructionTiles>, vectors->round};
  return &kBody;
}

}  // namespace minidl::cpu
#else
namespace minidl::cpu {

const AmxBody* amx_instructions() {
  return nullptr;
}

}  // namespace minidl::cpu
#endif
