#include <emulator/access.h>
#include <emulator/counters.h>
#include <emulator/mma.h>
#include <emulator/race.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace minidl::emulator {
namespace {

constexpr uint32_t kTf32Mask = 0xffffe000u;
constexpr int kM = 16, kN = 8;

struct Fragments {
  uint32_t a[4], b[2];
  float d[4];
};

/// The matrices of one instruction, put together from the fragments of all lanes.
template <int kK>
struct Matrices {
  float a[kM][kK], b[kK][kN];
};

struct Tf32 {
  static constexpr int kK = 8;
  static void gather(const Fragments& in, int g, int t, Matrices<kK>& m) {
    for (int i = 0; i < 4; ++i) m.a[g + 8 * (i & 1)][t + 4 * (i >> 1)] = std::bit_cast<float>(in.a[i] & kTf32Mask);
    for (int i = 0; i < 2; ++i) m.b[t + 4 * i][g] = std::bit_cast<float>(in.b[i] & kTf32Mask);
  }
};

struct Bf16 {
  static float value(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
};
struct Fp16 {
  static float value(uint16_t bits) { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
};

/// Two values a register, the lower index in the lower half.
template <typename Format>
struct Pairs {
  static constexpr int kK = 16;
  static float lower(uint32_t pair) { return Format::value(static_cast<uint16_t>(pair)); }
  static float upper(uint32_t pair) { return Format::value(static_cast<uint16_t>(pair >> 16)); }
  static void gather(const Fragments& in, int g, int t, Matrices<kK>& m) {
    for (int i = 0; i < 4; ++i) {
      float* const pair = &m.a[g + 8 * (i & 1)][2 * t + 8 * (i >> 1)];
      pair[0] = lower(in.a[i]);
      pair[1] = upper(in.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      m.b[2 * t + 8 * i][g] = lower(in.b[i]);
      m.b[2 * t + 8 * i + 1][g] = upper(in.b[i]);
    }
  }
};

void require_all(uint32_t lanes, const Collective& warp) {
  if (lanes == kAllLanes) return;
  current_block->report(Fault::divergent_collective,
                        "an instruction of the whole warp at " + warp.location.str() + " without all lanes");
  current_block->leave();
}

/// What does not fit into the accumulator is cut off, not rounded: the worst that has been measured of tensor cores
/// (Fasi et al. 2021, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7).
float cut_off(double sum) {
  const auto nearest = static_cast<float>(sum);
  return std::isfinite(nearest) && std::fabs(static_cast<double>(nearest)) > std::fabs(sum)
             ? std::nextafter(nearest, 0.0f)
             : nearest;
}

template <typename Type>
void multiply(Collective& warp, uint32_t lanes) {
  require_all(lanes, warp);
  constexpr int kK = Type::kK;
  Matrices<kK> m;
  Fragments in;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    std::memcpy(&in, warp.inputs[lane].data(), sizeof in);
    Type::gather(in, lane / 4, lane % 4, m);
  }
  for (int lane = 0; lane < kWarpSize; ++lane) {
    std::memcpy(&in, warp.inputs[lane].data(), sizeof in);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i >> 1), column = 2 * (lane % 4) + (i & 1);
      auto sum = static_cast<double>(in.d[i]);
      for (int k = 0; k < kK; ++k) sum += static_cast<double>(m.a[row][k]) * static_cast<double>(m.b[k][column]);
      in.d[i] = cut_off(sum);
    }
    std::memcpy(warp.outputs[lane].data(), in.d, sizeof in.d);
  }
  counters::tensor_flops(2 * kM * kN * kK);
}

template <typename Type>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location location) {
  Fragments in;
  std::memcpy(in.a, a, sizeof in.a);
  std::memcpy(in.b, b, sizeof in.b);
  std::memcpy(in.d, d, sizeof in.d);
  current_block->collective(kAllLanes, &in, sizeof in, d, sizeof d, location, &multiply<Type>);
}

/// A row of 16 bytes lies in 4 of the 32 banks: the 8 rows of a matrix come in one cycle when no two of them want the
/// same 4.
int64_t conflicts(const std::byte* const (&rows)[8]) {
  int64_t wanted[8] = {}, most = 1;
  for (int i = 0; i < 8; ++i) {
    bool repeated = false;
    for (int j = 0; j < i; ++j) repeated |= rows[j] == rows[i];
    if (repeated) continue;
    int64_t& count = wanted[reinterpret_cast<uintptr_t>(rows[i]) / 16 % 8];
    if (++count > most) most = count;
  }
  return most - 1;
}

template <int kMatrices, bool kTransposed>
void load_matrices(Collective& warp, uint32_t lanes) {
  require_all(lanes, warp);
  int64_t cycles = 0;
  for (int matrix = 0; matrix < kMatrices; ++matrix) {
    const std::byte* rows[8];
    for (int i = 0; i < 8; ++i) std::memcpy(&rows[i], warp.inputs[matrix * 8 + i].data(), sizeof(void*));
    cycles += conflicts(rows);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const int g = lane / 4, t = lane % 4;
      auto* const target = warp.outputs[lane].data() + 4 * matrix;
      if constexpr (kTransposed) {
        for (int i = 0; i < 2; ++i) std::memcpy(target + 2 * i, rows[2 * t + i] + 2 * g, 2);
      } else {
        std::memcpy(target, rows[g] + 4 * t, 4);
      }
    }
  }
  counters::bank_conflicts(cycles);
}

template <int kMatrices, bool kTransposed>
void ldmatrix(uint32_t (&r)[kMatrices], const void* row, Location location, const void* place) {
  constexpr size_t kRow = 16;
  if (current_thread->lane() < 8 * kMatrices) {  // the addresses of other lanes are not used
    check_access(row, kRow, kRow, Access::read);
    race::read(row, kRow, place);
  }
  current_block->collective(kAllLanes, &row, sizeof row, r, sizeof r, location, &load_matrices<kMatrices, kTransposed>);
}

}  // namespace

uint32_t to_tf32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? (bits + 0x1000u) & kTf32Mask : bits;
}

void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location location) {
  mma<Tf32>(d, a, b, location);
}

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location location) {
  mma<Pairs<Bf16>>(d, a, b, location);
}

void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location location) {
  mma<Pairs<Fp16>>(d, a, b, location);
}

void ldmatrix_x4(uint32_t (&r)[4], const void* row, Location location) {
  ldmatrix<4, false>(r, row, location, __builtin_return_address(0));
}
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Location location) {
  ldmatrix<4, true>(r, row, location, __builtin_return_address(0));
}
void ldmatrix_x2(uint32_t (&r)[2], const void* row, Location location) {
  ldmatrix<2, false>(r, row, location, __builtin_return_address(0));
}

}  // namespace minidl::emulator
