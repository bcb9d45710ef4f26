#include <fmt/format.h>
#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/gatys_report.h>
#include <minidl/apps/memory_plan.h>
#include <minidl/core/allocator.h>
#include <minidl/core/image.h>
#include <minidl/core/parallel.h>
#include <support/child_process.h>
#include <support/random_tensors.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

// Whole iterations of nst_gatys --preset paper on square pictures: forward, losses, backward, step of L-BFGS. Every
// size and precision has a process of its own, so that its peak of memory is its own, too.

namespace minidl::apps {
namespace {

// Iterations that are not timed: the first evaluates twice, transforms filters and takes memory from the system.
constexpr int kWarmUp = 2;

struct Options {
  std::string weights, content, style, json, device = "cpu";
  std::vector<int64_t> sizes;
  std::vector<Precision> precisions;
  int threads = 0;  // 0: one per processor
  int evaluations = 8;
};

/// Those that this build offers.
std::vector<Precision> all_precisions() {
  std::vector<Precision> offered;
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16, Precision::fp16}) {
    try {
      execution::set_precision(precision);
      offered.push_back(precision);
    } catch (const Error&) {  // says that there is none
    }
  }
  return offered;
}

Tensor square_picture(const std::string& file, int64_t size, uint64_t seed) {
  if (!file.empty()) return resize_image(load_image(file), size, size);
  return test::random_uniform({1, size, size, 3}, seed, 0.0f, 255.0f);
}

/// Seconds of each evaluation after the warm-up: of an iteration, divided by the evaluations that it took.
std::vector<double> seconds_of(const std::vector<GatysPoint>& history) {
  std::vector<double> seconds;
  for (size_t i = kWarmUp; i < history.size(); ++i) {
    const int evaluations = history[i].evaluations - history[i - 1].evaluations;
    seconds.push_back((history[i].seconds - history[i - 1].seconds) / evaluations);
  }
  return seconds;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Seconds in which threads of this process were ready to run and had no processor.
double waited() {
  double nanoseconds = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    double ran = 0, ready = 0;
    std::ifstream(task.path() / "schedstat") >> ran >> ready;
    nanoseconds += ready;
  }
  return 1e-9 * nanoseconds;
}

Json run_case(const Options& options, int64_t size, Precision precision) {
  if (options.threads > 0) set_num_threads(options.threads);
  GatysSettings settings = GatysSettings::preset("paper");
  settings.init = GatysInit::content;
  settings.size = 0;
  settings.iterations = kWarmUp + options.evaluations;
  const Device device = Device::parse(options.device);  // in the child: a device does not follow into one
  layers::Vgg network = layers::Vgg::load(options.weights, {.taps = settings.taps()});
  network.to(device);
  const Extent square{size, size};

  Json report{
      {"size", size}, {"precision", to_string(precision)}, {"threads", num_threads()}, {"device", device.str()}};
  execution::set_precision(Precision::fp32);
  const std::set<std::string> fp32_engines = engines_of(network, square, device);
  execution::set_precision(precision);
  report["engines"] = engines_of(network, square, device);
  if (precision != Precision::fp32 && report["engines"] == Json(fp32_engines)) {
    report["skipped"] = "no engine of this grade on this processor: fp32 computes it";
    return report;
  }

  Gatys gatys(network, settings,
              {.content = square_picture(options.content, size, 1),
               .styles = {{square_picture(options.style, size, 2)}},
               .init = {}});
  const double waited_before = waited();
  const GatysResult result = gatys.run();
  report["waited_share"] = (waited() - waited_before) / result.seconds / num_threads();
  const std::vector<double> seconds = seconds_of(result.history);
  const double flops = plan_memory(network, settings, {square}, {square}).flops_per_evaluation;
  report["loss"] = result.losses.total;
  report["seconds_of_evaluations"] = seconds;
  report["seconds"] = median(seconds);
  report["gflops_per_second"] = 1e-9 * flops / median(seconds);
  report["peak_resident_bytes"] = test::peak_resident_kib() * 1024;
  report["peak_allocated_bytes"] = allocator(device).stats().peak_in_use;
  return report;
}

void print_row(const Json& report) {
  fmt::print("{:>6}  {:<9}", report["size"].get<int64_t>(), report["precision"].get<std::string>());
  if (report.contains("skipped")) {
    fmt::print("  {}\n", report["skipped"].get<std::string>());
    return;
  }
  constexpr double kMiB = 1 << 20;
  std::string engines;
  for (const Json& name : report["engines"]) engines += name.get<std::string>() + " ";
  fmt::print("{:>10.3f}{:>11.1f}{:>14.0f}{:>15.0f}  {}\n", report["seconds"].get<double>(),
             report["gflops_per_second"].get<double>(), report["peak_resident_bytes"].get<double>() / kMiB,
             report["peak_allocated_bytes"].get<double>() / kMiB, engines);
}

bool parse(int argc, char** argv, Options& options) {
  if (const char* weights = std::getenv("MINIDL_WEIGHTS")) options.weights = weights;
  Flags flags({.program = "step_bench",
               .summary = "Times whole iterations of nst_gatys --preset paper, starting from the content picture.",
               .example = "step_bench --weights imagenet-vgg-verydeep-19.mat --size 512 --precision fp32"});
  flags.text("--weights", options.weights, "FILE", "VGG network; or the environment variable MINIDL_WEIGHTS")
      .text("--content", options.content, "FILE", "picture, made square (default: noise)")
      .text("--style", options.style, "FILE", "picture, made square (default: noise)")
      .value("--size", "N", "side of the pictures in pixels", "256, 512, 1024",
             [&](const std::string& text) { options.sizes.push_back(parse_integer(text, 32, 8192)); })
      .repeatable()
      .value("--precision", "NAME", "arithmetic of the convolutions", "every one of this build",
             [&](const std::string& text) { options.precisions.push_back(parse_precision(text)); })
      .repeatable()
      .text("--device", options.device, "NAME", "where it is computed: cpu, cuda, cuda:1")
      .integer("--threads", options.threads, 0, 1024, "processor threads; 0: one per processor")
      .integer("--evaluations", options.evaluations, 1, 10000, "timed, after two iterations that are not")
      .text("--json", options.json, "FILE", "write all figures, too");
  if (!flags.parse(argc, argv)) return false;
  if (options.weights.empty()) throw UsageError("--weights is missing: name a VGG network file, or set MINIDL_WEIGHTS");
  if (options.sizes.empty()) options.sizes = {256, 512, 1024};
  if (options.precisions.empty()) options.precisions = all_precisions();
  return true;
}

int run(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) return kSuccess;
  fmt::print(
      "median seconds of an evaluation; GFLOP/s as if convolutions were computed by definition; peaks of memory\n");
  fmt::print("  size  precision   seconds    GFLOP/s  resident MiB  allocated MiB  engines\n");
  Json reports = Json::array();
  for (const int64_t size : options.sizes) {
    for (const Precision precision : options.precisions) {
      std::fflush(stdout);
      const std::string answer = test::in_child_process([&]() -> std::string {
        try {
          return run_case(options, size, precision).dump();
        } catch (const std::exception& error) {
          return error.what();
        }
      });
      const Json report = Json::parse(answer, nullptr, false);
      MINIDL_CHECK(report.is_object(), "{} at {}: {}", to_string(precision), size, answer);
      print_row(report);
      reports.push_back(report);
    }
  }
  if (!options.json.empty()) write_json(options.json, reports);
  return kSuccess;
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}
