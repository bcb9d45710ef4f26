#include <fmt/format.h>
#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>
#include <minidl/core/allocator.h>
#include <minidl/core/parallel.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/transform_net.h>
#include <support/child_process.h>
#include <support/device.h>
#include <support/random_tensors.h>

#include <algorithm>
#include <chrono>
#include <ctime>

// A transform net applied to one picture: the whole net, and each of its layers by itself. Every size and precision has
// a process of its own, so that its peak of memory is its own, too.

namespace minidl::apps {
namespace {

using layers::TransformNet;
using layers::TransformNetOptions;
using layers::UpsampleKind;

struct Size {
  int64_t width, height;
};

struct Options {
  std::vector<Size> sizes;
  std::vector<Precision> precisions;
  TransformNetOptions net;
  int threads = 0;  // 0: one per processor
  int repeats = 5;
  std::string device = "cpu";
  bool layers = false;
};

/// Wall-clock time, or with one thread the processor time, which other programs on the machine do not lengthen.
double clock_seconds() {
  if (num_threads() == 1) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Median of some runs after one that is not timed.
double seconds_of(int repeats, const std::function<void()>& work) {
  work();
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const double start = clock_seconds();
    work();
    seconds.push_back(clock_seconds() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

/// One convolution of the net at some size, and the normalisation after it.
struct Layer {
  std::string name;
  int count;
  Shape input, weight;
  int64_t stride;
  bool upsampled;

  int64_t scale() const { return upsampled ? 2 : 1; }
  double flops() const {
    const int64_t pixels = input[1] * input[2] * scale() * scale() / stride / stride;
    return 2.0 * static_cast<double>(pixels) * static_cast<double>(weight.count());
  }
};

std::vector<Layer> layers_of(const TransformNetOptions& net, const Size& size) {
  const int64_t w = net.width, h2 = (size.height + 1) / 2, w2 = (size.width + 1) / 2, h4 = (h2 + 1) / 2,
                w4 = (w2 + 1) / 2;
  const int blocks = static_cast<int>(net.residual_blocks);
  return {{"conv1 9x9", 1, {1, size.height, size.width, 3}, {w, 9, 9, 3}, 1, false},
          {"conv2 3x3 stride 2", 1, {1, size.height, size.width, w}, {2 * w, 3, 3, w}, 2, false},
          {"conv3 3x3 stride 2", 1, {1, h2, w2, 2 * w}, {4 * w, 3, 3, 2 * w}, 2, false},
          {"residual 3x3", 2 * blocks, {1, h4, w4, 4 * w}, {4 * w, 3, 3, 4 * w}, 1, false},
          {"deconv1 x2, 3x3", 1, {1, h4, w4, 4 * w}, {2 * w, 3, 3, 4 * w}, 1, true},
          {"deconv2 x2, 3x3", 1, {1, 2 * h4, 2 * w4, 2 * w}, {w, 3, 3, 2 * w}, 1, true},
          {"deconv3 9x9", 1, {1, 4 * h4, 4 * w4, w}, {3, 9, 9, w}, 1, false}};
}

double flops_of(const TransformNetOptions& net, const Size& size) {
  double flops = 0.0;
  for (const Layer& layer : layers_of(net, size)) flops += layer.count * layer.flops();
  return flops;
}

/// Its convolution and normalisation; where there is upsampling, also that and the convolution as two operations.
std::string report_layer(const Options& options, const Layer& layer) {
  const Padding::Mode mode = options.net.padding;
  const int64_t pad = layer.weight[1] / 2;
  const Window window{layer.stride, layer.stride, {mode, pad, pad, pad, pad}};
  const Device device = Device::parse(options.device);
  const Variable input(test::random_uniform(layer.input, 1).to(device));
  const Variable bias(Tensor::zeros({layer.weight[0]}, Dtype::f32, device));
  const bool fractional = layer.upsampled && options.net.upsample == UpsampleKind::fractional;
  const Shape shape = layer.weight;
  const Variable weight(
      test::random_uniform(fractional ? Shape{shape[3], 3, 3, shape[0]} : shape, 2, -0.1f, 0.1f).to(device));
  const auto run = [&]() -> Variable {
    if (!layer.upsampled) return ops::conv2d(input, weight, bias, window);
    if (!fractional) return ops::upsample_conv2d(input, weight, bias, mode);
    return ops::conv2d_transpose(input, weight, bias, {2, 2, Padding::zero(1)}, 2 * layer.input[1], 2 * layer.input[2]);
  };
  const double convolution = seconds_of(options.repeats, [&] { run(), test::wait_for(device); });
  Variable output = run();
  const double norm = shape[0] == 3 ? 0.0 : seconds_of(options.repeats, [&] {
    output = ops::instance_norm(std::move(output), {}, {}, 1e-5f, Activation::relu);
    test::wait_for(device);
  });
  std::string row = fmt::format("    {:<20}{:>3} x {:>8.2f} ms {:>7.0f} GFLOP/s, norm {:>7.2f} ms", layer.name,
                                layer.count, 1e3 * convolution, 1e-9 * layer.flops() / convolution, 1e3 * norm);
  if (layer.upsampled && !fractional) {
    const double apart = seconds_of(options.repeats, [&] {
      ops::conv2d(ops::upsample_nearest(input, 2), weight, bias, window);
      test::wait_for(device);
    });
    row += fmt::format("; as two operations {:.2f} ms", 1e3 * apart);
  }
  return row + "\n";
}

std::string run_case(const Options& options, const Size& size, Precision precision) {
  if (options.threads > 0) set_num_threads(options.threads);
  execution::set_precision(precision);
  const Device device = Device::parse(options.device);  // in the child: a device does not follow into one
  TransformNet net(options.net);
  net.freeze().train(false).to(device);
  const Variable picture(test::random_uniform({1, size.height, size.width, 3}, 1, 0.0f, 255.0f).to(device));
  const double seconds = seconds_of(options.repeats, [&] { net(picture), test::wait_for(device); });
  std::string text = fmt::format("{:>5} x {:<6}{:<6}{:>9.3f}{:>11.1f}{:>15.0f}{:>16.0f}\n", size.width, size.height,
                                 to_string(precision), seconds, 1e-9 * flops_of(options.net, size) / seconds,
                                 static_cast<double>(test::peak_resident_kib()) / 1024.0,
                                 static_cast<double>(allocator(device).stats().peak_in_use) / (1 << 20));
  if (!options.layers) return text;
  for (const Layer& layer : layers_of(options.net, size)) text += report_layer(options, layer);
  return text;
}

Size parse_size(const std::string& text) {
  const size_t cross = text.find('x');
  if (cross == std::string::npos) throw UsageError("--size is WIDTHxHEIGHT, for example 1920x1080");
  return {parse_integer(text.substr(0, cross), 1, 32768), parse_integer(text.substr(cross + 1), 1, 32768)};
}

int run(int argc, char** argv) {
  Options options;
  int width = 32;
  bool fractional = false;
  Flags flags({.program = "transform_net_bench",
               .summary = "Times a transform net that is applied to one picture.",
               .example = "transform_net_bench --size 512x512 --precision fp32 --layers"});
  flags
      .value("--size", "WxH", "size of the picture in pixels", "512x512, 1920x1080",
             [&](const std::string& text) { options.sizes.push_back(parse_size(text)); })
      .repeatable()
      .value("--precision", "NAME", "arithmetic of the convolutions", "fp32, bf16",
             [&](const std::string& text) { options.precisions.push_back(parse_precision(text)); })
      .repeatable()
      .integer("--width", width, 8, 64, "channels of the first layer")
      .toggle("--fractional", fractional, "upsampling by convolutions of stride 1/2")
      .toggle("--layers", options.layers, "each layer by itself, too")
      .text("--device", options.device, "NAME", "where it is computed: cpu, cuda, cuda:1")
      .integer("--threads", options.threads, 0, 1024, "processor threads; 0: one per processor")
      .integer("--repeats", options.repeats, 1, 1000, "timed runs after one that is not");
  if (!flags.parse(argc, argv)) return kSuccess;
  options.net.width = width;
  if (fractional) options.net.upsample = UpsampleKind::fractional;
  if (options.sizes.empty()) options.sizes = {{512, 512}, {1920, 1080}};
  if (options.precisions.empty()) options.precisions = {Precision::fp32, Precision::bf16};
  fmt::print(
      "median seconds, with one thread of processor time; GFLOP/s as if convolutions were computed by definition; "
      "peaks of memory\n");
  fmt::print("         size        seconds    GFLOP/s   resident MiB   allocated MiB\n");
  for (const Size& size : options.sizes) {
    for (const Precision precision : options.precisions) {
      std::fflush(stdout);
      fmt::print("{}", test::in_child_process([&]() -> std::string {
                   try {
                     return run_case(options, size, precision);
                   } catch (const std::exception& error) {
                     return std::string(error.what()) + "\n";
                   }
                 }));
    }
  }
  return kSuccess;
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
