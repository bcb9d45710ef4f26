#include <fmt/format.h>
#include <minidl/apps/common/flag_values.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/gatys_report.h>
#include <minidl/apps/memory_plan.h>
#include <minidl/core/allocator.h>
#include <minidl/kernels/reduce.h>
#include <minidl/version.h>

#include <sys/resource.h>

#include <chrono>

namespace minidl::apps {

std::set<std::string> engines_of(const layers::Vgg& network, const Extent& size, Device device) {
  std::set<std::string> engines;
  const Shape picture{1, size.height, size.width, 3};
  Shape input = picture;
  for (const layers::LayerDescription& layer : network.description().layers) {
    if (layer.kind == layers::LayerDescription::Kind::conv) {
      const Conv2dDesc desc = Conv2dDesc::make(input, {layer.out_c, layer.k_h, layer.k_w, layer.in_c}, layer.window);
      for (const Conv2dDirection direction : {Conv2dDirection::forward, Conv2dDirection::backward_data})
        engines.insert(conv2d_engine_for({desc, direction}, device).name);
    }
    input = network.feature_shape(layer.name, picture);
  }
  return engines;
}

namespace {

/// Floating-point operations per second of a convolution like the network's, measured for a moment.
double measured_speed(Device device) {
  const Conv2dDesc desc = Conv2dDesc::make({1, 64, 64, 128}, {128, 3, 3, 128}, {1, 1, Padding::zero(1)});
  const Tensor input = Tensor::full(desc.input_shape(), 0.5f, device),
               weight = Tensor::full(desc.weight_shape(), 0.1f, device);
  Tensor output = Tensor::empty(desc.output_shape(), Dtype::f32, device);
  const auto run = [&](int times) {
    for (int i = 0; i < times; ++i) conv2d_forward(desc, input, weight, {}, Activation::none, output);
    max_abs(output);  // waits for the device
  };
  run(1);
  constexpr int kRepeats = 5;
  const auto start = std::chrono::steady_clock::now();
  run(kRepeats);
  return kRepeats * desc.flops() / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

Json json_report(const GatysResult& result, const layers::Vgg& network, const GatysSettings& settings, Device device) {
  const Shape& shape = result.picture.shape();
  Json report;
  report["version"] = MINIDL_VERSION;
  report["device"] = device.str();
  report["precision"] = to_string(execution::precision());
  report["engines"] = engines_of(network, {shape[1], shape[2]}, device);
  report["image"] = {{"width", shape[2]}, {"height", shape[1]}};
  report["iterations"] = result.iterations;
  report["seed"] = settings.seed;
  report["losses"] = {{"total", result.losses.total},
                      {"content", Json(result.losses.content_layers)},
                      {"style", Json(result.losses.style_layers)},
                      {"tv", result.losses.tv}};
  report["grad_norm"] = result.grad_norm;
  report["seconds"] = result.seconds;
  report["seconds_per_iteration"] = result.iterations > 0 ? result.seconds / result.iterations : 0.0;
  report["peak_memory_bytes"] = peak_resident_bytes();
  report["peak_tensor_bytes"] = allocator(device).stats().peak_in_use;
  report["history"] = Json::array();
  for (const GatysPoint& point : result.history) {
    report["history"].push_back({{"iteration", point.iteration},
                                 {"evaluations", point.evaluations},
                                 {"total", point.total},
                                 {"content", point.content},
                                 {"style", point.style},
                                 {"tv", point.tv},
                                 {"seconds", point.seconds}});
  }
  return report;
}

std::string plan_text(const Gatys& gatys, const layers::Vgg& network, const GatysSettings& settings,
                      const GatysPictures& pictures) {
  const std::vector<Extent> sizes = gatys.scale_sizes();
  std::vector<Extent> styles;
  for (const GatysObjective::Style& style : pictures.styles) {
    styles.push_back(gatys.style_size(style.picture, static_cast<int>(sizes.size()) - 1));
  }
  const MemoryPlan plan = plan_memory(gatys, network, settings, pictures);
  std::string text = "sizes:";
  for (const Extent& size : sizes) text += fmt::format(" {}x{}", size.width, size.height);
  text += fmt::format(", {} iterations each\nstyle pictures:", settings.iterations);
  for (const Extent& size : styles) text += fmt::format(" {}x{}", size.width, size.height);
  text += "\nlayers:";
  for (const std::string& tap : settings.taps()) text += " " + tap;
  text += "\nengines:";
  for (const std::string& engine : engines_of(network, sizes.back(), network.device())) text += " " + engine;
  text += "\nmemory of tensors at the peak (the process has about 100 MiB more):\n";
  for (const MemoryPlan::Row& row : plan.rows) text += fmt::format("  {:<32}{:>12}\n", row.what, bytes_text(row.bytes));
  text += fmt::format("  {:<32}{:>12}\n", "together", bytes_text(plan.peak_bytes));
  const double seconds = plan.flops_of_run / measured_speed(network.device());
  text += fmt::format(
      "work: {:.1f} GFLOP an evaluation at full size; about {} on this machine as it is now (an estimate)\n",
      plan.flops_per_evaluation * 1e-9, duration_text(seconds));
  return text;
}

}  // namespace minidl::apps
