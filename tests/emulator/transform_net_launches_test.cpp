// How many kernels the transform net launches, for a picture and in a step of training: with so few channels that no
// product is cut into parts. docs/cuda.md has the numbers.
#include <emulator/emulator.h>
#include <minidl/kernels/precision_scope.h>
#include <support/small_fast_style.h>
#include <support/small_transform_net.h>

#include <gtest/gtest.h>
#include <map>

namespace minidl::test {
namespace {

namespace emulator = ::minidl::emulator;
using Launches = std::map<std::string, int>;

/// By kernel, since the last call.
Launches taken() {
  Launches launches;
  for (const emulator::LaunchCounters& launch : emulator::take_counters()) ++launches[launch.kernel];
  return launches;
}

/// Of a picture, when the forms of the filters are there.
Launches launches_of_picture(const layers::TransformNetOptions& options, Precision precision) {
  const execution::PrecisionScope scope(precision);
  const Device device{Device::Kind::cuda, 0};
  layers::TransformNet net = small_transform_net(options);
  net.to(device);
  const Variable picture(wavy_picture(16, 16, 1).to(device));
  emulator::options().count = true;
  Launches launches;
  for (int pass = 0; pass < 3; ++pass) {  // forms of filters are kept from the second one on
    net(picture).value().to(Device::cpu());
    launches = taken();
  }
  emulator::options() = {};
  return launches;
}

/// Of the second step.
Launches launches_of_step(Precision precision) {
  const execution::PrecisionScope scope(precision);
  layers::Vgg network(small_vgg());
  network.to({Device::Kind::cuda, 0});
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 2;
  emulator::options().count = true;
  Launches launches;
  FastStyle(network, settings, small_fast_data()).run([&](const FastStyleProgress&) {
    launches = taken();
    return true;
  });
  emulator::options() = {};
  return launches;
}

int sum_of(const Launches& launches) {
  int sum = 0;
  for (const auto& [kernel, count] : launches) sum += count;
  return sum;
}
std::string list_of(const Launches& launches) {
  std::string list;
  for (const auto& [kernel, count] : launches) list += std::to_string(count) + " " + kernel + "\n";
  return list;
}

TEST(TransformNetLaunches, OfAPictureInBf16) {
  const Launches launches = launches_of_picture({}, Precision::bf16);
  EXPECT_EQ(sum_of(launches), 29) << list_of(launches);
}
TEST(TransformNetLaunches, OfAPictureInFp32) {
  const Launches launches = launches_of_picture({}, Precision::fp32);
  EXPECT_EQ(sum_of(launches), 28) << list_of(launches);
}
TEST(TransformNetLaunches, OfAPictureWithStrideOneHalf) {
  const Launches launches = launches_of_picture({.upsample = layers::UpsampleKind::fractional}, Precision::bf16);
  EXPECT_EQ(sum_of(launches), 41) << list_of(launches);
}
TEST(TransformNetLaunches, OfAStepInBf16) {
  const Launches launches = launches_of_step(Precision::bf16);
  EXPECT_EQ(sum_of(launches), 208) << list_of(launches);
}

}  // namespace
}  // namespace minidl::test
