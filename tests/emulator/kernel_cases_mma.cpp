// Convolutions on tensor cores: operands of 16 bits or of three channels are copied, the product, and the sum of its
// parts where it has several.
#include <emulator/device_tensors.h>
#include <emulator/kernel_cases.h>
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/input_operand.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_mma.h>
#include <minidl/kernels/elementwise.h>

#include <memory>

namespace minidl::emulator {
namespace {

constexpr int64_t kFloat = sizeof(float);

struct Layer {
  const char* name;
  int64_t extent, in_c, out_c;
  int64_t kernel = 3;
  Padding padding = Padding::zero(1);
  /// Few channels on one side do not fill the tiles of tensor cores.
  bool few = false;
};

struct Grade {
  Precision precision;
  Dtype dtype;
};
constexpr Grade kTf32{Precision::tf32, Dtype::f32}, kBf16{Precision::bf16, Dtype::bf16};

/// A layer at a grade. The input is as large as the output.
struct Convolution {
  Layer layer;
  Grade grade;
  Conv2dDesc desc;
  Tensor input, weight, bias, output, grad_weight;
  BitMask mask;

  Convolution(const Layer& l, const Grade& g)
      : layer(l),
        grade(g),
        desc(Conv2dDesc::make({1, l.extent, l.extent, l.in_c}, {l.out_c, l.kernel, l.kernel, l.in_c},
                              {1, 1, l.padding})),
        input(device_tensor(desc.input_shape())),
        weight(device_tensor(desc.weight_shape())),
        bias(device_tensor({l.out_c})),
        output(device_tensor(desc.output_shape())),
        grad_weight(device_tensor(desc.weight_shape())) {}

  void run(const std::function<void()>& body) const {
    execution::set_precision(grade.precision);
    body();
    execution::set_precision(Precision::fp32);
  }
  std::string name(const char* what) const {
    return std::string(layer.name) + ", " + to_string(grade.precision) + what;
  }
  int64_t element() const { return static_cast<int64_t>(size_of(grade.dtype)); }
  int64_t pixels() const { return layer.extent * layer.extent; }
  /// Of filters over the input: rows of taps may be one.
  cuda::FilterRow row() const {
    return cuda::filter_row(grade.dtype == Dtype::bf16 ? cuda::products_bf16 : cuda::products_tf32, desc);
  }
  int64_t taps() const { return layer.kernel * row().taps; }
  /// Windows, `pixels` in a row as one.
  struct Gathered {
    int64_t windows, taps;
    int64_t inside;  // pixels that they read, those outside of the picture left out
  };
  Gathered gathered(int64_t pixels_of_window = 1) const {
    const int64_t across = layer.extent / pixels_of_window, k_w = row().taps + pixels_of_window - 1;
    Gathered result{layer.extent * across, layer.kernel * k_w, 0};
    result.inside = result.windows * result.taps;
    if (layer.padding.mode != Padding::Mode::zero) return result;
    result.inside = taps_inside(layer.extent, layer.kernel, 1, -layer.padding.top, layer.extent) *
                    taps_inside(across, k_w, pixels_of_window, -layer.padding.left, layer.extent);
    return result;
  }
  /// Of a product with so many channels: pairs, where they are few.
  int64_t pixels_of_window(int64_t channels) const { return channels <= 4 && layer.extent % 2 == 0 ? 2 : 1; }
  /// Bytes of results of a ReLU that are left as an operand of 16 bits, too.
  int64_t rounded(const Tensor& results) const {
    return element() == 2 && desc.out_c % 8 == 0 ? element() * results.count() : 0;
  }
  /// Bytes of the moments that are left of results without a ReLU.
  int64_t moments() const {
    if (pixels_of_window(desc.out_c) > 1) return 0;
    return moment_bytes(pixels(), desc.out_c, taps() * padded(row().channels), element());
  }
  int64_t padded(int64_t channels) const { return cuda::operand_channels(grade.dtype, channels); }

  ExpectedLaunch::Limits limits() const {
    // What is there beside the operands, bias and masks, counts more beside few terms; the copies of three channels
    // begin anywhere in a sector.
    return layer.few ? ExpectedLaunch::Limits{.sectors = 3.0, .bytes = 1.3, .tensor_flops = 12}
                     : ExpectedLaunch::Limits{};
  }
  /// What is made of `channels` filters of in_c channels.
  void add_filters(std::vector<ExpectedLaunch>& launches, int64_t channels, int64_t in_c) const {
    const int64_t together = pixels_of_window(channels), rows = channels * together * gathered(together).taps;
    if (together > 1)
      launches.push_back(
          {"paired_filters_kernel", kFloat * in_c * (rows + channels * taps()), 0, {.sectors = 1.3, .bytes = 1.5}});
    add_operand(launches, rows, in_c);
  }
  void add_operand(std::vector<ExpectedLaunch>& launches, int64_t rows, int64_t channels) const {
    const int64_t bytes = cuda::operand_bytes(grade.dtype, rows, channels);
    if (bytes > 0) launches.push_back({"operand_kernel", kFloat * rows * channels + bytes, 0, limits()});
  }
  void add_input(std::vector<ExpectedLaunch>& launches) const {
    if (row().taps == layer.kernel) return add_operand(launches, pixels(), desc.in_c);
    // Each number is read for all taps, from caches.
    launches.push_back({"tap_rows_kernel",
                        input.bytes() + element() * pixels() * padded(row().channels),
                        0,
                        {.sectors = 1.5, .bytes = 4.0}});
  }
  /// windows [pixels, channels of the result] with in_c channels a tap; `beside`: bytes beside the operands; `added`:
  /// terms of rows that are added.
  void add_product(std::vector<ExpectedLaunch>& launches, int64_t in_c, int64_t channels, int64_t beside,
                   int64_t added = 0) const {
    const int64_t together = pixels_of_window(channels), least = 2 * pixels() * channels * (taps() * in_c + added);
    const auto [windows, taps_read, inside] = gathered(together);
    channels *= together;
    const int64_t terms = taps_read * padded(in_c), results = kFloat * windows * channels;
    const cuda::MmaPlan plan = cuda::plan_mma(windows, channels, terms, element());
    const cuda::TileSize tile = cuda::kMmaTiles[plan.tile];
    const int64_t written = plan.parts > 1 ? plan.parts * results : results + beside;
    const int64_t read = element() * read_by_tiles(tile, windows, inside * padded(in_c) + pixels() * added, channels,
                                                   channels * (terms + added));
    ExpectedLaunch::Limits of_product = limits();
    if (together > 1) of_product.tensor_flops = 2.0;  // eight columns for six, and a tap more
    launches.push_back({"gather_mma_kernel",
                        element() * (pixels() * (padded(in_c) + added) + channels * (terms + added)) + written,
                        read + written, of_product, least});
    if (plan.parts > 1) {
      // Bias and mask are read for each result.
      launches.push_back({"add_parts_kernel",
                          (plan.parts + 1) * results + beside,
                          0,
                          {.sectors = layer.few ? 2.0 : 1.3, .bytes = 1.5}});
    }
  }
};

KernelCase forward(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  const bool masked = c->desc.out_c % 8 == 0;
  if (masked) c->mask = BitMask(c->desc.output_shape(), cuda_device());
  return {c->name(""),
          [=] {
            c->run([&] {
              conv2d_forward(c->desc, c->input, c->weight, c->bias, Activation::relu, c->output,
                             masked ? &c->mask : nullptr);
            });
          },
          [=](const std::vector<int64_t>&) {
            std::vector<ExpectedLaunch> launches;
            c->add_filters(launches, c->desc.out_c, c->row().channels);
            c->add_input(launches);
            c->add_product(launches, c->row().channels, c->desc.out_c,
                           c->bias.bytes() + (masked ? c->output.count() / 8 : 0) + c->rounded(c->output));
            return launches;
          }};
}

/// Without an activation: for a norm.
KernelCase forward_for_norm(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  return {c->name(", for a norm"),
          [=] { c->run([&] { conv2d_forward(c->desc, c->input, c->weight, c->bias, Activation::none, c->output); }); },
          [=](const std::vector<int64_t>&) {
            std::vector<ExpectedLaunch> launches;
            c->add_filters(launches, c->desc.out_c, c->row().channels);
            c->add_input(launches);
            c->add_product(launches, c->row().channels, c->desc.out_c, c->bias.bytes() + c->moments());
            return launches;
          }};
}

/// With a ReLU and a pool of 2x2 windows: the pooled map alone is written.
KernelCase pooled_forward(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  const auto route = std::make_shared<PoolRoute>(PoolRoute::make(c->desc, PoolKind::average, cuda_device()));
  const auto output = std::make_shared<Tensor>(device_tensor(pool_of(c->desc, PoolKind::average).output_shape()));
  return {c->name(", pooled"),
          [=] {
            c->run([&] {
              conv2d_pool2d_forward(c->desc, PoolKind::average, c->input, c->weight, c->bias, *output, route.get());
            });
          },
          [=](const std::vector<int64_t>&) {
            std::vector<ExpectedLaunch> launches;
            c->add_operand(launches, c->desc.out_c * c->taps(), c->desc.in_c);
            c->add_operand(launches, c->pixels(), c->desc.in_c);
            c->add_product(launches, c->desc.in_c, c->desc.out_c,
                           c->bias.bytes() + c->output.count() / 8 + c->rounded(*output));
            const int64_t spared = c->output.bytes() - output->bytes();
            launches.back().compulsory -= spared;
            launches.back().tile_minimum -= spared;
            launches.back().limits.bytes = 1.1;  // bias and mask beside a quarter of the results
            return launches;
          }};
}

KernelCase pooled_backward_data(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  const auto route = std::make_shared<PoolRoute>(PoolRoute::make(c->desc, PoolKind::max, cuda_device()));
  const auto grad = std::make_shared<Tensor>(device_tensor(pool_of(c->desc, PoolKind::max).output_shape()));
  return {c->name(", pooled, gradient"),
          [=] { c->run([&] { conv2d_pool2d_backward_data(c->desc, c->weight, *route, *grad, {}, c->input); }); },
          [=](const std::vector<int64_t>&) {
            std::vector<ExpectedLaunch> launches = {{"pack_reversed_kernel", 2 * c->weight.bytes(), 0, c->limits()}};
            c->add_operand(launches, c->desc.in_c * c->taps(), c->desc.out_c);
            launches.push_back({"pool2d_backward_apart_kernel",
                                grad->bytes() + grad->count() + c->element() * c->output.count(), 0, c->limits()});
            c->add_product(launches, c->desc.out_c, c->desc.in_c, 0);
            return launches;
          }};
}

KernelCase backward_data(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  return {c->name(", gradient"),
          [=] { c->run([&] { conv2d_backward_data(c->desc, c->weight, c->output, {}, c->input); }); },
          [=](const std::vector<int64_t>&) {
            std::vector<ExpectedLaunch> launches = {{"pack_reversed_kernel", 2 * c->weight.bytes(), 0, c->limits()}};
            c->add_filters(launches, c->desc.in_c, c->desc.out_c);
            c->add_operand(launches, c->pixels(), c->desc.out_c);
            c->add_product(launches, c->desc.out_c, c->desc.in_c, 0);
            return launches;
          }};
}

/// Of an input that a pool gave: the gradient is written once more, spread over the pixels that were pooled.
KernelCase backward_data_to_pool(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  const int64_t extent = 2 * layer.extent;
  const auto below = Conv2dDesc::make({1, extent, extent, 8}, {c->desc.in_c, 1, 1, 8}, {});
  const auto route = std::make_shared<PoolRoute>(PoolRoute::make(below, PoolKind::max, cuda_device()));
  return {
      c->name(", gradient, spread over what was pooled"),
      [=] { c->run([&] { conv2d_backward_data(c->desc, c->weight, c->output, {}, c->input, nullptr, route.get()); }); },
      [=](const std::vector<int64_t>&) {
        std::vector<ExpectedLaunch> launches = {{"pack_reversed_kernel", 2 * c->weight.bytes(), 0, c->limits()}};
        c->add_filters(launches, c->desc.in_c, c->desc.out_c);
        c->add_operand(launches, c->pixels(), c->desc.out_c);
        c->add_product(launches, c->desc.out_c, c->desc.in_c, (4 * c->element() + 1) * c->input.count());
        return launches;
      }};
}

/// A picture whose mean is taken off, as it is and as an operand.
KernelCase picture_without_mean(int64_t extent, const Grade& grade) {
  const Tensor picture = device_tensor({1, extent, extent, 3}), mean = device_tensor({3});
  const auto output = std::make_shared<Tensor>(device_tensor(picture.shape()));
  return {picture.shape().str() + ", " + to_string(grade.precision) + ": a x + b of each channel before a convolution",
          [=] {
            execution::set_precision(grade.precision);
            add_per_channel(1.0f, picture, mean, *output, true);
            execution::set_precision(Precision::fp32);
          },
          [=](const std::vector<int64_t>&) -> std::vector<ExpectedLaunch> {
            const int64_t operand = cuda::operand_bytes(grade.dtype, extent * extent, 3);
            // Three channels begin anywhere in a sector, and each thread reads the mean.
            return {{"shifted_operand_kernel", 2 * picture.bytes() + operand, 0, {.sectors = 3.0, .bytes = 1.6}}};
          }};
}

/// With the gradient of a style term at its input, whose features and matrix are operands, too.
KernelCase backward_data_with_style(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  const Tensor features = device_tensor(c->desc.input_shape()), matrix = device_tensor({1, c->desc.in_c, c->desc.in_c});
  return {c->name(", gradient with that of a style term"),
          [=] {
            c->run([&] {
              const GramContribution added{features, matrix};
              conv2d_backward_data(c->desc, c->weight, c->output, {}, c->input, &added);
            });
          },
          [=](const std::vector<int64_t>&) {
            std::vector<ExpectedLaunch> launches = {{"pack_reversed_kernel", 2 * c->weight.bytes(), 0, c->limits()}};
            c->add_operand(launches, c->desc.in_c * c->taps(), c->desc.out_c);
            c->add_operand(launches, c->pixels(), c->desc.out_c);
            c->add_operand(launches, c->pixels(), c->desc.in_c);
            c->add_operand(launches, c->desc.in_c, c->desc.in_c);
            c->add_product(launches, c->desc.out_c, c->desc.in_c, 0, c->desc.in_c);
            return launches;
          }};
}

KernelCase backward_weight(const Layer& layer, const Grade& grade) {
  const auto c = std::make_shared<Convolution>(layer, grade);
  return {c->name(", gradient of the weight"),
          [=] { c->run([&] { conv2d_backward_weight(c->desc, c->input, c->output, 0.0f, c->grad_weight); }); },
          [=](const std::vector<int64_t>&) {
            std::vector<ExpectedLaunch> launches;
            c->add_input(launches);
            c->add_operand(launches, c->pixels(), c->desc.out_c);
            const int64_t rows = c->desc.out_c, columns = c->padded(c->row().channels), length = c->taps() * columns;
            cuda::OuterProduct product{.windows = {.n = 1,
                                                   .in_h = 1,
                                                   .in_w = 1,
                                                   .in_c = static_cast<int>(length),
                                                   .windows_h = 1,
                                                   .windows_w = static_cast<int>(c->pixels())},
                                       .rows = static_cast<int>(rows)};
            const cuda::OuterPlan plan = cuda::plan_outer_mma(product);
            const cuda::TileSize tile = cuda::kOuterTiles[plan.tile];
            const int64_t partials = kFloat * plan.parts * rows * length;
            const int64_t read = c->element() * read_by_tiles(tile, rows, c->padded(rows) * c->pixels(), length,
                                                              c->gathered().inside * columns);
            launches.push_back({"outer_mma_kernel", c->element() * c->pixels() * (c->padded(rows) + columns) + partials,
                                read + partials, c->limits(), 2 * rows * c->pixels() * c->taps() * c->row().channels});
            launches.push_back({"outer_product_sum_kernel", partials + c->grad_weight.bytes(), 0, c->limits()});
            return launches;
          }};
}

}  // namespace

int64_t moment_bytes(int64_t windows, int64_t channels, int64_t terms, int64_t element) {
  const cuda::MmaPlan plan = cuda::plan_mma(windows, channels, terms, element);
  const int rows = cuda::moment_rows(
      plan, {.n = 1, .in_h = 1, .in_w = 1, .in_c = 1, .windows_h = 1, .windows_w = static_cast<int>(windows)});
  return rows == 0 ? 0 : 4 * kFloat * cuda::divided_up(windows, rows) * channels;
}

std::vector<std::function<KernelCase()>> mma_cases(bool small) {
  std::vector<Layer> layers = {{"conv1_1 64x64, 3 -> 64", 64, 3, 64, 3, Padding::zero(1), true},
                               {"conv1_2 64x64, 64 -> 64", 64, 64, 64},
                               {"conv2_1 32x32, 64 -> 128", 32, 64, 128},
                               {"conv2_2 32x32, 128 -> 128", 32, 128, 128},
                               {"conv3_1 16x16, 128 -> 256", 16, 128, 256},
                               {"conv3_2 16x16, 256 -> 256", 16, 256, 256},
                               {"conv4_1 8x8, 256 -> 512", 8, 256, 512},
                               {"conv4_2 8x8, 512 -> 512", 8, 512, 512},
                               {"conv5_1 4x4, 512 -> 512", 4, 512, 512, 3, Padding::zero(1), true},
                               {"residual block 16x16, 128 -> 128, reflected", 16, 128, 128, 3, Padding::reflect(1)},
                               {"9x9 of 64x64, 3 -> 32, reflected", 64, 3, 32, 9, Padding::reflect(4), true},
                               {"9x9 of 64x64, 32 -> 3, reflected", 64, 32, 3, 9, Padding::reflect(4), true}};
  if (small) {
    layers = {{"16x16, 3 -> 64", 16, 3, 64, 3, Padding::zero(1), true},
              {"9x9 of 16x16, 3 -> 8, reflected", 16, 3, 8, 9, Padding::reflect(4), true},
              {"16x16, 64 -> 64", 16, 64, 64},
              {"8x8, 128 -> 64", 8, 128, 64}};
  }
  std::vector<std::function<KernelCase()>> cases;
  for (const Grade& grade : {kTf32, kBf16}) {
    for (const Layer& layer : layers) {
      cases.push_back([=] { return forward(layer, grade); });
      if (&layer == &layers[1] || layer.padding.mode != Padding::Mode::zero)
        cases.push_back([=] { return forward_for_norm(layer, grade); });
      if (layer.padding.mode == Padding::Mode::zero) cases.push_back([=] { return backward_data(layer, grade); });
      cases.push_back([=] { return backward_weight(layer, grade); });
    }
    // Of few terms, so that the product is in one part.
    const Layer pooled = small ? Layer{"32x32, 32 -> 64", 32, 32, 64} : Layer{"64x64, 32 -> 64", 64, 32, 64};
    cases.push_back([=] { return pooled_forward(pooled, grade); });
    cases.push_back([=] { return pooled_backward_data(pooled, grade); });
    cases.push_back([=] { return backward_data_to_pool(small ? pooled : layers[1], grade); });
    cases.push_back([=] { return picture_without_mean(small ? 16 : 64, grade); });
    cases.push_back([=] { return backward_data_with_style(small ? pooled : layers[1], grade); });
  }
  return cases;
}

}  // namespace minidl::emulator
