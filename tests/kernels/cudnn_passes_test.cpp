// What the cuDNN engines do around cuDNN: continued pictures, masks, sums, biases and ReLUs that its graph does not
// have. Plans and their execution are replaced by loops in f64 on the host, so that nothing of cuDNN is needed, and the
// rest runs on the emulated device. conv2d_cudnn.cpp is compiled into this program.
#include <minidl/core/allocator.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/cudnn/conv2d_engines.h>
#include <minidl/kernels/cudnn/execute.h>

#include <support/compare.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/reference_conv2d.h>

#include <limits>
#include <list>

namespace minidl::cudnn {

class Descriptor {};

namespace {

const Device kDevice{Device::Kind::cuda, 0};
constexpr int64_t kPlanWorkspace = int64_t{1} << 20;

enum class Refused { nothing, epilogues, sums, everything };
Refused refused = Refused::nothing;

bool is_refused(const Request& request) {
  return refused == Refused::everything || (refused == Refused::epilogues && request.bias) ||
         (refused == Refused::sums && request.beta != 0.0f);
}

/// Plans that were asked for, each with its request.
std::list<std::pair<Plan, Request>>& plans() {
  static std::list<std::pair<Plan, Request>> all;
  return all;
}

Tensor on_host(const float* device, const Shape& shape) {
  Tensor host = Tensor::empty(shape);
  cuda::copy(host.data<float>(), Device::cpu(), device, kDevice, static_cast<size_t>(host.bytes()));
  return host;
}

/// result + beta * what is there, which is not read for a beta of 0.
void write(const float* device, const Shape& shape, const std::vector<double>& result, float beta) {
  Tensor values = on_host(device, shape);
  float* value = values.data<float>();
  for (const double term : result) {
    *value = static_cast<float>(term + (beta == 0.0f ? 0.0 : static_cast<double>(beta) * static_cast<double>(*value)));
    ++value;
  }
  cuda::copy(const_cast<float*>(device), kDevice, std::as_const(values).data<float>(), Device::cpu(),
             static_cast<size_t>(values.bytes()));
}

}  // namespace

Plans::Plans(int) {}
Plans::~Plans() = default;

const Plan& Plans::find(const Request& request) {
  Plan& plan = plans().emplace_back(Plan{}, request).first;
  plan.workspace_bytes = kPlanWorkspace;
  if (is_refused(request)) plan.refusal = "cuDNN refuses";
  return plan;
}

Plans& current_plans() {
  static Plans instance(0);
  return instance;
}

void execute(const Plan& plan, const Operands& operands) {
  const auto entry = std::ranges::find_if(plans(), [&](const auto& known) { return &known.first == &plan; });
  ASSERT_NE(entry, plans().end());
  const Request& request = entry->second;
  const Conv2dDesc& d = request.desc;
  EXPECT_EQ(plan.refusal, "");
  EXPECT_EQ(request.bias, operands.bias != nullptr);
  EXPECT_TRUE(request.bias || !request.relu);
  EXPECT_TRUE(d.window.padding.mode == Padding::Mode::zero || !d.window.padding.any()) << d.str();
  bool aligned = true;
  for (const float* pointer : {operands.input, operands.weight, operands.output, operands.bias}) {
    aligned = aligned && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  }
  EXPECT_EQ(request.aligned, aligned);
  const Tensor workspace = Tensor::empty({plan.workspace_bytes}, Dtype::u8, kDevice);
  const auto input = [&] { return on_host(operands.input, d.input_shape()); };
  const auto weight = [&] { return on_host(operands.weight, d.weight_shape()); };
  const auto output = [&] { return on_host(operands.output, d.output_shape()); };
  switch (request.direction) {
    case Conv2dDirection::forward: {
      const Tensor bias = operands.bias ? on_host(operands.bias, {d.out_c}) : Tensor();
      const Activation activation = request.relu ? Activation::relu : Activation::none;
      write(operands.output, d.output_shape(), test::reference_conv2d(d, input(), weight(), bias, activation), 0.0f);
      break;
    }
    case Conv2dDirection::backward_data:
      write(operands.input, d.input_shape(), test::reference_conv2d_backward_data(d, weight(), output()), request.beta);
      break;
    default:
      write(operands.weight, d.weight_shape(), test::reference_conv2d_backward_weight(d, input(), output()),
            request.beta);
  }
}

namespace {

using test::random_integers;

std::vector<Conv2dDesc> cases() {
  using enum Padding::Mode;
  const auto make = [](const Shape& input, const Shape& weight, const Window& window) {
    return Conv2dDesc::make(input, weight, window);
  };
  return {make({1, 1, 1, 1}, {1, 1, 1, 1}, {}),
          make({2, 7, 6, 3}, {4, 3, 3, 3}, {1, 1, Padding::zero(1)}),
          make({1, 10, 7, 4}, {3, 5, 2, 4}, {3, 1, {zero, 2, 1, 0, 3}}),
          make({2, 6, 5, 4}, {8, 3, 3, 4}, {1, 1, Padding::reflect(1)}),
          make({1, 9, 8, 3}, {5, 3, 3, 3}, {2, 2, Padding::replicate(1)}),
          make({1, 10, 7, 4}, {3, 5, 2, 4}, {3, 1, {reflect, 2, 1, 0, 3}})};
}

class CudnnPasses : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { refused = Refused::nothing; }
  const Conv2dEngine& engine() const { return GetParam() ? conv2d_cudnn_tf32 : conv2d_cudnn; }
  void TearDown() override {
    for (const auto& [plan, request] : plans()) EXPECT_EQ(request.tf32, GetParam());
    plans().clear();
  }

  const cuda::DeviceScope scope_{0};
};

INSTANTIATE_TEST_SUITE_P(Both, CudnnPasses, ::testing::Bool(),
                         [](const auto& tf32) { return tf32.param ? "cudnn_tf32" : "cudnn"; });

TEST_P(CudnnPasses, Forward) {
  for (const Conv2dDesc& d : cases()) {
    const Tensor input = random_integers(d.input_shape(), 1), weight = random_integers(d.weight_shape(), 2),
                 some = random_integers({d.out_c}, 3), there = input.to(kDevice), filters = weight.to(kDevice);
    for (const Tensor& bias : {Tensor(), some}) {
      for (const Activation activation : {Activation::none, Activation::relu}) {
        for (const Refused what : {Refused::nothing, Refused::epilogues}) {
          refused = what;
          Tensor output = Tensor::full(d.output_shape(), std::numeric_limits<float>::quiet_NaN(), kDevice);
          const Tensor on_device = bias ? bias.to(kDevice) : Tensor();
          engine().forward(d, {there.data<float>(), filters, bias ? on_device.data<float>() : nullptr, activation,
                               output.data<float>(), nullptr});
          EXPECT_TRUE(
              test::equals(output.to(Device::cpu()), test::reference_conv2d(d, input, weight, bias, activation)))
              << d.str();
        }
      }
    }
  }
}

TEST_P(CudnnPasses, BackwardDataAccumulatesAndMasks) {
  for (const Conv2dDesc& d : cases()) {
    const Tensor weight = random_integers(d.weight_shape(), 1), grad_output = random_integers(d.output_shape(), 2);
    const Tensor before = random_integers(d.input_shape(), 3), signs = random_integers(d.input_shape(), 4, -1, 1);
    const Tensor filters = weight.to(kDevice), gradient = grad_output.to(kDevice);
    const BitMask mask = test::positive(signs).to(kDevice);
    const std::vector<double> contribution = test::reference_conv2d_backward_data(d, weight, grad_output);
    for (const float beta : {0.0f, 1.0f, -2.0f}) {
      for (const bool masked : {false, true}) {
        std::vector<double> expected = test::to_doubles(before);
        for (size_t i = 0; i < expected.size(); ++i) {
          const bool open = !masked || signs.data<float>()[i] > 0.0f;
          expected[i] = static_cast<double>(beta) * expected[i] + (open ? contribution[i] : 0.0);
        }
        Tensor grad_input = beta == 0.0f
                                ? Tensor::full(d.input_shape(), std::numeric_limits<float>::quiet_NaN(), kDevice)
                                : before.to(kDevice);
        engine().backward_data(
            d, {filters, gradient.data<float>(), beta, masked ? mask.span() : BitSpan(), grad_input.data<float>()});
        EXPECT_TRUE(test::equals(grad_input.to(Device::cpu()), expected))
            << d.str() << " beta " << beta << " mask " << masked;
      }
    }
  }
}

TEST_P(CudnnPasses, BackwardWeightAccumulates) {
  for (const Conv2dDesc& d : cases()) {
    const Tensor input = random_integers(d.input_shape(), 1), grad_output = random_integers(d.output_shape(), 2),
                 before = random_integers(d.weight_shape(), 3), there = input.to(kDevice),
                 gradient = grad_output.to(kDevice);
    for (const float beta : {0.0f, 1.0f}) {
      std::vector<double> expected = test::reference_conv2d_backward_weight(d, input, grad_output);
      for (size_t i = 0; i < expected.size(); ++i)
        expected[i] += static_cast<double>(beta) * static_cast<double>(before.data<float>()[i]);
      Tensor grad_weight = before.to(kDevice);
      engine().backward_weight(d, {there.data<float>(), gradient.data<float>(), beta, grad_weight.data<float>()});
      EXPECT_TRUE(test::equals(grad_weight.to(Device::cpu()), expected)) << d.str() << " beta " << beta;
    }
  }
}

/// A tensor that begins one float after a multiple of 16 bytes, of which execute() is told.
TEST_P(CudnnPasses, TensorsMayBeginAnywhere) {
  const Conv2dDesc d = Conv2dDesc::make({1, 5, 5, 1}, {1, 3, 3, 1}, {1, 1, Padding::zero(1)});
  const Tensor values = random_integers({26}, 1), weight = random_integers(d.weight_shape(), 2),
               there = values.to(kDevice).slice(1, 26), filters = weight.to(kDevice);
  Tensor output = Tensor::empty(d.output_shape(), Dtype::f32, kDevice);
  engine().forward(d, {there.data<float>(), filters, nullptr, Activation::none, output.data<float>(), nullptr});
  EXPECT_FALSE(plans().back().second.aligned);
  const Tensor input = values.slice(1, 26).reshape(d.input_shape());
  EXPECT_TRUE(test::equals(output.to(Device::cpu()), test::reference_conv2d(d, input, weight)));
}

/// What is allocated beside the arguments: the plan's memory, and at most one map.
TEST_P(CudnnPasses, TellTheirWorkspace) {
  Allocator& memory = allocator(kDevice);
  for (const Padding& padding : {Padding::zero(1), Padding::reflect(1)}) {
    const Conv2dDesc d = Conv2dDesc::make({1, 40, 50, 3}, {2, 3, 3, 3}, {1, 1, padding});
    const Tensor input = random_integers(d.input_shape(), 1).to(kDevice),
                 weight = random_integers(d.weight_shape(), 2).to(kDevice),
                 grad_output = random_integers(d.output_shape(), 3).to(kDevice);
    const BitMask mask = test::positive(random_integers(d.input_shape(), 4)).to(kDevice);
    Tensor output = grad_output.clone(), grad_input = input.clone(), grad_weight = weight.clone();
    const auto expect = [&](Conv2dDirection direction, const std::function<void()>& run) {
      memory.reset_peak();
      const int64_t before = memory.stats().in_use;
      run();
      const int64_t measured = memory.stats().peak_in_use - before;
      const int64_t told = engine().workspace_bytes({d, direction});
      EXPECT_LE(std::abs(measured - told), 1024) << measured << " of " << told << ": " << d.str();
    };
    expect(Conv2dDirection::forward, [&] {
      engine().forward(d, {input.data<float>(), weight, nullptr, Activation::relu, output.data<float>(), nullptr});
    });
    expect(Conv2dDirection::backward_data, [&] {
      engine().backward_data(d, {weight, grad_output.data<float>(), 1.0f, mask.span(), grad_input.data<float>()});
    });
    expect(Conv2dDirection::backward_weight, [&] {
      engine().backward_weight(d, {input.data<float>(), grad_output.data<float>(), 1.0f, grad_weight.data<float>()});
    });
  }
}

/// With what cuDNN says, unless there are passes of our own.
TEST_P(CudnnPasses, DeclineWhatCudnnRefuses) {
  using enum Conv2dDirection;
  using enum Refused;
  const auto reason = [&](Conv2dDirection direction, Refused what) {
    refused = what;
    const char* words = engine().decline({cases()[3], direction}, GetParam() ? Precision::tf32 : Precision::fp32);
    return std::string(words ? words : "");
  };
  for (const Conv2dDirection direction : {forward, backward_data, backward_weight}) {
    EXPECT_EQ(reason(direction, nothing), "");
    EXPECT_EQ(reason(direction, epilogues), "");
    EXPECT_EQ(reason(direction, sums), direction == forward ? "" : "cuDNN refuses");
    EXPECT_EQ(reason(direction, everything), "cuDNN refuses");
  }
}

}  // namespace
}  // namespace minidl::cudnn
