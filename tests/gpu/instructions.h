#pragma once
#include <cstdint>

/// What device functions that kernels call give to the lanes of one warp. Rows of 32 words, one a lane: `input` and
/// output have up to kInstructionRows of them, as each function says. Floats and halves of words are bits.
namespace minidl::cuda {

inline constexpr int kInstructionRows = 10;

/// shfl of lane 5; of lane 3 in segments of 8; up by 2; down by 3 in segments of 16; xor 6; down by 8 of a third of the
/// value as f64, two words.
void run_shuffles(const uint32_t* input, uint32_t* output);
/// ballot, any and all of: the value is a multiple of 3; any of what holds for no lane, all of what holds for each.
void run_votes(const uint32_t* input, uint32_t* output);
/// add, min, max of integers with a sign; and, or, xor.
void run_warp_reductions(const uint32_t* input, uint32_t* output);
/// Of rows 0 and 1 as integers: popc, min, max, abs of the first, its quotient and remainder by the second | 1.
void run_integers(const uint32_t* input, uint32_t* output);
/// Of small integers a, b, c as floats: (1 + a / 2^13) (1 + b / 2^13) - 1 + c / 2^20 in one rounding, a / (b + 0.5),
/// sqrt(|a|), a as f64 / (b + 0.5) as two words, and what the larger of the bits of doubles gives.
void run_floats(const uint32_t* input, uint32_t* output);
/// a / 7 as half, bf16 and TF32, and the first two back as floats.
void run_conversions(const uint32_t* input, uint32_t* output);
void run_tf32(const uint32_t* input, uint32_t* output);
/// Rows 0 to 3 are the fragment of A, 4 and 5 that of B: A B + 1, four rows of floats.
void run_mma_tf32(const uint32_t* input, uint32_t* output);
void run_mma_bf16(const uint32_t* input, uint32_t* output);
void run_mma_f16(const uint32_t* input, uint32_t* output);
/// Rows 0 to 3 of `input` in shared memory are 32 rows of 8 halves: four rows of what ldmatrix gives, four transposed,
/// and two of the first two matrices alone.
void run_ldmatrix(const uint32_t* input, uint32_t* output);
/// A row by asynchronous copies of 4, of 8 and of 16 bytes, where every third copy is of zeros.
void run_async_copies(const uint32_t* input, uint32_t* output);
/// A row that is 0 before: word 0 is the sum of all, 1 and 2 their maximum and minimum, 3 a word that one lane
/// exchanged.
void run_atomics(const uint32_t* input, uint32_t* output);

}  // namespace minidl::cuda
