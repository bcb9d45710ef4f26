// A picture's optimisation and a training step on the emulated device: the same bytes in every schedule, and an error
// of any call of the runtime is reported, leaks nothing and leaves a library that works.
#include <emulator/emulator.h>
#include <minidl/apps/fast_style.h>
#include <minidl/apps/gatys.h>
#include <minidl/core/allocator.h>
#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/elementwise.h>
#include <support/compare.h>
#include <support/small_fast_style.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace minidl::test {
namespace {

namespace emulator = ::minidl::emulator;

constexpr Device kDevice{Device::Kind::cuda, 0};
constexpr int kOutOfMemory = 2, kLaunchFailure = 719;  // of CUDA

/// Two blocks of eight channels.
layers::Vgg two_blocks() {
  layers::Vgg network(tiny_vgg({1, 1}, 8));
  network.to(kDevice);
  return network;
}

/// Whether work that is repeated is recorded.
bool records() {
  return std::getenv("MINIDL_CUDA_CACHING") && std::string(std::getenv("MINIDL_CUDA_CACHING")) == "1";
}

/// What is still there after a run besides memory that the allocator keeps.
std::vector<std::string> live_objects() {
  allocator(kDevice).release_cached();
  return emulator::live_objects();
}

/// Two steps of L-BFGS on 16 x 16 pixels: three evaluations, of which the last may be a recording.
Tensor optimised_picture() {
  layers::Vgg network = two_blocks();
  GatysSettings settings = small_settings();
  settings.content_layers = {{"relu2_1", 1.0}};
  settings.style_layers = {{"relu1_1", 0.5}, {"relu2_1", 0.5}};
  settings.iterations = 2;
  return Gatys(network, settings,
               {.content = wavy_picture(16, 16, 1), .styles = {{wavy_picture(16, 16, 3)}}, .init = {}})
      .run()
      .picture;
}

/// What a net of eight channels makes of a photo after a step of training, or after three of which the last is a
/// recording.
Tensor trained_picture() {
  layers::Vgg network = two_blocks();
  FastStyleSettings settings = small_fast_settings();
  settings.content_layers = {{"relu2_1", 1.0}};
  settings.style_layers = {{"relu1_1", 0.5}, {"relu2_1", 0.5}};
  settings.steps = records() ? 3 : 1;
  settings.batch = 1;
  settings.size = 32;
  FastStyleData data;
  data.styles = {wavy_picture(16, 16, 9)};
  data.photos = [](int64_t step) { return small_photos(step, 1, 32); };
  FastStyle training(network, settings, data);
  training.run();
  return training.apply(wavy_picture(16, 16, 2));
}

class WholeRuns : public ::testing::TestWithParam<Tensor (*)()> {
 protected:
  // Read at the first allocation; 1 when CTest says so, then with recordings.
  static void SetUpTestSuite() { ::setenv("MINIDL_CUDA_CACHING", "0", 0); }
  void TearDown() override {
    emulator::options() = {};
    emulator::fail_call(0, 0);
  }
};
INSTANTIATE_TEST_SUITE_P(All, WholeRuns, ::testing::Values(&optimised_picture, &trained_picture),
                         [](const auto& run) { return run.index == 0 ? "Gatys" : "Training"; });

TEST_P(WholeRuns, GiveTheSameBytesInEverySchedule) {
  const Tensor forward = GetParam()();
  emulator::options().deferred_streams = false;
  EXPECT_TRUE(same_bytes(GetParam()(), forward));
  emulator::options() = {.schedule = emulator::Schedule::reverse, .copies = emulator::Completion::early};
  EXPECT_TRUE(same_bytes(GetParam()(), forward));
  for (const uint64_t seed : {1, 2}) {
    emulator::options() = {
        .schedule = emulator::Schedule::random, .copies = emulator::Completion::random, .seed = seed};
    EXPECT_TRUE(same_bytes(GetParam()(), forward)) << seed;
  }
  EXPECT_TRUE(emulator::take_findings().empty());
}

TEST_P(WholeRuns, ReportTheFailureOfAnyCall) {
  GetParam()();  // what is made once: streams, the allocator
  const int64_t before = emulator::calls();
  const Tensor expected = GetParam()();
  const int64_t calls = emulator::calls() - before;
  const std::vector<std::string> live = live_objects();
  ASSERT_GT(calls, 100);
  // All of them take minutes: MINIDL_EVERY_CALL=1. The step has no factor in common with what repeats in a run.
  const int64_t step = std::getenv("MINIDL_EVERY_CALL")
                           ? 1
                           : std::max<int64_t>(1, calls / (GetParam() == &optimised_picture ? 60 : 8)) | 1;
  int64_t tried = 0, reported = 0;
  for (int64_t call = 1; call <= calls; call += step) {
    ++tried;
    emulator::fail_call(call, call % 2 == 0 ? kOutOfMemory : kLaunchFailure);
    try {
      const Tensor result = GetParam()();
      EXPECT_TRUE(same_bytes(result, expected)) << "call " << call << " failed unnoticed";
    } catch (const Error& error) {
      ++reported;
      const std::string message = error.what();
      EXPECT_TRUE(message.find("[cuda]") != std::string::npos || message.find("out of memory") != std::string::npos)
          << message;
    }
    emulator::fail_call(0, 0);
    ASSERT_EQ(live_objects(), live) << "after the failure of call " << call;
    ASSERT_TRUE(emulator::take_findings().empty());
  }
  std::printf("%" PRId64 " of %" PRId64 " calls failed, %" PRId64 " of them made the run fail\n", tried, calls,
              reported);
  EXPECT_GT(reported, tried / 4);  // the others free something, and are made again
  EXPECT_TRUE(same_bytes(GetParam()(), expected)) << "afterwards everything works";
}

TEST(Recordings, SurviveTheFailureOfEachOfTheirCalls) {
  ::setenv("MINIDL_CUDA_CACHING", "1", 0);
  if (!records()) GTEST_SKIP() << "recordings need an allocator that keeps memory: MINIDL_CUDA_CACHING=1";
  const Tensor x = Tensor::full({100}, 2.0f, kDevice);
  Tensor y = Tensor::empty({100}, Dtype::f32, kDevice);
  const auto record_and_repeat = [&] {
    cuda::Recording recording(0);
    for (int i = 0; i < 3; ++i) recording.run([&] { affine(3.0f, x, 1.0f, y); });
  };
  const int64_t before = emulator::calls();
  record_and_repeat();
  const int64_t calls = emulator::calls() - before;
  for (int64_t call = 1; call <= calls; ++call) {
    emulator::fail_call(call, kLaunchFailure);
    try {
      record_and_repeat();
    } catch (const Error&) {
    }
    emulator::fail_call(0, 0);
    y.fill(0.0f);
    record_and_repeat();
    EXPECT_EQ(y.to(Device::cpu()).slice(99, 100).item(), 7.0f) << "after the failure of call " << call;
  }
}

}  // namespace
}  // namespace minidl::test
