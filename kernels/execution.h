#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace minidl {

/// Grade of arithmetic that convolutions and matrix products may use. Gram matrices are of the tf32 grade at least, their gradients too unless a convolution adds them in its own arithmetic; losses,
/// statistics and optimiser state are fp32 always.
enum class Precision { fp32, tf32, bf16, fp16 };

/// "fp32", "tf32", "bf16", "fp16"; throws Error for other words.
Precision parse_precision(std::string_view name);
std::string to_string(Precision precision);

/// Settings of the whole process, read at each kernel call. Not meant to change while another thread computes.
namespace execution {

Precision precision();
/// Throws Error, naming what there is, for a grade that no engine of this build offers.
void set_precision(Precision precision);

/// Name of the conv2d engine to try first; empty: table order. Initially MINIDL_CONV2D_ENGINE. Throws Error for an unknown name, with the list.
const std::string& conv2d_engine();
void set_conv2d_engine(std::string_view name);

/// Name of a second engine that repeats every convolution and throws Error when the results deviate by more than the engine's grade allows;
/// empty: off. Initially MINIDL_VERIFY.
const std::string& verify_engine();
void set_verify_engine(std::string_view name);

/// JSON file in which the fastest conv2d engine of CUDA devices is kept for each problem, measured the first time that
/// it is met; empty: table order. Does not count beside conv2d_engine(). Initially MINIDL_TUNE. Engines differ in their
/// rounding, so results have the same bytes only as long as the file has the same choices.
const std::string& tuning_file();
void set_tuning_file(std::string_view path);

/// Sets of vector instructions that this build has code for and this processor runs, best first, each with all that
/// those after it have; of "amx", "avx512_bf16", "avx512", "avx2", "sse4", "neon", "scalar".
std::vector<std::string> simd_choices();
/// The set that kernels use. Initially MINIDL_SIMD, or the best. Throws Error, also from every kernel, when
/// MINIDL_SIMD names none of the choices, with the list.
const std::string& simd();
/// Empty: the best. Holds for all code of the process that uses the Highway library. Throws Error for any other name.
void set_simd(std::string_view name);

/// Bytes that convolutions may keep for forms of their weights that are quicker to use (transformed filters), so that
/// weights which do not change are not transformed in every call. At first 32 MiB; programs that run on a CUDA device
/// take 128 MiB, where VGG-19's need 50 MiB in f32 for each direction.
int64_t filter_cache();
/// 0 switches it off; what is kept already stays until its weights go or change. Throws Error for less.
void set_filter_cache(int64_t bytes);

/// Changes when one of the settings changes that results depend on: precision, engines, instruction set.
std::string fingerprint();

/// One line per convolution on standard error, with the engine and why others declined. Initially MINIDL_VERBOSE=1.
bool verbose();
void set_verbose(bool on);

}  // namespace execution
}  // namespace minidl
