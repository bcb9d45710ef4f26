// Convolutions, linear layers and Gram matrices: what is computed by tiles of matrix products.
#include <emulator/device_tensors.h>
#include <emulator/kernel_cases.h>
#include <fmt/format.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gemm.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/upsample_conv2d.h>

#include <algorithm>
#include <memory>

namespace minidl::emulator {
namespace {

constexpr int64_t kFloat = sizeof(float);

/// A product [rows, columns] with `terms` each, of which `inside` of the rows * terms values of the left operand are
/// read and the others zeros around a picture.
struct Product {
  int64_t rows, columns, terms, inside;

  /// Narrow where there are few rows or columns, else 128 or 64: what the number of blocks comes from.
  cuda::TileSize tile(int64_t blocks) const {
    if (columns <= 8) return {128, 8};
    if (rows <= 8) return {8, 128};
    return cuda::divided_up(rows, 128) * cuda::divided_up(columns, 128) == blocks ? cuda::TileSize{128, 128}
                                                                                  : cuda::TileSize{64, 64};
  }
};

/// Each block reads its rows and columns once.
int64_t tile_minimum(const Product& product, int64_t blocks, int64_t output_bytes) {
  const cuda::TileSize tile = product.tile(blocks);
  return kFloat * read_by_tiles(tile, product.rows, product.inside, product.columns, product.columns * product.terms) +
         output_bytes;
}

/// The parts that an outer product is cut into are summed by a second kernel.
struct OuterLaunches {
  int64_t rows, length, positions;  // of the result, and what is summed over
  int64_t inside;                   // of the positions * length values of the right operand
  bool symmetric = false;
  int64_t input_bytes, output_bytes;  // of the tensors

  std::vector<ExpectedLaunch> expected(const std::vector<int64_t>& blocks,
                                       ExpectedLaunch::Limits product_limits = {.bytes = 1.1}) const {
    const bool vectors = rows % 4 == 0 && length % 4 == 0;
    const int64_t tile = std::min(rows, length) > 64 && vectors ? 128 : 64;
    const int64_t row_blocks = cuda::divided_up(rows, tile), column_blocks = cuda::divided_up(length, tile);
    const int64_t parts = blocks.at(0) / (row_blocks * column_blocks);
    int64_t partials = kFloat * parts * rows * length;
    int64_t minimum = kFloat * (rows * positions * column_blocks + inside * row_blocks);
    if (symmetric) {  // blocks on and below the diagonal
      int64_t values = 0;
      partials = 0;
      for (int64_t i = 0; i < row_blocks; ++i) {
        const int64_t height = std::min(tile, rows - i * tile);
        for (int64_t j = 0; j <= i; ++j) {
          const int64_t width = std::min(tile, rows - j * tile);
          values += height + width;
          partials += kFloat * parts * height * width;
        }
      }
      minimum = kFloat * values * positions;
    }
    int64_t added = rows * length;  // of each part
    if (symmetric) {                // in tiles of 32 x 32 on and below the diagonal
      added = 0;
      for (int64_t row = 0; row < rows; ++row) added += std::min(rows, (row / 32 + 1) * 32);
    }
    return {{"outer_product_kernel", input_bytes + partials, minimum + partials, product_limits},
            {symmetric ? "mirrored_sums_kernel" : "outer_product_sum_kernel", kFloat * parts * added + output_bytes}};
  }
};

struct Layer {
  std::string name;
  int64_t extent, in_c, out_c;
  int64_t kernel = 3;
  Padding padding = Padding::zero(1);
  ExpectedLaunch::Limits pack = {}, product = {.bytes = 1.1};
};

struct ConvTensors {
  Conv2dDesc desc;
  Tensor input, weight, bias, output, grad_weight;
  BitMask mask;

  explicit ConvTensors(const Layer& l)
      : desc(Conv2dDesc::make({1, l.extent, l.extent, l.in_c}, {l.out_c, l.kernel, l.kernel, l.in_c},
                              {1, 1, l.padding})),
        input(device_tensor(desc.input_shape())),
        weight(device_tensor(desc.weight_shape())),
        bias(device_tensor({l.out_c})),
        output(device_tensor(desc.output_shape())),
        grad_weight(device_tensor(desc.weight_shape())) {}

  int64_t positions() const { return desc.out_h() * desc.out_w(); }
  int64_t terms() const { return desc.k_h * desc.k_w * desc.in_c; }
  int64_t inside() const {
    const Padding& padding = desc.window.padding;
    if (padding.mode != Padding::Mode::zero) return positions() * terms();
    return desc.in_c * taps_inside(desc.out_h(), desc.k_h, 1, -padding.top, desc.in_h) *
           taps_inside(desc.out_w(), desc.k_w, 1, -padding.left, desc.in_w);
  }
};

/// output = relu(conv2d) with its mask.
KernelCase forward(const Layer& layer) {
  const auto t = std::make_shared<ConvTensors>(layer);
  const bool masked = t->desc.out_c % 8 == 0;
  if (masked) t->mask = BitMask(t->desc.output_shape(), cuda_device());
  return {layer.name,
          [=] {
            conv2d_forward(t->desc, t->input, t->weight, t->bias, Activation::relu, t->output,
                           masked ? &t->mask : nullptr);
          },
          [=](const std::vector<int64_t>& blocks) -> std::vector<ExpectedLaunch> {
            const int64_t written = t->output.bytes() + (masked ? t->output.count() / 8 : 0) + t->bias.bytes();
            const Product product{t->positions(), t->desc.out_c, t->terms(), t->inside()};
            return {{"gather_product_kernel", t->input.bytes() + t->weight.bytes() + written,
                     tile_minimum(product, blocks.at(0), written), layer.product}};
          }};
}

/// grad_input, masked, from grad_output; the weight is packed before.
KernelCase backward_data(const Layer& layer) {
  const auto t = std::make_shared<ConvTensors>(layer);
  t->mask = BitMask(t->desc.input_shape(), cuda_device());
  positive_mask(t->input, t->mask);
  return {layer.name + ", gradient",
          [=] {
            conv2d_backward_data(t->desc, t->weight, t->output, {0.0f, &t->mask}, t->input);
          },
          [=](const std::vector<int64_t>& blocks) -> std::vector<ExpectedLaunch> {
            const int64_t written = t->input.bytes() + t->input.count() / 8;
            const Conv2dDesc& d = t->desc;
            const Product product{d.in_h * d.in_w, d.in_c, d.k_h * d.k_w * d.out_c, t->inside() / d.in_c * d.out_c};
            return {{"pack_reversed_kernel", 2 * t->weight.bytes(), 0, layer.pack},
                    {"gather_product_kernel", t->output.bytes() + t->weight.bytes() + written,
                     tile_minimum(product, blocks.at(1), written), layer.product}};
          }};
}

KernelCase backward_weight(const Layer& layer) {
  const auto t = std::make_shared<ConvTensors>(layer);
  return {layer.name + ", gradient of the weight",
          [=] { conv2d_backward_weight(t->desc, t->input, t->output, 0.0f, t->grad_weight); },
          [=](const std::vector<int64_t>& blocks) {
            const OuterLaunches launches{.rows = t->desc.out_c,
                                         .length = t->terms(),
                                         .positions = t->positions(),
                                         .inside = t->inside(),
                                         .input_bytes = t->input.bytes() + t->output.bytes(),
                                         .output_bytes = t->grad_weight.bytes()};
            return launches.expected(blocks, layer.product);
          }};
}

KernelCase linear(int64_t batch, int64_t in, int64_t out) {
  const auto x = std::make_shared<Tensor>(device_tensor({batch, in}));
  const Tensor weight = device_tensor({out, in}), bias = device_tensor({out});
  const auto y = std::make_shared<Tensor>(device_tensor({batch, out}));
  const auto grad_weight = std::make_shared<Tensor>(device_tensor({out, in}));
  return {fmt::format("linear {} -> {}, batch {}: forward, gradients", in, out, batch),
          [=] {
            linear_forward(*x, weight, bias, *y);
            linear_backward_data(weight, *y, {}, *x);
            linear_backward_weight(*x, *y, 0.0f, *grad_weight);
          },
          [=](const std::vector<int64_t>& blocks) {
            const int64_t all = x->bytes() + y->bytes() + weight.bytes();
            std::vector<ExpectedLaunch> launches = {
                {"gather_product_kernel",
                 all + bias.bytes(),
                 tile_minimum({batch, out, in, batch * in}, blocks.at(0), y->bytes() + bias.bytes()),
                 {.bytes = 1.1}},
                {"pack_reversed_kernel", 2 * weight.bytes()},
                {"gather_product_kernel",
                 all,
                 tile_minimum({batch, in, out, batch * out}, blocks.at(2), x->bytes()),
                 {.bytes = 1.1}}};
            const OuterLaunches outer{.rows = out,
                                      .length = in,
                                      .positions = batch,
                                      .inside = batch * in,
                                      .input_bytes = x->bytes() + y->bytes(),
                                      .output_bytes = weight.bytes()};
            for (const ExpectedLaunch& launch : outer.expected({blocks.at(3), blocks.at(4)}))
              launches.push_back(launch);
            return launches;
          }};
}

/// Rows of a matrix that do not lie side by side.
KernelCase strided_product(int64_t m, int64_t n, int64_t k) {
  const Tensor a = device_tensor({m, k + 1}), b = device_tensor({n, k});
  const auto c = std::make_shared<Tensor>(device_tensor({m, n}));
  return {fmt::format("gemm {} x {} x {}, rows of A one element apart", m, n, k),
          [=] {
            const GemmDesc desc{.m = m, .n = n, .k = k, .transpose_b = true, .lda = k + 1, .ldb = k, .ldc = n};
            gemm(desc, a.data<float>(), b.data<float>(), c->data<float>(), cuda_device());
          },
          [=](const std::vector<int64_t>& blocks) -> std::vector<ExpectedLaunch> {
            return {{"copy_matrix_kernel", 2 * kFloat * m * k, 0, {.sectors = 1.25}},
                    {"gather_product_kernel",
                     kFloat * m * k + b.bytes() + c->bytes(),
                     tile_minimum({m, n, k, m * k}, blocks.at(1), c->bytes()),
                     {.bytes = 1.1}}};
          }};
}

KernelCase gram(int64_t positions, int64_t channels) {
  const auto features = std::make_shared<Tensor>(device_tensor({1, 1, positions, channels}));
  const auto matrix = std::make_shared<Tensor>(device_tensor({1, channels, channels}));
  const auto difference = std::make_shared<Tensor>(device_tensor({1, channels, channels}));
  return {fmt::format("Gram matrix of {} positions, {} channels, its gradient, and less another", positions, channels),
          [=] {
            gram_forward(*features, 1.0f, *matrix);
            gram_backward(*features, *matrix, 1.0f, {1.0f}, *features);
            gram_difference(*features, 1.0f, *matrix, 1.0f, *difference);
          },
          [=](const std::vector<int64_t>& blocks) {
            OuterLaunches outer{.rows = channels,
                                .length = channels,
                                .positions = positions,
                                .inside = positions * channels,
                                .symmetric = true,
                                .input_bytes = features->bytes(),
                                .output_bytes = matrix->bytes()};
            std::vector<ExpectedLaunch> launches = outer.expected(blocks);
            launches.push_back({"add_transposed_kernel", 2 * matrix->bytes(), 0, {.bytes = 1.5}});
            launches.push_back({"gather_product_kernel",
                                3 * features->bytes() + matrix->bytes(),
                                tile_minimum({positions, channels, channels, positions * channels}, blocks.at(3),
                                             2 * features->bytes()),
                                {.bytes = 1.1}});
            outer.output_bytes += matrix->bytes();  // what is taken off is read
            for (const ExpectedLaunch& launch : outer.expected(blocks)) launches.push_back(launch);
            return launches;
          }};
}

/// Of a map of extent x extent pixels, upsampled by 2.
KernelCase upsampled(int64_t extent, int64_t in_c, int64_t out_c) {
  const UpsampleConv2dDesc d{1, extent, extent, in_c, out_c, Padding::Mode::reflect};
  const auto input = std::make_shared<Tensor>(device_tensor(d.input_shape()));
  const auto output = std::make_shared<Tensor>(device_tensor(d.output_shape()));
  const Tensor weight = device_tensor(d.weight_shape()), bias = device_tensor({out_c});
  return {
      fmt::format("upsampled by 2 and 3x3 {}x{}, {} -> {}: forward, gradient", extent, extent, in_c, out_c),
      [=] {
        upsample_conv2d_forward(d, *input, weight, bias, *output);
        upsample_conv2d_backward_data(d, weight, *output, {}, *input);
      },
      [=](const std::vector<int64_t>& blocks) {
        const int64_t taps = kFloat * 16 * in_c * out_c, pixels = extent * extent;
        // A tap is a sum of up to four of the weight.
        const ExpectedLaunch::Limits sums{.bytes = 2.1};
        std::vector<ExpectedLaunch> launches = {{"phase_weight_kernel", weight.bytes() + taps, 0, sums}};
        const int64_t written = output->bytes() / 4 + bias.bytes();
        for (size_t phase = 0; phase < 4; ++phase) {
          launches.push_back({"gather_product_kernel",
                              input->bytes() + taps / 4 + written,
                              tile_minimum({pixels, out_c, 4 * in_c, pixels * 4 * in_c}, blocks.at(1 + phase), written),
                              {.bytes = 1.1}});
        }
        launches.push_back({"gradient_weight_kernel", weight.bytes() + taps, 0, sums});
        launches.push_back({"pack_reversed_kernel", 2 * taps});
        const int64_t h = extent + 2, continued = kFloat * h * h * in_c;
        const int64_t reached = taps_inside(h, 4, 2, -3, 2 * extent);
        launches.push_back({"gather_product_kernel",
                            output->bytes() + taps + continued,
                            tile_minimum({h * h, in_c, 16 * out_c, reached * reached * out_c}, blocks.at(7), continued),
                            {.bytes = 1.1}});
        launches.push_back({"pad_backward_kernel", continued + input->bytes()});
        return launches;
      }};
}

KernelCase upsampled_weight(int64_t extent, int64_t in_c, int64_t out_c) {
  const UpsampleConv2dDesc d{1, extent, extent, in_c, out_c, Padding::Mode::reflect};
  const Tensor input = device_tensor(d.input_shape()), output = device_tensor(d.output_shape());
  const auto grad = std::make_shared<Tensor>(device_tensor(d.weight_shape()));
  return {
      fmt::format("upsampled by 2 and 3x3 {}x{}, {} -> {}: gradient of the weight", extent, extent, in_c, out_c),
      [=] { upsample_conv2d_backward_weight(d, input, output, 0.0f, *grad); },
      [=](const std::vector<int64_t>& blocks) {
        const int64_t h = extent + 2, continued = kFloat * h * h * in_c, taps = kFloat * 16 * in_c * out_c;
        const int64_t reached = taps_inside(h, 4, 2, -3, 2 * extent);
        const OuterLaunches outer{.rows = in_c,
                                  .length = 16 * out_c,
                                  .positions = h * h,
                                  .inside = reached * reached * out_c,
                                  .input_bytes = continued + output.bytes(),
                                  .output_bytes = taps};
        std::vector<ExpectedLaunch> launches = {{"pad_forward_kernel", continued + input.bytes(), 0, {.bytes = 1.4}}};
        for (const ExpectedLaunch& launch : outer.expected({blocks.at(1)})) launches.push_back(launch);
        launches.push_back({"pack_reversed_kernel", 2 * taps});
        launches.push_back({"weight_gradient_kernel", taps + grad->bytes(), 0, {.bytes = 2.0}});
        return launches;
      }};
}

}  // namespace

std::vector<std::function<KernelCase()>> convolution_cases(bool small) {
  std::vector<Layer> layers = {{"conv1_1 64x64, 3 -> 64", 64, 3, 64},
                               {"conv1_2 64x64, 64 -> 64", 64, 64, 64},
                               {"conv2_1 32x32, 64 -> 128", 32, 64, 128},
                               {"conv2_2 32x32, 128 -> 128", 32, 128, 128},
                               {"conv3_1 16x16, 128 -> 256", 16, 128, 256},
                               {"conv3_2 16x16, 256 -> 256", 16, 256, 256},
                               {"conv4_1 8x8, 256 -> 512", 8, 256, 512},
                               {"conv4_2 8x8, 512 -> 512", 8, 512, 512},
                               {"conv5_1 4x4, 512 -> 512", 4, 512, 512},
                               {"9x9 of 64x64, 3 -> 32, reflected", 64, 3, 32, 9, Padding::reflect(4)},
                               {"9x9 of 64x64, 32 -> 3, reflected", 64, 32, 3, 9, Padding::reflect(4)}};
  // Three channels are no multiple of a sector.
  const ExpectedLaunch::Limits three{.sectors = 1.4, .bytes = 1.3};
  if (small)
    layers = {{"16x16, 3 -> 64", 16, 3, 64, 3, Padding::zero(1), three, three},
              {"16x16, 64 -> 64", 16, 64, 64},
              {"8x8, 64 -> 128", 8, 64, 128}};
  std::vector<std::function<KernelCase()>> cases;
  for (const Layer& layer : layers) {
    cases.push_back([=] { return forward(layer); });
    if (layer.padding.mode == Padding::Mode::zero) cases.push_back([=] { return backward_data(layer); });
    cases.push_back([=] { return backward_weight(layer); });
  }
  const int64_t batch = small ? 4 : 1, in = small ? 256 : 4096, out = small ? 128 : 1000;
  cases.push_back([=] { return linear(batch, in, out); });
  cases.push_back([=] { return strided_product(small ? 64 : 256, small ? 64 : 256, small ? 64 : 256); });
  cases.push_back([=] { return gram(small ? 256 : 4096, 64); });
  cases.push_back([=] { return gram(small ? 64 : 256, small ? 192 : 256); });
  cases.push_back([=] { return upsampled(small ? 8 : 16, small ? 64 : 128, 64); });
  cases.push_back([=] { return upsampled_weight(small ? 8 : 16, small ? 64 : 128, 64); });
  return cases;
}

}  // namespace minidl::emulator
