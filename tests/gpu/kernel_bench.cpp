// Speed of every kernel on a CUDA device, beside the device's own limits measured in the same run: multiply-adds in
// registers, or products of fragments on tensor cores, and a copy within its memory. At a precision below fp32
// convolutions and Gram matrices alone, whose operands are made in the time that is taken, as nothing left them. Times
// are of the host around many launches and one wait, medians of rounds.
#include <fmt/format.h>
#include <gpu/peak.h>
#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gram.h>
#include <minidl/kernels/instance_norm.h>
#include <minidl/kernels/pool2d.h>
#include <minidl/kernels/precision_scope.h>
#include <minidl/kernels/total_variation.h>
#include <minidl/kernels/upsample_conv2d.h>
#include <support/device.h>
#include <support/random_tensors.h>

#include <algorithm>
#include <chrono>

namespace minidl::apps {
namespace {

constexpr int kRounds = 7;
constexpr double kGiga = 1e9;

class Bench {
 public:
  Bench(Device device, Precision precision, bool small) : device_(device), launches_(small ? 1 : 20), small_(small) {
    const cuda::DeviceScope scope(device_.index);
    products_ = peak_flops(precision);
    grams_ = precision == Precision::fp32 ? products_ : peak_flops(Precision::tf32);
    const Tensor from = random({side(64), 1 << 20});
    Tensor to = Tensor::empty(from.shape(), Dtype::f32, device_);
    peak_bytes_ = 2.0 * static_cast<double>(from.bytes()) / seconds([&] { to.copy_from(from); });
    fmt::print("{}, {}: {:.1f} TFLOP/s of products, {:.1f} of those of Gram matrices, ", device_.str(),
               to_string(precision), products_ * 1e-12, grams_ * 1e-12);
    fmt::print("{:.0f} GB/s of a copy (read and written)\n\n", peak_bytes_ / kGiga);
    fmt::print(
        "| kernel | shape | ms | GFLOP/s | % of the limit | GB/s | % of the limit |\n|---|---|---|---|---|---|---|\n");
  }

  int64_t side(int64_t of_a_large_device) const {
    return small_ ? std::max<int64_t>(1, of_a_large_device / 64) : of_a_large_device;
  }
  Tensor random(const Shape& shape) const { return test::random_uniform(shape, ++seed_).to(device_); }
  Tensor empty(const Shape& shape, Dtype dtype = Dtype::f32) const { return Tensor::empty(shape, dtype, device_); }
  Device device() const { return device_; }

  /// `bytes`: every tensor once.
  void row(const std::string& kernel, const std::string& shape, double flops, double bytes,
           const std::function<void()>& run) {
    row(kernel, shape, flops, products_, bytes, run);
  }
  void gram_row(const std::string& kernel, const std::string& shape, double flops, double bytes,
                const std::function<void()>& run) {
    row(kernel, shape, flops, grams_, bytes, run);
  }

 private:
  /// Flops of a second, of the units that multiply at a precision.
  double peak_flops(Precision precision) const {
    const int64_t blocks = small_ ? 2 : 132 * 64, products = small_ ? 4 : 1 << 14;
    Tensor sink = Tensor::empty({blocks}, Dtype::f32, device_);
    double flops = 0;
    const double time = seconds([&] {
      flops = precision == Precision::fp32 ? test::run_multiply_adds(blocks, products, sink.data<float>())
                                           : test::run_tensor_products(precision, blocks, products, sink.data<float>());
    });
    return flops / time;
  }

  void row(const std::string& kernel, const std::string& shape, double flops, double peak, double bytes,
           const std::function<void()>& run) {
    const double time = seconds(run);
    fmt::print("| {} | {} | {:.3f} | {:.0f} | {:.0f} | {:.0f} | {:.0f} |\n", kernel, shape, 1e3 * time,
               flops / time / kGiga, 100 * flops / time / peak, bytes / time / kGiga, 100 * bytes / time / peak_bytes_);
    std::fflush(stdout);
  }

  double seconds(const std::function<void()>& run) const {
    run();
    test::wait_for(device_);
    std::vector<double> rounds;
    for (int round = 0; round < (small_ ? 1 : kRounds); ++round) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < launches_; ++i) run();
      test::wait_for(device_);
      rounds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / launches_);
    }
    std::sort(rounds.begin(), rounds.end());
    return rounds[rounds.size() / 2];
  }

  Device device_;
  int launches_;
  bool small_;
  double products_ = 0, grams_ = 0;  // most flops of a second; Gram matrices are TF32 below fp32
  double peak_bytes_ = 0;
  mutable uint64_t seed_ = 0;
};

double bytes_of(std::initializer_list<const Tensor*> tensors) {
  double bytes = 0;
  for (const Tensor* tensor : tensors) bytes += static_cast<double>(tensor->bytes());
  return bytes;
}

void bench_convolutions(Bench& bench) {
  struct Case {
    const char* name;
    int64_t side, in_c, out_c, kernel, stride;
  };
  for (const Case& c : {Case{"conv1_1", 512, 3, 64, 3, 1},
                        {"conv1_2", 512, 64, 64, 3, 1},
                        {"conv2_1", 256, 64, 128, 3, 1},
                        {"conv2_2", 256, 128, 128, 3, 1},
                        {"conv3_1", 128, 128, 256, 3, 1},
                        {"conv3_2", 128, 256, 256, 3, 1},
                        {"conv4_1", 64, 256, 512, 3, 1},
                        {"conv4_2", 64, 512, 512, 3, 1},
                        {"conv5_1", 32, 512, 512, 3, 1},
                        {"9x9, 3 to 32", 512, 3, 32, 9, 1},
                        {"9x9, 32 to 3", 512, 32, 3, 9, 1},
                        {"3x3 stride 2, 32 to 64", 512, 32, 64, 3, 2}}) {
    const int64_t side = std::max<int64_t>(c.kernel, bench.side(c.side)), pad = c.kernel / 2;
    const Conv2dDesc desc = Conv2dDesc::make({1, side, side, c.in_c}, {c.out_c, c.kernel, c.kernel, c.in_c},
                                             {c.stride, c.stride, Padding::zero(pad)});
    const Tensor input = bench.random(desc.input_shape()), weight = bench.random(desc.weight_shape()),
                 bias = bench.random({c.out_c}), grad_output = bench.random(desc.output_shape());
    Tensor output = bench.empty(desc.output_shape()), grad_input = bench.empty(desc.input_shape()),
           grad_weight = bench.empty(desc.weight_shape());
    const std::string shape = desc.input_shape().str() + " " + desc.weight_shape().str();
    const std::string name = c.name;
    bench.row(name + ", forward", shape, desc.flops(), bytes_of({&input, &weight, &output}),
              [&] { conv2d_forward(desc, input, weight, bias, Activation::relu, output); });
    bench.row(name + ", backward-data", shape, desc.flops(), bytes_of({&grad_input, &weight, &output}),
              [&] { conv2d_backward_data(desc, weight, grad_output, {}, grad_input); });
    bench.row(name + ", backward-weight", shape, desc.flops(), bytes_of({&input, &weight, &output}),
              [&] { conv2d_backward_weight(desc, input, grad_output, 0.0f, grad_weight); });
  }
  const int64_t side = bench.side(128);
  const UpsampleConv2dDesc desc =
      UpsampleConv2dDesc::make({1, side, side, 128}, {64, 3, 3, 128}, Padding::Mode::reflect);
  const Tensor input = bench.random(desc.input_shape()), weight = bench.random(desc.weight_shape());
  Tensor output = bench.empty(desc.output_shape());
  bench.row("upsample_conv2d, forward", desc.input_shape().str(), desc.flops() * 16 / 36,
            bytes_of({&input, &weight, &output}), [&] { upsample_conv2d_forward(desc, input, weight, {}, output); });
}

void bench_grams(Bench& bench) {
  for (const auto& [side, c] : {std::pair{512, 64}, {256, 128}, {128, 256}, {64, 512}, {32, 512}}) {
    const int64_t pixels = bench.side(side);
    const Tensor features = bench.random({1, pixels, pixels, c});
    Tensor gram = bench.empty({1, c, c}), grad = bench.empty(features.shape());
    const double flops = 2.0 * static_cast<double>(pixels * pixels) * c * c;
    bench.gram_row("gram, forward", features.shape().str(), flops / 2, bytes_of({&features, &gram}),
                   [&] { gram_forward(features, 1.0f, gram); });
    bench.gram_row("gram, backward", features.shape().str(), flops, bytes_of({&features, &gram, &grad}),
                   [&] { gram_backward(features, gram, 1.0f, {}, grad); });
  }
}

void bench_passes(Bench& bench) {
  const int64_t side = bench.side(512);
  const Shape shape{1, side, side, 64};
  const std::string text = shape.str();
  const Tensor x = bench.random(shape), y = bench.random(shape), weight = bench.random({64}), bias = bench.random({64});
  Tensor output = bench.empty(shape), mean = bench.empty({1, 64}), rstd = bench.empty({1, 64}),
         grad_weight = bench.empty({64}), grad_bias = bench.empty({64});
  BitMask mask(shape, bench.device());
  const double elements = static_cast<double>(x.count()), once = static_cast<double>(x.bytes());
  bench.row("add_scaled", text, 3 * elements, 3 * once, [&] { add_scaled(2.0f, x, 3.0f, y, output); });
  bench.row("relu", text, elements, 2 * once, [&] { relu_forward(x, output); });
  bench.row("positive_mask", text, elements, once * 33 / 32, [&] { positive_mask(x, mask); });
  bench.row("accumulate_scaled, masked", text, 3 * elements, 3 * once * 97 / 96, [&] {
    accumulate_scaled(0.5f, x, {1.0f, &mask}, output);
  });
  bench.row("tanh", text, elements, 2 * once, [&] { tanh_forward(x, 150.0f, output); });
  bench.row("instance_norm, forward", text, 6 * elements, 3 * once,
            [&] { instance_norm_forward(x, weight, bias, 1e-5f, Activation::relu, output, mean, rstd); });
  bench.row("instance_norm, backward", text, 10 * elements, 5 * once, [&] {
    instance_norm_backward(x, weight, mean, rstd, y,
                           {.grad_input = &output, .grad_weight = &grad_weight, .grad_bias = &grad_bias});
  });
  for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
    const Pool2dDesc pool = Pool2dDesc::make(kind, shape, 2, 2, {2, 2, {}});
    if (side < 2) break;
    Tensor pooled = bench.empty(pool.output_shape()), choice;
    if (kind == PoolKind::max) choice = bench.empty(pool.output_shape(), Dtype::u8);
    const double small = static_cast<double>(pooled.bytes()) * (kind == PoolKind::max ? 1.25 : 1.0);
    const std::string name = kind == PoolKind::max ? "max pool" : "average pool";
    bench.row(name + ", forward", text, elements, once + small, [&] { pool2d_forward(pool, x, pooled, choice); });
    bench.row(name + ", backward", text, elements, once + small,
              [&] { pool2d_backward(pool, choice, pooled, {}, output); });
  }
  const Tensor picture = bench.random({1, side, side, 3});
  Tensor grad = bench.empty(picture.shape());
  bench.row("total_variation, backward", picture.shape().str(), 9.0 * static_cast<double>(picture.count()),
            2.0 * static_cast<double>(picture.bytes()), [&] { total_variation_backward(picture, 1.0f, {}, grad); });
  Tensor first = bench.empty(shape), second = bench.empty(shape), parameter = bench.random(shape);
  first.fill(0.0f), second.fill(0.0f);
  bench.row("adam_update", text, 12 * elements, 7 * once, [&] { adam_update({}, 3, x, first, second, parameter); });
}

int run(int argc, char** argv) {
  std::string device = "cuda";
  Precision precision = Precision::fp32;
  bool small = false;
  Flags flags({.program = "kernel_bench",
               .summary = "Times the CUDA kernels beside the limits of the device.",
               .example = "kernel_bench --device cuda --precision bf16"});
  flags.text("--device", device, "NAME", "cuda, cuda:1")
      .choice<Precision, Precision>(
          "--precision", precision,
          {{"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}, {"fp16", Precision::fp16}},
          "arithmetic of convolutions and Gram matrices")
      .toggle("--small", small, "tiny shapes, each once: a trial of this program itself");
  if (!flags.parse(argc, argv)) return kSuccess;
  const Device where = Device::parse(device);
  if (where.kind != Device::Kind::cuda) throw UsageError("--device must be a CUDA device");
  const execution::PrecisionScope scope(precision);
  Bench bench(where, precision, small);
  bench_convolutions(bench);
  bench_grams(bench);
  if (precision == Precision::fp32) bench_passes(bench);
  return kSuccess;
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
