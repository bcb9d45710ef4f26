// Predicts the time of an iteration of nst_gatys on GPUs that nobody here has, from what its kernels do and what the
// makers of these GPUs publish: prints docs/gpu_model.md. Nothing is run on a device, and no constant comes from a
// measurement of this program, so that the first run on a GPU tests a prediction.
#include <fmt/format.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_mma.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace minidl::cuda {
namespace {

/// Dense rates in T(fl)op/s and TB/s; `mma` is the share of the tensor cores' rate that mma.sync reaches.
struct Gpu {
  const char* name;
  int multiprocessors;
  double fp32, tf32, half, memory, cache, mma;
};
constexpr Gpu kGpus[] = {{"H100 SXM", 132, 66.9, 494.7, 989.4, 3.35, 5.5, 0.63},
                         {"H200", 132, 66.9, 494.7, 989.4, 4.8, 5.5, 0.63},
                         {"RTX 4090", 128, 82.6, 82.6, 165.2, 1.008, 5.5, 1.0}};
constexpr double kLaunch = 2e-6;  // seconds between the kernels of a graph
// Cycles until the second cache and the memory answer, and cycles in a second, of an H100.
constexpr double kCacheCycles = 200, kMemoryCycles = 400, kClock = 1.755e9;

enum class Arithmetic { fp32, tf32, bf16 };
constexpr Arithmetic kArithmetics[] = {Arithmetic::fp32, Arithmetic::tf32, Arithmetic::bf16};

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

constexpr double kFloat = 4;

/// A product over windows in tiles: each multiprocessor has its share of the blocks, the busiest one a block more.
Work product(std::string name, const Gpu& gpu, Arithmetic arithmetic, double windows, double columns, double terms,
             double memory_bytes) {
  const bool tensor = arithmetic != Arithmetic::fp32;
  const int64_t element = arithmetic == Arithmetic::bf16 ? 2 : 4;
  const auto w = static_cast<int64_t>(windows), c = static_cast<int64_t>(columns), t = static_cast<int64_t>(terms);
  TileSize tile = kGatherTiles[static_cast<int>(gather_tile(w, c))];
  int64_t parts = 1;
  if (tensor) {
    const MmaPlan plan = plan_mma(w, c, t, element);
    tile = kMmaTiles[plan.tile], parts = plan.parts;
  }
  const int64_t blocks = divided_up(w, tile.rows) * divided_up(c, tile.columns) * parts;
  const double of_block = 2.0 * tile.rows * tile.columns * terms / static_cast<double>(parts);
  const double partials = parts > 1 ? 2.0 * kFloat * windows * columns * static_cast<double>(parts) : 0.0;
  return {std::move(name),
          arithmetic,
          of_block * static_cast<double>(divided_up(blocks, gpu.multiprocessors)),
          static_cast<double>(blocks * (tile.rows + tile.columns) * element) * terms / static_cast<double>(parts),
          memory_bytes + partials,
          tensor ? blocks : 0,
          tensor ? plan_mma(w, c, t, element).tile : 0,
          parts > 1 ? 2 : 1};
}

/// Sums over windows of one pixel, without the tiles above the diagonal.
Work gram(std::string name, const Gpu& gpu, Arithmetic arithmetic, double pixels, int channels) {
  const OuterProduct described{.windows = {.n = 1,
                                           .in_h = 1,
                                           .in_w = static_cast<int>(pixels),
                                           .in_c = channels,
                                           .windows_h = 1,
                                           .windows_w = static_cast<int>(pixels)},
                               .rows = channels,
                               .symmetric = true};
  const OuterPlan plan = plan_outer_mma(described);
  const TileSize tile = arithmetic == Arithmetic::fp32 ? TileSize{64, 64} : kOuterTiles[plan.tile];
  const int64_t across = divided_up(channels, tile.columns), down = divided_up(channels, tile.rows);
  int64_t tiles = 0;
  for (int64_t row = 0; row < down; ++row)
    tiles += std::min(across, divided_up((row + 1) * tile.rows, int64_t{tile.columns}));
  const int64_t part = arithmetic == Arithmetic::fp32 ? windows_of_part(static_cast<int64_t>(pixels), across * down)
                                                      : int64_t{plan.part};
  const int64_t blocks = tiles * divided_up(static_cast<int64_t>(pixels), part);
  const double windows = static_cast<double>(part);
  return {std::move(name), arithmetic,
          2.0 * tile.rows * tile.columns * windows * static_cast<double>(divided_up(blocks, gpu.multiprocessors)),
          kFloat * (tile.rows + tile.columns) * windows * static_cast<double>(blocks), kFloat * pixels * channels};
}

Work pass(std::string name, double bytes, int launches = 1) {
  return {.name = std::move(name), .memory_bytes = bytes, .launches = launches};
}

struct Layer {
  const char* name;
  int in_c, out_c, shrink;  // of the picture's side
  bool style, pooled;       // a style term at its output; 2x2 pooling after it
};
/// VGG-19 as far as style transfer computes it; the content term is at conv4_2.
constexpr Layer kLayers[] = {{"conv1_1", 3, 64, 1, true, false},     {"conv1_2", 64, 64, 1, false, true},
                             {"conv2_1", 64, 128, 2, true, false},   {"conv2_2", 128, 128, 2, false, true},
                             {"conv3_1", 128, 256, 4, true, false},  {"conv3_2", 256, 256, 4, false, false},
                             {"conv3_3", 256, 256, 4, false, false}, {"conv3_4", 256, 256, 4, false, true},
                             {"conv4_1", 256, 512, 8, true, false},  {"conv4_2", 512, 512, 8, false, false},
                             {"conv4_3", 512, 512, 8, false, false}, {"conv4_4", 512, 512, 8, false, true},
                             {"conv5_1", 512, 512, 16, true, false}};

/// The launches of one evaluation and a step of L-BFGS with 10 pairs, as emulator/iteration_test counts them.
std::vector<Work> iteration(const Gpu& gpu, Arithmetic arithmetic, double side) {
  std::vector<Work> all;
  bool style_before = false;
  bool of_relu = false;  // the input is the output of one, not of a pool
  const bool half = arithmetic == Arithmetic::bf16;
  const auto padded = [&](int channels) {
    return arithmetic == Arithmetic::fp32
               ? static_cast<double>(channels)
               : static_cast<double>(operand_channels(half ? Dtype::bf16 : Dtype::f32, channels));
  };
  // Of bytes: what a product reads of an operand's element, and writes of a result that the next one reads, too.
  const double read = half ? 2 : kFloat, written = kFloat + (half ? 2 : 0);
  const auto operand = [&](const std::string& name, double pixels, int channels) {
    all.push_back(pass(name + ", operand", kFloat * pixels * channels + read * pixels * padded(channels)));
  };
  const double picture = 3 * side * side;
  double coefficients = 0;  // of all Gram matrices
  all.push_back(pass("mean of the network", 2 * kFloat * picture));
  for (const Layer& layer : kLayers) {
    const std::string name = layer.name;
    const double pixels = side * side / (layer.shrink * layer.shrink), in = pixels * layer.in_c,
                 out = pixels * layer.out_c;
    // A product on tensor cores in one part pools what it writes, and 16-bit gradients are spread as they are rounded.
    const bool tensor = arithmetic != Arithmetic::fp32;
    const bool pools =
        layer.pooled && tensor &&
        plan_mma(static_cast<int64_t>(pixels), layer.out_c, static_cast<int64_t>(9 * padded(layer.in_c)), half ? 2 : 4)
                .parts == 1;
    if (padded(layer.in_c) > layer.in_c) operand(name, pixels, layer.in_c);
    all.push_back(product(name + " forward", gpu, arithmetic, pixels, layer.out_c, 9 * padded(layer.in_c),
                          read * in + written * (pools ? 0.25 : 1.0) * out));
    if (layer.pooled && !pools) all.push_back(pass(name + " pooling", kFloat * out * 1.5 + out / 4, 2));
    if (layer.pooled)
      all.push_back(pass(name + " pooling, gradient", (half ? 2 : kFloat) * out + kFloat * out / 4 + out / 8));
    // The gradient of the last layer is that of its style term, a product of other operands.
    const bool last = &layer == &kLayers[std::size(kLayers) - 1];
    if (half && last) operand(name + " gradient", pixels, layer.out_c);
    // The gradient of a style term at the input is more terms of the same product.
    const bool adds = tensor && style_before;
    const bool pairs = tensor && layer.in_c <= 4;  // of pixels as one
    all.push_back(product(name + " gradient", gpu, arithmetic, pairs ? pixels / 2 : pixels,
                          pairs ? 2 * layer.in_c : layer.in_c,
                          (pairs ? 12 : 9) * padded(layer.out_c) + (adds ? layer.in_c : 0),
                          (kFloat + (of_relu ? written - kFloat : 0) + (adds ? read : 0)) * in + read * out));
    of_relu = !layer.pooled;
    style_before = layer.style;
    if (layer.style) {
      const double c = layer.out_c;
      const Arithmetic of_gram = std::min(arithmetic, Arithmetic::tf32);
      all.push_back(gram(name + " Gram matrix", gpu, of_gram, pixels, layer.out_c));
      coefficients += c * c;
      if (!tensor || last)
        all.push_back(product(name + " style gradient", gpu, of_gram, pixels, c, c, 3 * kFloat * out));
    }
  }
  all.push_back(pass("Gram matrices: parts, losses, coefficients", kFloat * coefficients * 8));
  const double content = side * side / 64 * 512;
  all.push_back(pass("content loss", 2 * kFloat * content));
  all.push_back(pass("content gradient", 3 * kFloat * content));
  all.push_back(pass("total variation and its gradient", 4 * kFloat * picture, 2));
  all.push_back(pass("L-BFGS: position, curvature pair, its products", (3 + 8) * kFloat * picture, 4));
  all.push_back(pass("L-BFGS: smoothing, twice", 2 * 5 * kFloat * picture, 4));
  all.push_back(pass("L-BFGS: passes over 10 pairs of bf16", (4 * 10 * 2 + 8 * kFloat) * picture, 6));
  return all;
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
  const std::vector<Work> half = iteration(kGpus[0], Arithmetic::bf16, 512);
  const auto operands =
      std::count_if(half.begin(), half.end(), [](const Work& w) { return w.name.ends_with(", operand"); });
  fmt::print(R"(
On Hopper the products of layers with 64 channels are held up by the cache, because a window's nine taps are read from there one by one: a loader that
keeps a tile's pixels in shared memory for all taps would lift that. At bf16 a convolution leaves results of a ReLU in 16 bits, too, for the next one: {} of {}
launches round operands.
)",
             operands, launches(half));
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
/// gather_mma_kernel).
constexpr int kResident[] = {4, 4, 2, 2, 1, 4};
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
What the first run tells is the ratio of each row to its prediction.

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
  minidl::cuda::print_kernels(512);
  minidl::cuda::print_occupation(512);
}
