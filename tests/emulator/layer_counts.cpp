#include <emulator/device_tensors.h>
#include <emulator/emulator.h>
#include <emulator/kernel_cases.h>
#include <emulator/layer_counts.h>
#include <fmt/format.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/cuda/continued.h>
#include <minidl/kernels/cuda/conv2d_passes.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/outer_mma.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace minidl::emulator {
namespace {

using cuda::divided_up;
using cuda::GatherOutput;
using cuda::MmaPlan;
using cuda::OuterPlan;
using cuda::OuterProduct;
using cuda::WindowProducts;
using cuda::Windows;
using Direction = Conv2dDirection;

struct Grade {
  const char* name;
  const WindowProducts& products;
  decltype(&cuda::gather_mma_tf32) gather;
  decltype(&cuda::outer_mma_tf32) outer;

  int64_t element() const { return static_cast<int64_t>(size_of(products.dtype)); }
};
const ExpectedLaunch::Limits kTarget;
const Grade kGrades[] = {{"tf32", cuda::products_tf32, cuda::gather_mma_tf32, cuda::outer_mma_tf32},
                         {"bf16", cuda::products_bf16, cuda::gather_mma_bf16, cuda::outer_mma_bf16}};

/// The products of a pass, in the order in which it asks for them: how they are cut for the whole picture, and how many
/// bytes the tiles of the smaller one need.
struct Pass {
  const Grade* grade;
  std::vector<MmaPlan> gathers = {};
  std::vector<OuterPlan> outers = {};
  size_t gathered = 0, summed = 0;
  int64_t least_bytes = 0;
  /// Windows that steps of parts have room for, of each window: of the whole picture by the smaller one.
  double filled = 1.0;
} pass{};  // which functions of a WindowProducts have to find

int64_t least_bytes(const Windows& windows, int64_t channels, const MmaPlan& plan) {
  const cuda::TileSize tile = cuda::kMmaTiles[plan.tile];
  const int64_t read =
      read_by_tiles(tile, windows.count(), pixels_read(windows) * windows.in_c, channels, channels * windows.length());
  return pass.grade->element() * read + int64_t{sizeof(float)} * plan.parts * windows.count() * channels;
}

int64_t least_bytes(const OuterProduct& product, const OuterPlan& plan) {
  const cuda::TileSize tile = cuda::kOuterTiles[plan.tile];
  const Windows& windows = product.windows;
  const int64_t rows = cuda::operand_channels(pass.grade->products.dtype, product.rows);
  const int64_t read =
      read_by_tiles(tile, product.rows, rows * windows.count(), windows.length(), pixels_read(windows) * windows.in_c);
  return pass.grade->element() * read + int64_t{sizeof(float)} * plan.parts * product.rows * windows.length();
}

/// Windows that the steps of all parts have room for, of each window.
double room_for_windows(int64_t windows, const OuterPlan& plan) {
  const int64_t of_step = 64 / pass.grade->element(), rest = windows % plan.part;
  const int64_t steps = windows / plan.part * divided_up(plan.part, of_step) + divided_up(rest, of_step);
  return static_cast<double>(steps * of_step) / static_cast<double>(windows);
}

/// Keeps the plans and computes nothing.
WindowProducts planning(const Grade& grade) {
  WindowProducts products = grade.products;
  products.operand = [](const float*, int64_t rows, int64_t channels) {
    const Dtype dtype = pass.grade->products.dtype;
    if (cuda::operand_bytes(dtype, rows, channels) == 0) return Tensor();
    return Tensor::empty({rows, cuda::operand_channels(dtype, channels)}, dtype, cuda_device());
  };
  products.gather = [](const Windows& windows, const void*, const void*, const GatherOutput& output, cudaStream_t) {
    pass.gathers.push_back(cuda::plan_mma(windows.count(), output.channels, windows.length(), pass.grade->element()));
  };
  products.outer = [](const OuterProduct& product, const void*, const void*, int, float*, cudaStream_t) {
    pass.outers.push_back(cuda::plan_outer_mma(product));
    pass.filled *= room_for_windows(product.windows.count(), pass.outers.back());
  };
  return products;
}

/// Computes with the plans that were kept.
WindowProducts replaying(const Grade& grade) {
  WindowProducts products = grade.products;
  products.gather = [](const Windows& windows, const void* picture, const void* weight, const GatherOutput& output,
                       cudaStream_t stream) {
    const MmaPlan& plan = pass.gathers.at(pass.gathered++);
    pass.least_bytes += least_bytes(windows, output.channels, plan);
    pass.grade->gather(plan, windows, picture, weight, output, stream);
  };
  products.outer = [](const OuterProduct& product, const void* rows, const void* picture, int in_c, float* output,
                      cudaStream_t stream) {
    OuterPlan plan = pass.outers.at(pass.summed++);
    plan.parts = static_cast<int>(divided_up(product.windows.count(), plan.part));
    pass.least_bytes += least_bytes(product, plan);
    pass.filled /= room_for_windows(product.windows.count(), plan);
    pass.grade->outer(plan, product, rows, picture, in_c, output, stream);
  };
  return products;
}

void run(const WindowProducts& products, const Conv2dDesc& d, Direction direction) {
  const cuda::DeviceScope scope(cuda_device().index);
  const auto empty = [](const Shape& shape) { return Tensor::zeros(shape, Dtype::f32, cuda_device()); };
  Tensor input = empty(d.input_shape()), weight = empty(d.weight_shape()), output = empty(d.output_shape());
  switch (direction) {
    case Direction::forward:
      return cuda::conv2d_forward(
          products, d, {input.data<float>(), weight, nullptr, Activation::none, output.data<float>(), nullptr});
    case Direction::backward_data:
      return cuda::conv2d_backward_data(products, d, {weight, output.data<float>(), 0.0f, {}, input.data<float>()});
    default:
      return cuda::conv2d_backward_weight(products, d,
                                          {input.data<float>(), output.data<float>(), 0.0f, weight.data<float>()});
  }
}

/// Taps of windows that reach each pixel, summed along an axis.
int64_t taps_reaching(int64_t extent, int64_t kernel, int64_t stride, int64_t pad) {
  int64_t taps = 0;
  for (int64_t i = 0; i < extent; ++i) {
    for (int64_t t = 0; t < kernel; ++t) taps += (i + pad - t) % stride == 0;
  }
  return taps;
}

/// Of a pass, taps in the padding among them.
double least_flops(const Conv2dDesc& of, Direction direction) {
  if (direction != Direction::backward_data) return of.flops();
  const Conv2dDesc d = cuda::is_continued(of.window.padding) ? cuda::continued(of) : of;
  const Window& window = d.window;
  return 2.0 *
         static_cast<double>(taps_reaching(d.in_h, d.k_h, window.stride_h, window.padding.top) *
                             taps_reaching(d.in_w, d.k_w, window.stride_w, window.padding.left) * d.in_c * d.out_c);
}

struct Layer {
  std::string name;
  Direction direction;
  int64_t extent, counted;  // of its input for a picture of 512 pixels, and of the one that is counted
  std::function<Conv2dDesc(int64_t extent)> desc;

  /// Most tensor operations by the least: three channels do not fill what is multiplied at once, and tiles of gradients
  /// of weights have 64 columns or more.
  double limit() const {
    const Conv2dDesc d = desc(counted);
    return std::min(d.in_c, d.out_c) <= 3 ? 12.0 : direction == Direction::backward_weight ? 1.2 : kTarget.tensor_flops;
  }
};

std::function<Conv2dDesc(int64_t)> convolution(int64_t in_c, int64_t out_c, int64_t kernel, int64_t stride,
                                               Padding padding) {
  return [=](int64_t extent) {
    return Conv2dDesc::make({1, extent, extent, in_c}, {out_c, kernel, kernel, in_c}, {stride, stride, padding});
  };
}

/// Maps are counted that are whole tiles, as nearly all of the large ones are: padded ones are smaller by the padding.
std::vector<Layer> layers() {
  std::vector<Layer> all;
  const auto vgg = [&](const char* name, int64_t extent, int64_t counted, int64_t in_c, int64_t out_c) {
    const auto desc = convolution(in_c, out_c, 3, 1, Padding::zero(1));
    all.push_back({name, Direction::forward, extent, counted, desc});
    all.push_back({std::string(name) + ", gradient", Direction::backward_data, extent, counted, desc});
  };
  vgg("conv1_1, 3 -> 64", 512, 64, 3, 64);
  vgg("conv1_2, 64 -> 64", 512, 64, 64, 64);
  vgg("conv2_1, 64 -> 128", 256, 32, 64, 128);
  vgg("conv2_2, 128 -> 128", 256, 32, 128, 128);
  vgg("conv3_1, 128 -> 256", 128, 32, 128, 256);
  vgg("conv3_2, 256 -> 256", 128, 16, 256, 256);
  vgg("conv4_1, 256 -> 512", 64, 16, 256, 512);
  vgg("conv4_2, 512 -> 512", 64, 16, 512, 512);
  vgg("conv5_1, 512 -> 512", 32, 16, 512, 512);
  const auto reflected = [&](const char* name, int64_t extent, int64_t counted, int64_t in_c, int64_t out_c,
                             int64_t kernel, int64_t stride) {
    const auto desc = convolution(in_c, out_c, kernel, stride, Padding::reflect(kernel / 2));
    all.push_back({name, Direction::forward, extent, counted, desc});
    if (in_c > 3) {  // nobody needs the gradient of the picture
      const int64_t padded = counted - kernel / 2 * 2;
      all.push_back({std::string(name) + ", gradient", Direction::backward_data, extent, padded, desc});
    }
    all.push_back({std::string(name) + ", gradient of the weight", Direction::backward_weight, extent, counted, desc});
  };
  // Of the four phases of the result, and of the gradient of the continued input.
  const auto upsampled = [&](const char* name, int64_t extent, int64_t in_c, int64_t out_c) {
    all.push_back({std::string(name) + ", a phase", Direction::forward, extent, 32,
                   convolution(in_c, out_c, 2, 1, {Padding::Mode::replicate, 1, 0, 1, 0})});
    const auto back = convolution(out_c, in_c, 4, 2, Padding::zero(3));
    all.push_back({std::string(name) + ", gradient", Direction::forward, 2 * extent, 60, back});
    all.push_back({std::string(name) + ", gradient of the weight", Direction::backward_weight, 2 * extent, 60, back});
  };
  reflected("net: 9x9, 3 -> 32", 512, 64, 3, 32, 9, 1);
  reflected("net: 3x3 by 2, 32 -> 64", 512, 64, 32, 64, 3, 2);
  reflected("net: 3x3 by 2, 64 -> 128", 256, 64, 64, 128, 3, 2);
  reflected("net: residual, 128 -> 128", 128, 32, 128, 128, 3, 1);
  upsampled("net: upsampled, 128 -> 64", 128, 128, 64);
  upsampled("net: upsampled, 64 -> 32", 256, 64, 32);
  reflected("net: 9x9, 32 -> 3", 512, 64, 32, 3, 9, 1);
  return all;
}

/// False where a number is above its limit.
bool print_row(const Layer& layer, const Grade& grade) {
  pass = {&grade};
  run(planning(grade), layer.desc(layer.extent), layer.direction);
  const Conv2dDesc counted = layer.desc(layer.counted);
  take_counters();
  run(replaying(grade), counted, layer.direction);
  int64_t operations = 0, bytes = 0, conflicts = 0;
  for (const LaunchCounters& launch : take_counters()) {
    if (launch.kernel != "gather_mma_kernel" && launch.kernel != "outer_mma_kernel") continue;
    operations += launch.tensor_flops;
    bytes += launch.bytes_read + launch.bytes_written;
    conflicts += launch.bank_conflicts;
  }
  const bool gathers = !pass.gathers.empty();
  const cuda::TileSize tile =
      gathers ? cuda::kMmaTiles[pass.gathers.front().tile] : cuda::kOuterTiles[pass.outers.front().tile];
  const int parts = gathers ? pass.gathers.front().parts : pass.outers.front().parts;
  const double tensor = static_cast<double>(operations) * pass.filled / least_flops(counted, layer.direction),
               of_tiles = static_cast<double>(bytes) / static_cast<double>(pass.least_bytes);
  fmt::print("| {} | {} | {} x {} | {} | {} | {} | {} |\n", layer.name, grade.name, tile.rows, tile.columns, parts,
             above(tensor, kTarget.tensor_flops), above(of_tiles, kTarget.bytes),
             conflicts > 0 ? fmt::format("**{}**", conflicts) : "0");
  std::fflush(stdout);
  return tensor <= layer.limit() && of_tiles <= kTarget.bytes && conflicts == kTarget.bank_conflicts;
}

}  // namespace

bool print_layer_counts(std::string_view beginning) {
  bool within = true;
  fmt::print("| layer | precision | tile | parts | tensor operations / minimum | bytes / tiles | bank conflicts |\n");
  fmt::print("|---|---|---|---|---|---|---|\n");
  for (const Grade& grade : kGrades) {
    for (const Layer& layer : layers()) {
      if (layer.name.starts_with(beginning) && !print_row(layer, grade)) {
        std::fprintf(stderr, "kernel_counters: %s at %s is above its limits\n", layer.name.c_str(), grade.name);
        within = false;
      }
    }
  }
  return within;
}

}  // namespace minidl::emulator
