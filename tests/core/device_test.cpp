#include <minidl/core/cuda/backend.h>
#include <minidl/core/device.h>
#include <support/compare.h>

namespace minidl {
namespace {

using test::throws_error;

TEST(Device, NamesAreReadAndWritten) {
  EXPECT_EQ(Device::parse("cpu"), Device::cpu());
  EXPECT_EQ(Device::parse("auto"), Device::best());
  EXPECT_EQ(Device::parse(Device::best().str()), Device::best());
  EXPECT_EQ(Device::cpu().str(), "cpu");
  EXPECT_EQ((Device{Device::Kind::cuda, 1}).str(), "cuda:1");
}

TEST(Device, DiffersByKindAndIndex) {
  EXPECT_NE((Device{Device::Kind::cuda, 0}), Device::cpu());
  EXPECT_NE((Device{Device::Kind::cuda, 0}), (Device{Device::Kind::cuda, 1}));
}

TEST(Device, RefusesWhatIsNotADevice) {
  for (const char* name : {"", "gpu", "CPU", "cpu:0", "cudaa"}) {
    EXPECT_TRUE(throws_error([&] { Device::parse(name); }, "' is not a device; use 'cpu'")) << name;
  }
}

TEST(Device, SaysWhyAGpuIsNotUsable) {
  if (cuda::device_count() > 0) GTEST_SKIP() << "a GPU is usable here";
  for (const char* name : {"cuda", "cuda:1"}) {
    EXPECT_TRUE(throws_error([&] { Device::parse(name); }, "' is not available")) << name;
  }
}

}  // namespace
}  // namespace minidl
