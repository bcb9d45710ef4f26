#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/half_formats.cuh>
#include <minidl/kernels/cuda/result_writer.cuh>

// The end of a product whose terms were cut into parts: their sums, in order, and then what the writer of results does.
// A thread has two neighbouring channels of a window, four lanes have eight. Grid (windows * channels / 512), blocks of
// 256. Traffic: the parts and the output once.
namespace minidl::cuda {
namespace {

constexpr int kPartThreads = 256;

/// Of partials [parts, windows, channels].
template <typename Format>
MINIDL_KERNEL(kPartThreads, add_parts_kernel, Windows windows, int count, int parts, const float* partials,
              PairOutput out) {
  const int64_t pair = int64_t{blockIdx.x} * kPartThreads + threadIdx.x;
  const int pairs = (out.channels + 7) / 8 * 4;  // of a window; four lanes have eight channels
  const int window = static_cast<int>(pair / pairs), channel = static_cast<int>(pair % pairs) * 2;
  const bool inside = window < count && channel < out.channels, both = channel + 1 < out.channels;
  float first = 0.0f, second = 0.0f;
  if (inside) {
    for (int part = 0; part < parts; ++part) {
      const float* const of_part = partials + (static_cast<int64_t>(part) * count + window) * out.channels + channel;
      if (out.channels % 2 == 0) {
        const float2 two = load(reinterpret_cast<const float2*>(of_part));
        first += two.x;
        second += two.y;
      } else {
        first += load(of_part);
        if (both) second += load(of_part + 1);
      }
    }
  }
  write_pair<Format>(out, inside, 0, window_in_rows(windows, window), channel,
                     with_bias(out, first, bias_of(out, channel)), with_bias(out, second, bias_of(out, channel + 1)));
}

}  // namespace

template <typename Format>
void add_parts(const Windows& windows, int parts, const float* partials, const GatherOutput& output,
               cudaStream_t stream) {
  const int64_t pairs = windows.count() * ((output.channels + 7) / 8 * 4);
  MINIDL_LAUNCH(add_parts_kernel<Format>, blocks_for(pairs, kPartThreads), kPartThreads, 0, stream, windows,
                static_cast<int>(windows.count()), parts, partials, PairOutput(output));
}
template void add_parts<void>(const Windows&, int, const float*, const GatherOutput&, cudaStream_t);
template void add_parts<Bf16>(const Windows&, int, const float*, const GatherOutput&, cudaStream_t);
template void add_parts<Half>(const Windows&, int, const float*, const GatherOutput&, cudaStream_t);

}  // namespace minidl::cuda
