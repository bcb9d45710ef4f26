// What cuDNN plans for a GPU that need not be there: which requests it takes, how, and in how much memory. What its
// plans compute is tested by conv2d_test on a device.
#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/cuda/continued.h>
#include <minidl/kernels/cudnn/conv2d_engines.h>
#include <minidl/kernels/cudnn/plans.h>
#include <minidl/layers/network_description.h>

#include <support/run_command.h>
#include <support/temporary_folder.h>

namespace minidl::cudnn {
namespace {

using Direction = Conv2dDirection;

/// An H200 in cuDNN's words, or the same with another compute capability (750 is 7.5).
std::string properties(int compute_capability = 900) {
  return R"({"deviceName": "H200", "cudaDeviceId": 0, "driverVer": 13000, "multiProcessorCount": 132, "warpSize": 32,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
    "reservedSharedMemoryPerBlock": 1024, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
    "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "totalGlobalMem": 150000000000,
    "smClockRateKHz": 1980000, "memClockRateKHz": 3201000, "l2CacheSize": 62914560, "deviceVer": )" +
         std::to_string(compute_capability) + "}";
}

Conv2dDesc conv3x3(int64_t size, int64_t in_c, int64_t out_c) {
  return Conv2dDesc::make({1, size, size, in_c}, {out_c, 3, 3, in_c}, {1, 1, Padding::zero(1)});
}

class Cudnn : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string refusal = h200_.find({conv3x3(8, 64, 64)}).refusal;
    if (refusal.find("cannot be loaded") != std::string::npos) GTEST_SKIP() << refusal;
    ASSERT_EQ(refusal, "");
  }

  Plans h200_{properties()};
};

/// All that an engine may ask for: each direction with each epilogue, or with and without something to add to, at both
/// grades, with tensors that begin at multiples of 16 bytes or of 4.
std::vector<Request> requests(const Conv2dDesc& desc) {
  std::vector<Request> result;
  for (const bool tf32 : {false, true}) {
    for (const bool aligned : {false, true}) {
      const Request forward{.desc = desc, .tf32 = tf32, .aligned = aligned};
      for (const auto& [bias, relu] : {std::pair(false, false), {true, false}, {true, true}}) {
        result.push_back(forward);
        result.back().bias = bias, result.back().relu = relu;
      }
      for (const Direction direction : {Direction::backward_data, Direction::backward_weight}) {
        for (const float beta : {0.0f, 1.0f, -2.0f}) {
          result.push_back(forward);
          result.back().direction = direction, result.back().beta = beta;
        }
      }
    }
  }
  return result;
}

void expect_plans(Plans& plans, const Conv2dDesc& desc) {
  for (const Request& request : requests(desc)) {
    const Plan& plan = plans.find(request);
    const std::string what = Conv2dProblem{desc, request.direction}.str() + (request.tf32 ? " tf32" : " fp32") +
                             (request.aligned ? "" : " unaligned") + (request.bias ? " bias" : "") +
                             (request.relu ? " relu" : "") + " beta " + std::to_string(request.beta);
    EXPECT_EQ(plan.refusal, "") << what;
    EXPECT_NE(plan.descriptor, nullptr) << what;
    EXPECT_LE(plan.workspace_bytes, kMostWorkspace) << what;
    if (!request.tf32) {
      EXPECT_FALSE(plan.tensor_cores) << what;
    }
  }
}

std::vector<Conv2dDesc> vgg19(int64_t size) {
  std::vector<Conv2dDesc> result;
  Shape shape{1, size, size, 3};
  for (const layers::LayerDescription& layer : layers::vgg_description(19, false).layers) {
    if (layer.kind == layers::LayerDescription::Kind::conv) {
      result.push_back(Conv2dDesc::make(shape, {layer.out_c, layer.k_h, layer.k_w, layer.in_c}, layer.window));
      shape = result.back().output_shape();
    } else if (layer.kind == layers::LayerDescription::Kind::pool) {
      shape = {1, shape[1] / 2, shape[2] / 2, shape[3]};
    }
  }
  return result;
}

TEST_F(Cudnn, HasAPlanForEveryConvolutionOfVgg19) {
  for (const int64_t size : {64, 512}) {
    const std::vector<Conv2dDesc> convolutions = vgg19(size);
    ASSERT_EQ(convolutions.size(), 16u);
    for (const Conv2dDesc& desc : convolutions) expect_plans(h200_, desc);
  }
}

/// In small maps cuDNN's first choice may be fp32 although TF32 is allowed.
TEST_F(Cudnn, UsesTensorCoresInLargeMapsWhereTf32IsAllowed) {
  for (const Conv2dDesc& desc : vgg19(512)) {
    for (const Direction direction : {Direction::forward, Direction::backward_data, Direction::backward_weight}) {
      EXPECT_TRUE(h200_.find({.desc = desc, .direction = direction, .tf32 = true}).tensor_cores) << desc.str();
    }
  }
}

/// Four pictures of 256 px, as in training. What is padded by reflection comes continued.
TEST_F(Cudnn, HasAPlanForEveryConvolutionOfTheTransformNet) {
  const Padding one = Padding::reflect(1), four = Padding::reflect(4);
  for (const auto& [input, weight, window] :
       {std::tuple<Shape, Shape, Window>{{4, 256, 256, 3}, {32, 9, 9, 3}, {1, 1, four}},
        {{4, 256, 256, 32}, {64, 3, 3, 32}, {2, 2, one}},
        {{4, 128, 128, 64}, {128, 3, 3, 64}, {2, 2, one}},
        {{4, 64, 64, 128}, {128, 3, 3, 128}, {1, 1, one}},
        {{4, 128, 128, 128}, {64, 3, 3, 128}, {1, 1, one}},
        {{4, 256, 256, 64}, {32, 3, 3, 64}, {1, 1, one}},
        {{4, 256, 256, 32}, {3, 9, 9, 32}, {1, 1, four}}}) {
    expect_plans(h200_, cuda::continued(Conv2dDesc::make(input, weight, window)));
  }
}

/// Pads of different widths, larger than the picture and larger than the kernel; strides beyond the kernel; pixels.
TEST_F(Cudnn, HasPlansForUnusualShapes) {
  using enum Padding::Mode;
  for (const auto& [input, weight, window] : {std::tuple<Shape, Shape, Window>{{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
                                              {{1, 10, 7, 4}, {3, 5, 2, 4}, {3, 1, {zero, 2, 1, 0, 3}}},
                                              {{3, 6, 5, 33}, {7, 1, 1, 33}, {2, 2, {}}},
                                              {{1, 2, 2, 3}, {4, 3, 3, 3}, {1, 1, Padding::zero(4)}},
                                              {{1, 7, 7, 3}, {4, 1, 1, 3}, {3, 3, {}}},
                                              {{1, 4, 3, 64}, {130, 3, 3, 64}, {1, 1, Padding::zero(5)}}}) {
    expect_plans(h200_, Conv2dDesc::make(input, weight, window));
  }
}

/// At 1024 px cuDNN's first choice in fp32 copies two maps of 256 MiB.
TEST_F(Cudnn, StaysWithinItsWorkspaceWhereTheFirstChoiceDoesNot) {
  const Plan& small = h200_.find({conv3x3(512, 64, 64)});
  EXPECT_GT(small.workspace_bytes, int64_t{128} << 20);
  const Plan& large = h200_.find({conv3x3(1024, 64, 64)});
  EXPECT_EQ(large.refusal, "");
  EXPECT_NE(large.engine, small.engine);
  EXPECT_LE(large.workspace_bytes, kMostWorkspace);
}

TEST_F(Cudnn, KeepsOnePlanForARequest) {
  std::vector<const Plan*> plans;
  for (const Request& request : requests(conv3x3(32, 16, 16))) plans.push_back(&h200_.find(request));
  const std::vector<Request> again = requests(conv3x3(32, 16, 16));
  for (size_t i = 0; i < again.size(); ++i) {
    EXPECT_EQ(&h200_.find(again[i]), plans[i]);
    for (size_t j = 0; j < i; ++j) EXPECT_NE(plans[i], plans[j]);
  }
  Request other{conv3x3(32, 16, 16)};
  for (int64_t* extent :
       {&other.desc.n, &other.desc.in_h, &other.desc.in_w, &other.desc.in_c, &other.desc.out_c, &other.desc.k_h,
        &other.desc.k_w, &other.desc.window.stride_h, &other.desc.window.stride_w, &other.desc.window.padding.top,
        &other.desc.window.padding.bottom, &other.desc.window.padding.left, &other.desc.window.padding.right}) {
    const Plan& before = h200_.find(other);
    ++*extent;
    EXPECT_NE(&h200_.find(other), &before) << other.desc.str();
  }
}

TEST_F(Cudnn, RefusesWithAReasonAndRemembersIt) {
  Request request{conv3x3(8, 4, 4)};
  request.desc.window.padding = Padding::zero(-1);
  const Plan& plan = h200_.find(request);
  EXPECT_NE(plan.refusal.find("the convolution: CUDNN_STATUS_BAD_PARAM"), std::string::npos) << plan.refusal;
  EXPECT_EQ(plan.descriptor, nullptr);
  EXPECT_EQ(&h200_.find(request), &plan);
}

TEST_F(Cudnn, PlansForOtherDevices) {
  const Request fp32{conv3x3(64, 64, 64)}, tf32{.desc = fp32.desc, .tf32 = true};
  for (const int older : {700, 750}) {
    Plans plans(properties(older));
    EXPECT_EQ(plans.find(fp32).refusal, "") << older;
    EXPECT_FALSE(plans.find(tf32).tensor_cores) << older << " has no TF32";
  }
  for (const int newer : {800, 890, 1000, 1200}) {
    Plans plans(properties(newer));
    EXPECT_EQ(plans.find(fp32).refusal, "") << newer;
    EXPECT_TRUE(plans.find(tf32).tensor_cores) << newer;
  }
}

TEST_F(Cudnn, RefusesEverythingForDevicesThatItDoesNotKnow) {
  const Request request{conv3x3(64, 64, 64)};
  const auto refusal = [&](const std::string& text) { return Plans(text).find(request).refusal; };
  EXPECT_NE(refusal(properties(300)).find("the properties of the device: CUDNN_STATUS_NOT_SUPPORTED"),
            std::string::npos);
  EXPECT_NE(refusal("{}").find("the properties of the device: CUDNN_STATUS_BAD_PARAM"), std::string::npos);
  EXPECT_NE(refusal("").find("the properties of the device"), std::string::npos);
}

/// The engines themselves, on any machine.
TEST(CudnnEngines, DeclineOtherGrades) {
  const Conv2dProblem problem{conv3x3(8, 64, 64)};
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16}) {
    EXPECT_STREQ(conv2d_cudnn_tf32.decline(problem, precision), "computes in tf32 only");
  }
}

TEST(CudnnEngines, DeclineWithoutADevice) {
  if (cuda::device_count() > 0) GTEST_SKIP() << "there is a device";
  for (const Padding& padding : {Padding::zero(1), Padding::reflect(1)}) {
    Conv2dProblem problem{conv3x3(8, 64, 64)};
    problem.desc.window.padding = padding;
    EXPECT_EQ(conv2d_cudnn.decline(problem, Precision::fp32), cuda::unavailable_reason());
    EXPECT_EQ(conv2d_cudnn_tf32.decline(problem, Precision::tf32), cuda::unavailable_reason());
  }
}

/// Until a device has shown what they compute.
TEST(CudnnEngines, StandBehindOneThatAcceptsEverything) {
  const auto engines = conv2d_engines();
  const auto place = [&](const char* name) {
    return std::ranges::find_if(engines, [&](const Conv2dEngine* engine) { return engine->name == std::string(name); });
  };
  ASSERT_NE(place("cudnn_tf32"), engines.end());
  EXPECT_LT(place("simt"), place("cudnn"));
  EXPECT_LT(place("simt"), place("cudnn_tf32"));
}

/// A file that is no library stands before the real one.
TEST(CudnnEngines, AreRefusedInWordsWhereTheLibraryCannotBeLoaded) {
  const test::TemporaryFolder folder;
  const auto run = [&] {
    return test::run_command("LD_LIBRARY_PATH='" + folder.path().string() +
                             "' kernels_cudnn_test --gtest_filter=Cudnn.KeepsOnePlanForARequest");
  };
  std::ofstream(folder / "libcudnn.so.9") << "no library";
  const test::CommandResult broken = run();
  EXPECT_EQ(broken.code, 0);
  EXPECT_NE(broken.output.find("SKIPPED"), std::string::npos) << broken.output;
  EXPECT_NE(broken.output.find("[cudnn] cuDNN cannot be loaded: "), std::string::npos) << broken.output;
}

}  // namespace
}  // namespace minidl::cudnn
