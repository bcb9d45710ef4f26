#include <fmt/format.h>
#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/fast_style.h>
#include <minidl/core/allocator.h>
#include <minidl/core/parallel.h>
#include <minidl/core/profile.h>
#include <minidl/kernels/execution.h>
#include <support/child_process.h>
#include <support/random_tensors.h>

#include <algorithm>
#include <ctime>

// Whole steps of training a transform net against VGG-16 with seeded weights: photos' content features, the net, the
// losses, all gradients and Adam. To be set against pytorch_train_step.py.

namespace minidl::apps {
namespace {

struct Options {
  int64_t width = 32, batch = 4, size = 256;
  int threads = 0;  // 0: one per processor
  int steps = 8;
  std::string precision = "fp32", device = "cpu";
  bool profile = false;
};

/// Wall-clock time, or with one thread the processor time, which other programs on the machine do not lengthen.
double clock_seconds(double wall) {
  return num_threads() == 1 ? static_cast<double>(std::clock()) / CLOCKS_PER_SEC : wall;
}

int run(int argc, char** argv) {
  Options options;
  Flags flags({.program = "train_step_bench",
               .summary = "Times steps of training a transform net.",
               .example = "train_step_bench --width 32 --batch 4 --size 256"});
  flags.integer("--width", options.width, 8, 64, "channels of the net's first layer")
      .integer("--batch", options.batch, 1, 64, "photos in a step")
      .integer("--size", options.size, 32, 2048, "their side in pixels")
      .integer("--steps", options.steps, 1, 1000, "timed steps after two that are not")
      .integer("--threads", options.threads, 0, 1024, "processor threads; 0: one per processor")
      .text("--precision", options.precision, "NAME", "arithmetic of the convolutions")
      .text("--device", options.device, "NAME", "where it is computed: cpu, cuda, cuda:1")
      .toggle("--profile", options.profile, "print where the time goes");
  if (!flags.parse(argc, argv)) return kSuccess;
  if (options.threads > 0) set_num_threads(options.threads);
  execution::set_precision(parse_precision(options.precision));

  FastStyleSettings settings = FastStyleSettings::preset("pytorch-examples");
  settings.net.width = options.width;
  settings.batch = options.batch;
  settings.size = options.size;
  settings.steps = options.steps + 2;
  layers::NetworkDescription description = layers::vgg_description(16, false);
  description.layers.resize(description.index_of("relu4_3") + 1);
  layers::fill_random_weights(description, 1);
  const Device device = Device::parse(options.device);
  layers::Vgg network(std::move(description));
  network.to(device);
  const Tensor photos = test::random_uniform({options.batch, options.size, options.size, 3}, 1, 0.0f, 255.0f);
  FastStyleData data{.styles = {test::random_uniform({1, options.size, options.size, 3}, 2, 0.0f, 255.0f)},
                     .photos = [&](int64_t) { return photos; },
                     .photos_fingerprint = {},
                     .validation = {}};
  FastStyle training(network, settings, data);
  std::vector<double> seconds;
  double before = 0;
  training.run([&](const FastStyleProgress& progress) {
    const double now = clock_seconds(progress.seconds);
    if (progress.step > 2) seconds.push_back(now - before);
    if (progress.step == 2) Profile::enable(options.profile);
    before = now;
    return true;
  });
  std::sort(seconds.begin(), seconds.end());
  fmt::print("{}, {} threads, {}: {:.3f} s a step (median of {}), {:.0f} MiB resident, {:.0f} MiB allocated\n",
             device.str(), num_threads(), options.precision, seconds[seconds.size() / 2], seconds.size(),
             static_cast<double>(test::peak_resident_kib()) / 1024.0,
             static_cast<double>(allocator(device).stats().peak_in_use) / (1 << 20));
  if (options.profile) fmt::print("{}", Profile::table());
  return kSuccess;
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
