#include <gpu/gpu_model.h>

#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_mma.h>

#include <algorithm>
#include <stdexcept>

namespace minidl::cuda {
namespace {

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
constexpr double kPairs = 10;
double content_elements(double side) {
  return side * side / 64 * 512;
}

}  // namespace

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
  const bool tensor = arithmetic != Arithmetic::fp32;
  const double picture = 3 * side * side;
  double coefficients = 0;  // of all Gram matrices
  all.push_back(pass("mean of the network", 2 * kFloat * picture + (tensor ? read * side * side * padded(3) : 0)));
  bool pooled_before = false;
  for (const Layer& layer : kLayers) {
    const std::string name = layer.name;
    const double pixels = side * side / (layer.shrink * layer.shrink), in = pixels * layer.in_c,
                 out = pixels * layer.out_c;
    // A product on tensor cores in one part pools what it writes.
    const bool pools =
        layer.pooled && tensor &&
        plan_mma(static_cast<int64_t>(pixels), layer.out_c, static_cast<int64_t>(9 * padded(layer.in_c)), half ? 2 : 4)
                .parts == 1;
    all.push_back(product(name + " forward", gpu, arithmetic, pixels, layer.out_c, 9 * padded(layer.in_c),
                          read * in + written * (pools ? 0.25 : 1.0) * out));
    if (layer.pooled && !pools) all.push_back(pass(name + " pooling", kFloat * out * 1.5 + out / 4, 2));
    if (layer.pooled && !tensor)
      all.push_back(pass(name + " pooling, gradient", kFloat * out + kFloat * out / 4 + out / 8));
    const bool last = &layer == &kLayers[std::size(kLayers) - 1];
    // The gradient of a style term at the input is more terms of the same product.
    const bool adds = tensor && style_before;
    const bool pairs = tensor && layer.in_c <= 4;  // of pixels as one
    // On tensor cores what goes to a pool is spread over its pixels, four times as many, beside what the pool chose.
    const double unpooled = tensor && pooled_before ? 4 * read + 1 : 0;
    all.push_back(product(name + " gradient", gpu, arithmetic, pairs ? pixels / 2 : pixels,
                          pairs ? 2 * layer.in_c : layer.in_c,
                          (pairs ? 12 : 9) * padded(layer.out_c) + (adds ? layer.in_c : 0),
                          (kFloat + (of_relu ? written - kFloat : 0) + (adds ? read : 0) + unpooled) * in + read * out));
    pooled_before = layer.pooled;
    of_relu = !layer.pooled;
    style_before = layer.style;
    if (layer.style) {
      const double c = layer.out_c;
      const Arithmetic of_gram = std::min(arithmetic, Arithmetic::tf32);
      all.push_back(gram(name + " Gram matrix", gpu, of_gram, pixels, layer.out_c));
      coefficients += c * c;
      // Of the last layer it is all of the gradient, and at bf16 of operands that are there.
      if (!tensor || last) {
        all.push_back(product(name + " style gradient", gpu, half ? arithmetic : of_gram, pixels, c, c,
                              half ? (read + written) * out : 3 * kFloat * out));
      }
    }
  }
  all.push_back(pass("Gram matrices: parts, losses, coefficients", kFloat * coefficients * 8));
  all.push_back(pass("content loss and its gradient", 3 * kFloat * content_elements(side)));
  all.push_back(pass("total variation and its gradient", 2 * kFloat * picture));
  all.push_back(pass("L-BFGS: curvature pair", 8 * kFloat * picture));
  all.push_back(pass("L-BFGS: smoothing, twice", 9 * kFloat * picture, 4));
  all.push_back(pass("L-BFGS: passes over 10 pairs of bf16", (4 * kPairs * 2 + 10 * kFloat) * picture, 4));
  return all;
}

/// Of an eager framework (docs/gpu_model.md says what each operation reads and writes), in bytes of f32.
std::vector<Between> between_products(Arithmetic arithmetic, double side) {
  const double picture = 3 * side * side, content = content_elements(side);
  double features = 0, pooled = 0, style = 0, coefficients = 0;
  for (const Layer& layer : kLayers) {
    const double elements = side * side / (layer.shrink * layer.shrink) * layer.out_c;
    features += elements;
    if (layer.pooled) pooled += elements;
    if (layer.style) {
      style += elements;
      coefficients += double{1} * layer.out_c * layer.out_c;
    }
  }
  // Reads and writes of an element.
  std::vector<Between> rows = {{"mean", 0, 6 * kFloat * picture},
                               {"bias", 0, 2 * kFloat * features},
                               {"ReLU", 0, 5 * kFloat * features},
                               {"pooling", 0, (2 + 3 * 1.25) * kFloat * pooled},
                               {"Gram matrices", 0, 9 * kFloat * coefficients + 6 * kFloat * style},
                               {"content", 0, 10 * kFloat * content},
                               {"total variation", 0, 0},
                               {"L-BFGS", 0, (28 + 10 * kPairs) * kFloat * picture}};
  const Gpu any{.name = "", .multiprocessors = 132, .fp32 = 1, .tf32 = 1, .half = 1, .memory = 1, .cache = 1, .mma = 1};
  for (const Work& work : iteration(any, arithmetic, side)) {
    if (work.operations > 0) continue;
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const Between& between) { return work.name.find(between.name) != std::string::npos; });
    if (row == rows.end()) throw std::logic_error("a launch of no row: " + work.name);
    row->ours += work.memory_bytes;
  }
  return rows;
}

}  // namespace minidl::cuda
