// How many kernels an iteration of Gatys' optimisation launches, evaluation and step of L-BFGS: with VGG-19's layers up
// to relu5_1 and so few channels that no product is cut into parts. docs/gpu_model.md lists them.
#include <emulator/emulator.h>
#include <minidl/kernels/precision_scope.h>
#include <support/small_gatys.h>

#include <gtest/gtest.h>
#include <map>

namespace minidl::test {
namespace {

namespace emulator = ::minidl::emulator;

/// By kernel, of an iteration with one evaluation when the history has its pairs.
std::map<std::string, int> launches_of_iteration(Precision precision) {
  const execution::PrecisionScope scope(precision);
  layers::Vgg network(tiny_vgg({2, 2, 4, 4, 1}, 8));
  network.to({Device::Kind::cuda, 0});
  GatysSettings settings = GatysSettings::preset("paper");
  settings.tv = 1.0;
  settings.size = 0;
  settings.iterations = 7;
  settings.history = 3;
  settings.init = GatysInit::content;
  emulator::options().count = true;
  std::map<std::string, int> launches;
  int evaluations = 0;
  Gatys(network, settings, {.content = wavy_picture(32, 32, 1), .styles = {{wavy_picture(32, 32, 3)}}, .init = {}})
      .run([&](const GatysProgress& progress) {
        const std::vector<emulator::LaunchCounters> counters = emulator::take_counters();
        const int evaluated = progress.point.evaluations - evaluations;
        evaluations = progress.point.evaluations;
        if (progress.iteration < 5 || evaluated != 1) return true;
        launches.clear();
        for (const emulator::LaunchCounters& launch : counters) ++launches[launch.kernel];
        return true;
      });
  emulator::options() = {};
  return launches;
}

class Iteration : public ::testing::TestWithParam<std::pair<Precision, int>> {};

TEST_P(Iteration, LaunchesAsManyKernelsAsListed) {
  const auto launches = launches_of_iteration(GetParam().first);
  int sum = 0;
  std::string list;
  for (const auto& [kernel, count] : launches) {
    list += std::to_string(count) + " " + kernel + "\n";
    sum += count;
  }
  EXPECT_EQ(sum, GetParam().second) << list;
}

INSTANTIATE_TEST_SUITE_P(Precisions, Iteration,
                         ::testing::Values(std::pair{Precision::fp32, 61}, std::pair{Precision::tf32, 45},
                                           std::pair{Precision::bf16, 45}),
                         [](const auto& grade) { return to_string(grade.param.first); });

}  // namespace
}  // namespace minidl::test
