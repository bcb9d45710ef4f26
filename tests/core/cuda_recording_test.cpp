// Recorded work of a CUDA device; skipped where there is none.
#include <minidl/core/allocator.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/recording.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <support/compare.h>
#include <support/device.h>

#include <cstdlib>
#include <optional>
#include <thread>

namespace minidl {
namespace {

using cuda::Recording;
using test::throws_error;

class CudaRecording : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("MINIDL_CUDA_CACHING", "1", 1); }  // read at the first allocation
  void SetUp() override {
    if (test::on_cpu()) GTEST_SKIP() << "needs a device: MINIDL_TEST_DEVICE=cuda";
    x_ = Tensor::full({1000}, 1.0f, kDevice);
  }
  void TearDown() override { ::unsetenv("MINIDL_CUDA_GRAPHS"); }

  /// doubled_ = 2 x by way of a temporary tensor, norm_ = a tenth of the sum of its squares.
  void work() {
    ++done_;
    Tensor half = Tensor::empty(x_.shape(), Dtype::f32, kDevice);
    affine(0.5f, x_, 0.0f, half);
    doubled_ = Tensor();
    doubled_ = Tensor::empty(x_.shape(), Dtype::f32, kDevice);
    affine(4.0f, half, 0.0f, doubled_);
    norm_ = squared_norm_scalar(doubled_, 0.1);
  }
  void run(Recording& recording) {
    recording.run([this] { work(); });
  }
  static void expect_all(const Tensor& tensor, float value) {
    const Tensor host = tensor.to(Device::cpu());
    for (const float element : host.span<float>()) ASSERT_EQ(element, value);
  }
  void expect_results(float value) {
    EXPECT_EQ(norm_.item(), 0.1f * 1000.0f * 4.0f * value * value);
    expect_all(doubled_, 2.0f * value);
  }

  static constexpr Device kDevice{Device::Kind::cuda, 0};
  int done_ = 0;
  Tensor x_, doubled_, norm_;
};

TEST_F(CudaRecording, RepeatsWhatWasRecordedTheSecondTime) {
  Recording recording(0);
  for (int i = 1; i <= 5; ++i) {
    x_.fill(static_cast<float>(i));
    EXPECT_EQ(recording.is_recorded(), i > 2);
    run(recording);
    expect_results(static_cast<float>(i));
    EXPECT_EQ(done_, std::min(i, 2));
  }
}

TEST_F(CudaRecording, NumbersMayBeFactorsOfOthers) {
  Recording recording(0);
  Tensor y = Tensor::zeros(x_.shape(), Dtype::f32, kDevice), gradient = y.clone(), value, norm;
  for (int i = 1; i <= 4; ++i) {
    const float level = static_cast<float>(i);
    x_.fill(level);
    y.fill(2.0f * level);
    recording.run([&] {
      const Factor factor = squared_norm_number(x_).inverse(3.0, 1.0);
      accumulate_difference(factor, y, x_, {0.0f}, gradient);
      value = squared_distance_scalar(y, x_, 0.5, factor);
      norm = squared_norm_number(x_).scaled(1.0, 1.0f, Dtype::f64);
    });
    const double square = 1000.0 * level * level, factor = 3.0 / (square + 1.0);
    EXPECT_EQ(value.item(), static_cast<float>(0.5 * square * factor)) << i;
    EXPECT_EQ(std::as_const(norm).data<double>()[0], square);
    EXPECT_EQ(std::as_const(gradient).slice(5, 6).item(), static_cast<float>(factor) * level);
  }
  EXPECT_TRUE(recording.is_recorded());
}

TEST_F(CudaRecording, ItsMemoryIsNotGivenToOthers) {
  Recording recording(0);
  for (int i = 0; i < 3; ++i) run(recording);
  const Tensor result = doubled_;
  std::vector<Tensor> others;
  for (int i = 0; i < 50; ++i) others.push_back(Tensor::full({1000}, 7.0f, kDevice));
  x_.fill(3.0f);
  run(recording);
  expect_results(3.0f);
  for (const Tensor& other : others) expect_all(other, 7.0f);
}

TEST_F(CudaRecording, BeginsAgainAfterReset) {
  Recording recording(0);
  for (int i = 0; i < 3; ++i) run(recording);
  recording.reset();
  EXPECT_FALSE(recording.is_recorded());
  x_ = Tensor::full({500}, 2.0f, kDevice);
  for (int i = 0; i < 3; ++i) run(recording);
  EXPECT_EQ(done_, 4);
  EXPECT_EQ(doubled_.shape(), Shape({500}));
  EXPECT_EQ(norm_.item(), 0.1f * 500.0f * 16.0f);
}

TEST_F(CudaRecording, GivesBackItsMemoryWithTheLastTensor) {
  allocator(kDevice).release_cached();
  const MemoryStats before = allocator(kDevice).stats();
  std::optional<Recording> recording(0);
  for (int i = 0; i < 3; ++i) run(*recording);
  EXPECT_GT(allocator(kDevice).stats().held, before.held);
  recording.reset();
  expect_all(doubled_, 2.0f);
  doubled_ = Tensor();
  EXPECT_EQ(allocator(kDevice).stats().in_use, before.in_use);
  EXPECT_EQ(allocator(kDevice).stats().held, before.held);
}

TEST_F(CudaRecording, WorkThatWaitsIsDoneEachTime) {
  Recording recording(0);
  double sums = 0;
  for (int i = 1; i <= 4; ++i) {
    x_.fill(static_cast<float>(i));
    recording.run([&] {
      work();
      sums += sum(doubled_);
    });
    expect_results(static_cast<float>(i));
    EXPECT_FALSE(recording.is_recorded());
  }
  EXPECT_GE(done_, 4);
  EXPECT_EQ(sums, 2.0 * 1000 * (1 + 2 + 3 + 4));
}

TEST_F(CudaRecording, CanBeSwitchedOff) {
  ::setenv("MINIDL_CUDA_GRAPHS", "0", 1);
  Recording recording(0);
  for (int i = 1; i <= 4; ++i) {
    x_.fill(static_cast<float>(i));
    run(recording);
    expect_results(static_cast<float>(i));
  }
  EXPECT_EQ(done_, 4);
  EXPECT_FALSE(recording.is_recorded());
}

TEST_F(CudaRecording, PassesErrorsOnAndBeginsAgain) {
  Recording recording(0);
  for (const int failing : {1, 2}) {
    done_ = 0;
    const auto fail_once = [&] {
      recording.run([&] {
        work();
        if (done_ == failing) throw Error("as told");
      });
    };
    for (int i = 1; i < failing; ++i) fail_once();
    EXPECT_TRUE(throws_error(fail_once, "as told"));
    EXPECT_FALSE(recording.is_recorded());
    done_ = 0;
    for (int i = 0; i < 3; ++i) run(recording);
    EXPECT_TRUE(recording.is_recorded());
    EXPECT_EQ(done_, 2);
    expect_results(1.0f);
    recording.reset();
  }
}

TEST_F(CudaRecording, ReadsAsManyNumbersAsItIsAskedFor) {
  Recording recording(0);
  std::vector<Tensor> numbers;
  for (int i = 1; i <= 4; ++i) {
    x_.fill(static_cast<float>(i));
    recording.run([&] {
      numbers.clear();
      for (int k = 0; k < 1100; ++k) numbers.push_back(sum_scalar(x_, k));
    });
    for (size_t k = 0; k < numbers.size(); ++k) ASSERT_EQ(numbers[k].item(), 1000.0f * static_cast<float>(k * i));
  }
  EXPECT_TRUE(recording.is_recorded());
}

TEST_F(CudaRecording, ItsMemoryIsThatOfOneThread) {
  Recording recording(0);
  Tensor other;
  const auto run_beside_another = [&] {
    recording.run([&] {
      work();
      std::thread([&] { other = Tensor::empty({500}, Dtype::f32, kDevice); }).join();
    });
  };
  run_beside_another();
  run_beside_another();
  other.fill(5.0f);
  run(recording);
  expect_all(other, 5.0f);
}

/// Keeps a copy of x_ for as long as that is as it was, as engines keep forms of their weights.
class CudaRecordingOfKept : public CudaRecording {
 protected:
  void work() {
    ++done_;
    Recording& recording = *Recording::current();
    if (!recording.is_recording()) {
      kept_ = recording.outside_store([&] { return x_.clone(); });
      version_ = x_.version();
    }
    const bool relies = recording.is_recording() && x_.version() == version_ && recording.rely_on(x_, kept_);
    relied_ = relied_ || relies;
    doubled_ = Tensor::empty(x_.shape(), Dtype::f32, kDevice);
    affine(2.0f, relies ? kept_ : x_, 0.0f, doubled_);
    if (writes_) affine(1.0f, x_, 1.0f, x_);
  }
  void run(Recording& recording) {
    recording.run([this] { work(); });
  }

  Tensor kept_;
  uint64_t version_ = 0;
  bool relied_ = false, writes_ = false;
};

TEST_F(CudaRecordingOfKept, BeginsAgainWhenWhatItReliedOnChanged) {
  Recording recording(0);
  for (int i = 1; i <= 3; ++i) {
    for (int k = 0; k < 4; ++k) run(recording);
    EXPECT_TRUE(recording.is_recorded());
    EXPECT_TRUE(relied_);
    expect_all(doubled_, 2.0f * static_cast<float>(i));
    EXPECT_EQ(done_, 2 * i);
    x_.fill(static_cast<float>(i + 1));
  }
}

TEST_F(CudaRecordingOfKept, DoesNotRelyOnWhatItWrites) {
  Recording recording(0);
  writes_ = true;
  for (int i = 1; i <= 5; ++i) {
    run(recording);
    expect_all(doubled_, 2.0f * static_cast<float>(i));
  }
  EXPECT_FALSE(relied_);  // already at the second run x_ is another one
  EXPECT_TRUE(recording.is_recorded());
}

TEST_F(CudaRecordingOfKept, DoesNotRelyAgainOnWhatItWroteAfterAll) {
  Recording recording(0);
  run(recording);
  writes_ = true;  // from its second run on
  for (int i = 1; i <= 5; ++i) {
    run(recording);
    expect_all(doubled_, 2.0f * static_cast<float>(i));
  }
  EXPECT_TRUE(relied_);
  EXPECT_TRUE(recording.is_recorded());
}

TEST_F(CudaRecordingOfKept, ItsMemoryIsOfTheCommonStore) {
  std::optional<Recording> recording(0);
  for (int i = 0; i < 3; ++i) run(*recording);
  recording.reset();
  expect_all(kept_, 1.0f);
  Tensor other = Tensor::full(kept_.shape(), 5.0f, kDevice);
  expect_all(kept_, 1.0f);
}

TEST_F(CudaRecording, BadUsesAreRefused) {
  Recording outer(0), inner(0);
  EXPECT_TRUE(throws_error([&] { outer.run([&] { run(inner); }); }, "one Recording at a time"));
  EXPECT_TRUE(throws_error([&] { outer.run([&] { outer.read(x_, 1.0); }); }, "one f64"));
  EXPECT_TRUE(throws_error([] { Recording(99); }, "cuda:99"));
}

TEST_F(CudaRecording, OutsideOfOneNumbersAreThereAtOnce) {
  work();
  expect_results(1.0f);
  EXPECT_EQ(Recording::current(), nullptr);
}

}  // namespace
}  // namespace minidl
