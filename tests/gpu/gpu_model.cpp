// Predicts the time of an iteration of nst_gatys on GPUs that nobody here has, from what its kernels do and what the
// makers of these GPUs publish: prints docs/gpu_model.md. Nothing is run on a device, and no constant comes from a
// measurement of this program, so that the first run on a GPU tests a prediction.
#include <gpu/gpu_model.h>

#include <fmt/format.h>
#include <minidl/kernels/cuda/gather_mma.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace minidl::cuda {
namespace {

constexpr Gpu kGpus[] = {{"H100 SXM", 132, 66.9, 494.7, 989.4, 3.35, 5.5, 0.63},
                         {"H200", 132, 66.9, 494.7, 989.4, 4.8, 5.5, 0.63},
                         {"RTX 4090", 128, 82.6, 82.6, 165.2, 1.008, 5.5, 1.0}};
constexpr double kLaunch = 2e-6;  // seconds between the kernels of a graph
// Cycles until the second cache and the memory answer, and cycles in a second, of an H100.
constexpr double kCacheCycles = 200, kMemoryCycles = 400, kClock = 1.755e9;

constexpr Arithmetic kArithmetics[] = {Arithmetic::fp32, Arithmetic::tf32, Arithmetic::bf16};

/// What takes the longest of them.
struct Prediction {
  double seconds;
  char limit;  // a: arithmetic, c: cache, m: memory
};

Prediction predict(const Gpu& gpu, const Work& work) {
  const double rate = work.arithmetic == Arithmetic::fp32   ? gpu.fp32
                      : work.arithmetic == Arithmetic::tf32 ? gpu.tf32 * gpu.mma
                                                            : gpu.half * gpu.mma;
  const double compute = work.operations * gpu.multiprocessors / (rate * 1e12);
  const std::array all{Prediction{compute, 'a'}, Prediction{work.tile_bytes / (gpu.cache * 1e12), 'c'},
                       Prediction{work.memory_bytes / (gpu.memory * 1e12), 'm'}};
  const auto longest =
      std::max_element(all.begin(), all.end(), [](const auto& x, const auto& y) { return x.seconds < y.seconds; });
  return {kLaunch * work.launches + longest->seconds, longest->limit};
}

const char* name_of(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::fp32 ? "fp32" : arithmetic == Arithmetic::tf32 ? "tf32" : "bf16";
}

int launches(const std::vector<Work>& all) {
  int sum = 0;
  for (const Work& work : all) sum += work.launches;
  return sum;
}

double total(const Gpu& gpu, Arithmetic arithmetic, double side) {
  double sum = 0;
  for (const Work& work : iteration(gpu, arithmetic, side)) sum += predict(gpu, work).seconds;
  return sum;
}

void print_iterations() {
  fmt::print("| GPU | precision | launches | 256 px, ms | 512 px, ms | 1024 px, ms |\n|---|---|---|---|---|---|\n");
  for (const Gpu& gpu : kGpus) {
    for (const Arithmetic arithmetic : kArithmetics) {
      fmt::print("| {} | {} | {} | {:.2f} | {:.2f} | {:.2f} |\n", gpu.name, name_of(arithmetic),
                 launches(iteration(gpu, arithmetic, 512)), 1e3 * total(gpu, arithmetic, 256),
                 1e3 * total(gpu, arithmetic, 512), 1e3 * total(gpu, arithmetic, 1024));
    }
  }
}

void print_limits() {
  fmt::print(R"(
On Hopper the products of layers with 64 channels are held up by the cache, because a window's nine taps are read from there one by one: a loader that
keeps a tile's pixels in shared memory for all taps would lift that. At bf16 every product finds its operands in 16 bits, left by what wrote them.
)");
}

/// Megabytes.
void print_between(double side) {
  fmt::print(R"(
## Between the products, {:.0f} pixels, MB

What launches other than convolutions, Gram matrices and their gradients read and write, beside the same work as operations of an eager framework, which
each read and write whole tensors of f32 (elements moved, from what each operation does; no framework was run): mean and deviation of the picture 6 with
their gradients; a bias 2 (cuDNN's convolution without it, then an addition); ReLU 2 and 3; max pooling 1 and 1/4 with indices of 8 bytes, and likewise back;
of a Gram matrix, element by element, 9, and 6 of the features where gradients are added; the content term 10; L-BFGS 28 of the picture and 10 for each of 10 pairs.

| | ours, fp32 | ours, tf32 | ours, bf16 | eager |
|---|---|---|---|---|
)",
             side);
  std::vector<std::vector<Between>> all;
  for (const Arithmetic arithmetic : kArithmetics) all.push_back(between_products(arithmetic, side));
  for (size_t row = 0; row < all[0].size(); ++row) {
    fmt::print("| {} |", all[0][row].name);
    for (const std::vector<Between>& of : all) fmt::print(" {:.1f} |", 1e-6 * of[row].ours);
    fmt::print(" {:.1f} |\n", 1e-6 * all[0][row].eager);
  }
  fmt::print("| all |");
  double eager = 0;
  std::vector<std::string> shares;
  for (size_t i = 0; i < all.size(); ++i) {
    double ours = 0, products = 0;
    eager = 0;
    for (const Between& between : all[i]) ours += between.ours, eager += between.eager;
    for (const Work& work : iteration(kGpus[0], kArithmetics[i], side))
      products += work.operations > 0 ? work.memory_bytes : 0;
    fmt::print(" {:.1f} |", 1e-6 * ours);
    shares.push_back(fmt::format("{:.1f} % of {:.0f}", 100 * ours / (ours + products), 1e-6 * (ours + products)));
  }
  fmt::print(" {:.1f} |\n| share of all bytes |", 1e-6 * eager);
  for (const std::string& share : shares) fmt::print(" {} |", share);
  fmt::print(" |\n");
}

void print_kernels(double side) {
  fmt::print(
      "\n## Launches at {:.0f} pixels, microseconds\n\nThe letter is what takes the longest: arithmetic, cache or "
      "memory.\n\n| launch |",
      side);
  for (const Gpu& gpu : kGpus) {
    for (const Arithmetic arithmetic : {Arithmetic::tf32, Arithmetic::bf16})
      fmt::print(" {}, {} |", gpu.name, name_of(arithmetic));
  }
  fmt::print("\n|---|---|---|---|---|---|---|\n");
  std::vector<Work> rows = iteration(kGpus[0], Arithmetic::bf16, side);
  for (const Work& of_tf32 : iteration(kGpus[0], Arithmetic::tf32, side)) {
    const auto is_row = [&](const Work& row) { return row.name == of_tf32.name; };
    if (std::none_of(rows.begin(), rows.end(), is_row)) rows.push_back(of_tf32);
  }
  for (const Work& named : rows) {
    fmt::print("| {} |", named.name);
    for (const Gpu& gpu : kGpus) {
      for (const Arithmetic arithmetic : {Arithmetic::tf32, Arithmetic::bf16}) {
        const std::vector<Work> all = iteration(gpu, arithmetic, side);
        const auto found = std::find_if(all.begin(), all.end(), [&](const Work& w) { return w.name == named.name; });
        if (found == all.end()) {
          fmt::print(" |");
          continue;
        }
        const auto [seconds, limit] = predict(gpu, *found);
        fmt::print(" {:.1f} {} |", 1e6 * seconds, limit);
      }
    }
    fmt::print("\n");
  }
}

/// Blocks of each of kMmaTiles that a multiprocessor has at once at least (MINIDL_KERNEL_RESIDENT of
/// gather_mma_kernel; of the last as many as shared memory is enough for on 9.0).
constexpr int kResident[] = {4, 4, 2, 2, 1, 4, 3};
static_assert(std::size(kResident) == std::size(kMmaTiles));

void print_occupation(double side) {
  const Gpu& gpu = kGpus[0];
  const auto needed = [&](double terabytes, double cycles) {
    return terabytes * 1e12 / gpu.multiprocessors * cycles / kClock / 1024;
  };
  fmt::print(R"(
## Waves and bytes under way at {:.0f} pixels, {}

A wave is what all multiprocessors have at once: each the blocks of a tile that its registers are enough for. A block has three stages of 64 bytes of
each of its rows and columns under way while it multiplies a fourth. What must be under way is bandwidth x latency: of the second cache {:.1f} TB/s /
{} multiprocessors x {:.0f} cycles / {:.3f} GHz = {:.1f} KiB for each, of memory {:.2f} TB/s and {:.0f} cycles: {:.1f} KiB (cycles of an idle GPU:
pmc.ncbi.nlm.nih.gov/articles/PMC10448217, table 3; under load they are several times as many).

| launch | precision | tile | blocks | resident | waves | last wave, full to | under way, KiB |
|---|---|---|---|---|---|---|---|
)",
             side, gpu.name, gpu.cache, gpu.multiprocessors, kCacheCycles, kClock * 1e-9,
             needed(gpu.cache, kCacheCycles), gpu.memory, kMemoryCycles, needed(gpu.memory, kMemoryCycles));
  for (const Arithmetic arithmetic : {Arithmetic::tf32, Arithmetic::bf16}) {
    for (const Work& work : iteration(gpu, arithmetic, side)) {
      if (work.blocks == 0) continue;
      const TileSize& tile = kMmaTiles[work.tile];
      const int resident = kResident[work.tile];
      const double waves = static_cast<double>(work.blocks) / (gpu.multiprocessors * resident);
      const int64_t of_wave = int64_t{gpu.multiprocessors} * resident, rest = work.blocks % of_wave;
      fmt::print("| {} | {} | {} x {} | {} | {} | {:.2f} | {:.0f} % | {} |\n", work.name, name_of(arithmetic),
                 tile.rows, tile.columns, work.blocks, resident, waves,
                 rest == 0 ? 100.0 : 100.0 * static_cast<double>(rest) / static_cast<double>(of_wave),
                 resident * 3 * (tile.rows + tile.columns) * 64 / 1024);
    }
  }
}

}  // namespace
}  // namespace minidl::cuda

int main() {
  fmt::print(R"(# What a GPU should take

`gpu_model` (preset `bench`; `tests/gpu/gpu_model.cpp`) prints this page. **It is a prediction: no kernel has run on a GPU.** Every launch of an
iteration of `nst_gatys --preset paper` (forward, backward, losses, a step of L-BFGS with 10 pairs) takes {:.0f} us and the longest of three times:

* **arithmetic**: the operations of the busiest multiprocessor, whole tiles and parts as the plans cut them, at the published rate;
* **cache**: what tiles read, from the second cache ([counted](cuda_counts.md), it is at most 1.05 times the tiles' least; conv1_1 1.12);
* **memory**: every tensor once.

The list is written by hand after the code, and has as many launches as are counted on the emulated device (`emulator/iteration_test`, with L-BFGS's steps, which
no graph has: its numbers decide on the host), and one more for each product that is cut into parts at this size, two where it would have pooled; rows at the end stand for several. Copies within the device are not counted: of the position, two of the gradient, of numbers.
Nothing stalls in this model, and nothing stays in the cache between launches, so that large layers will take longer and small ones may take less.
What the first run tells is the ratio to the prediction: `tests/gpu/run` times iterations, and convolutions and Gram matrices by themselves at every precision, without
what is fused with them. The launches of an iteration one by one are what a profiler shows that looks into graphs (`nsys profile --cuda-graph-trace=node` of `step_bench`).

| GPU | multiprocessors | FP32, TFLOP/s | TF32 | bf16 | memory, TB/s | second cache, TB/s | `mma.sync`, of the rate |
|---|---|---|---|---|---|---|---|
)",
             1e6 * minidl::cuda::kLaunch);
  for (const minidl::cuda::Gpu& gpu : minidl::cuda::kGpus) {
    fmt::print("| {} | {} | {} | {} | {} | {} | {} | {:.2f} |\n", gpu.name, gpu.multiprocessors, gpu.fp32, gpu.tf32,
               gpu.half, gpu.memory, gpu.cache, gpu.mma);
  }
  fmt::print(R"(
Rates without sparsity and bandwidths of memory: NVIDIA's data sheets of the H100 and H200 and its Ada white paper. Share of `mma.sync`: Luo et al.
2024, "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture via Microbenchmarking" (62.9 % on Hopper, about all on Ada). The second
cache and the time between kernels of a graph: assumptions.

## Iterations

)");
  minidl::cuda::print_iterations();
  minidl::cuda::print_limits();
  minidl::cuda::print_between(512);
  minidl::cuda::print_kernels(512);
  minidl::cuda::print_occupation(512);
}
