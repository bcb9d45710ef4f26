// Upsampling and a convolution on tensor cores: 2x2 convolutions of the small picture for each phase of the output, a
// 4x4 convolution of its gradient, and the gradient of the taps of that.
#include <emulator/device_tensors.h>
#include <emulator/kernel_cases.h>
#include <fmt/format.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/outer_mma.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/upsample_conv2d.h>

#include <memory>

namespace minidl::emulator {
namespace {

constexpr int64_t kFloat = sizeof(float);

/// What windows that end within a tile, or a step, cost, as a multiple of those.
double filled(int64_t windows, int64_t of_tile) {
  return static_cast<double>(cuda::divided_up(windows, of_tile) * of_tile) / static_cast<double>(windows);
}

struct Upsampled {
  Precision precision;
  Dtype dtype;
  UpsampleConv2dDesc desc;
  Tensor input, weight, bias, output;
  Tensor grad_weight;

  Upsampled(Precision p, int64_t extent, int64_t in_c, int64_t out_c)
      : precision(p),
        dtype(p == Precision::tf32 ? Dtype::f32 : Dtype::bf16),
        desc{1, extent, extent, in_c, out_c, Padding::Mode::reflect},
        input(device_tensor(desc.input_shape())),
        weight(device_tensor(desc.weight_shape())),
        bias(device_tensor({out_c})),
        output(device_tensor(desc.output_shape())),
        grad_weight(device_tensor(desc.weight_shape())) {}

  std::string name(const char* what) const {
    return fmt::format("upsampled by 2 and 3x3 {}x{}, {} -> {}, {}{}", desc.in_h, desc.in_w, desc.in_c, desc.out_c,
                       to_string(precision), what);
  }
  int64_t element() const { return static_cast<int64_t>(size_of(dtype)); }
  int64_t pixels() const { return desc.in_h * desc.in_w; }
  int64_t taps() const { return 16 * desc.in_c * desc.out_c; }
  int64_t continued() const { return (desc.in_h + 2) * (desc.in_w + 2); }
  /// Pixels of the output's gradient that the 4x4 windows of the continued picture read.
  int64_t reached() const {
    const int64_t along = taps_inside(desc.in_h + 2, 4, 2, -3, 2 * desc.in_h);
    return along * along;
  }
  void add_operand(std::vector<ExpectedLaunch>& launches, int64_t rows, int64_t channels) const {
    const int64_t bytes = cuda::operand_bytes(dtype, rows, channels);
    if (bytes > 0) launches.push_back({"operand_kernel", kFloat * rows * channels + bytes});
  }
  /// `read`: values of windows that lie in the picture, of `picture` values.
  void add_product(std::vector<ExpectedLaunch>& launches, int64_t windows, int64_t channels, int64_t terms,
                   int64_t read, int64_t picture, int64_t beside) const {
    const cuda::MmaPlan plan = cuda::plan_mma(windows, channels, terms, element());
    const cuda::TileSize tile = cuda::kMmaTiles[plan.tile];
    const int64_t results = kFloat * windows * channels;
    const int64_t written = plan.parts > 1 ? plan.parts * results : results + beside;
    launches.push_back({"gather_mma_kernel",
                        element() * (picture + channels * terms) + written,
                        element() * read_by_tiles(tile, windows, read, channels, channels * terms) + written,
                        {.tensor_flops = 1.1 * filled(windows, tile.rows)},
                        2 * windows * channels * terms});
    if (plan.parts > 1)
      launches.push_back({"add_parts_kernel", (plan.parts + 1) * results + beside, 0, {.bytes = 1.5}});
  }
};

KernelCase forward(const std::shared_ptr<Upsampled>& c) {
  return {c->name(""),
          [=] {
            const execution::PrecisionScope scope(c->precision);
            upsample_conv2d_forward(c->desc, c->input, c->weight, c->bias, c->output);
          },
          [=](const std::vector<int64_t>&) {
            const int64_t in_c = c->desc.in_c, out_c = c->desc.out_c;
            // A tap is a sum of up to four of the weight.
            std::vector<ExpectedLaunch> launches = {
                {"phase_weight_kernel", c->weight.bytes() + kFloat * c->taps(), 0, {.bytes = 2.1}}};
            c->add_operand(launches, 16 * out_c, in_c);
            c->add_operand(launches, c->pixels(), in_c);
            for (int phase = 0; phase < 4; ++phase)
              c->add_product(launches, c->pixels(), out_c, 4 * in_c, 4 * c->pixels() * in_c, c->pixels() * in_c,
                             c->bias.bytes() + moment_bytes(c->pixels(), out_c, 4 * in_c, c->element()));
            return launches;
          }};
}

KernelCase backward_data(const std::shared_ptr<Upsampled>& c) {
  return {c->name(", gradient"),
          [=] {
            const execution::PrecisionScope scope(c->precision);
            upsample_conv2d_backward_data(c->desc, c->weight, c->output, {}, c->input);
          },
          [=](const std::vector<int64_t>&) {
            const int64_t in_c = c->desc.in_c, out_c = c->desc.out_c;
            std::vector<ExpectedLaunch> launches = {
                {"gradient_weight_kernel", c->weight.bytes() + kFloat * c->taps(), 0, {.bytes = 2.1}},
                {"pack_reversed_kernel", 2 * kFloat * c->taps()}};
            c->add_operand(launches, 16 * in_c, out_c);
            c->add_operand(launches, 4 * c->pixels(), out_c);
            c->add_product(launches, c->continued(), in_c, 16 * out_c, c->reached() * out_c, c->output.count(), 0);
            launches.push_back({"pad_backward_kernel", kFloat * c->continued() * in_c + c->input.bytes()});
            return launches;
          }};
}

KernelCase backward_weight(const std::shared_ptr<Upsampled>& c) {
  return {
      c->name(", gradient of the weight"),
      [=] {
        const execution::PrecisionScope scope(c->precision);
        upsample_conv2d_backward_weight(c->desc, c->input, c->output, 0.0f, c->grad_weight);
      },
      [=](const std::vector<int64_t>&) {
        const int64_t in_c = c->desc.in_c, out_c = c->desc.out_c, length = 16 * out_c, windows = c->continued();
        std::vector<ExpectedLaunch> launches = {
            {"pad_forward_kernel", kFloat * windows * in_c + c->input.bytes(), 0, {.bytes = 1.4}}};
        c->add_operand(launches, windows, in_c);
        c->add_operand(launches, 4 * c->pixels(), out_c);
        const cuda::OuterPlan plan = cuda::plan_outer_mma({.windows = {.n = 1,
                                                                       .in_h = 1,
                                                                       .in_w = 1,
                                                                       .in_c = static_cast<int>(length),
                                                                       .windows_h = 1,
                                                                       .windows_w = static_cast<int>(windows)},
                                                           .rows = static_cast<int>(in_c)});
        const cuda::TileSize tile = cuda::kOuterTiles[plan.tile];
        const int64_t partials = kFloat * plan.parts * in_c * length;
        launches.push_back(
            {"outer_mma_kernel",
             c->element() * (windows * in_c + c->output.count()) + partials,
             c->element() * read_by_tiles(tile, in_c, in_c * windows, length, c->reached() * out_c) + partials,
             {.tensor_flops = 1.1 * filled(windows, 64 / c->element())},
             2 * in_c * windows * length});
        launches.push_back({"outer_product_sum_kernel", partials + kFloat * c->taps()});
        launches.push_back({"pack_reversed_kernel", 2 * kFloat * c->taps()});
        launches.push_back({"weight_gradient_kernel", kFloat * c->taps() + c->grad_weight.bytes(), 0, {.bytes = 2.0}});
        return launches;
      }};
}

}  // namespace

std::vector<std::function<KernelCase()>> upsample_cases(bool small) {
  std::vector<std::function<KernelCase()>> cases;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    const auto make = [=] { return std::make_shared<Upsampled>(precision, small ? 8 : 32, small ? 64 : 128, 64); };
    cases.push_back([=] { return forward(make()); });
    cases.push_back([=] { return backward_data(make()); });
    cases.push_back([=] { return backward_weight(make()); });
  }
  return cases;
}

}  // namespace minidl::emulator
