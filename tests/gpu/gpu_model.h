#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// The launches of an iteration of nst_gatys --preset paper, with VGG-19 up to relu5_1, as numbers: see gpu_model.cpp.
namespace minidl::cuda {

/// Dense rates in T(fl)op/s and TB/s; `mma` is the share of the tensor cores' rate that mma.sync reaches.
struct Gpu {
  const char* name;
  int multiprocessors;
  double fp32, tf32, half, memory, cache, mma;
};
enum class Arithmetic { fp32, tf32, bf16 };

/// What some launches do: operations of the busiest multiprocessor, bytes that tiles read from the cache, bytes that
/// memory must move.
struct Work {
  std::string name;
  Arithmetic arithmetic = Arithmetic::fp32;
  double operations = 0, tile_bytes = 0, memory_bytes = 0;
  int64_t blocks = 0;  // of a product on tensor cores
  int tile = 0;        // of kMmaTiles
  int launches = 1;
};

/// The launches of one evaluation and a step of L-BFGS with 10 pairs, as emulator/iteration_test counts them, for a
/// picture of `side` x `side` pixels.
std::vector<Work> iteration(const Gpu& gpu, Arithmetic arithmetic, double side);

/// Bytes of the operations between convolutions and Gram matrices.
struct Between {
  std::string name;
  double ours = 0, eager = 0;
};
/// Ours, of iteration(), beside those of operations that each read and write whole tensors.
std::vector<Between> between_products(Arithmetic arithmetic, double side);

}  // namespace minidl::cuda
