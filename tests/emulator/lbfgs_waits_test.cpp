// L-BFGS on a device: its directions are those of the CPU, and its numbers come to the host once for each evaluation.
#include <emulator/device_tensors.h>
#include <emulator/emulator.h>
#include <gtest/gtest.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/optim/lbfgs.h>

#include <cmath>

namespace minidl::optim {
namespace {

/// 0.5 * sum of w (x - target)^2, curvatures w from 1 to 50.
struct Quadratic {
  Tensor target, curvatures;
  int evaluations = 0;

  double operator()(const Tensor& x, Tensor& gradient) {
    ++evaluations;
    Tensor difference = Tensor::empty(x.shape(), Dtype::f32, x.device());
    add_scaled(1.0f, x, -1.0f, target, difference);
    multiply(curvatures, difference, gradient);
    return 0.5 * dot(gradient, difference);  // the one wait of an evaluation
  }
};

const Shape kShape{1, 8, 9, 3};

Quadratic quadratic(Device device) {
  Tensor target = Tensor::empty(kShape), curvatures = Tensor::empty(kShape);
  for (int64_t i = 0; i < target.count(); ++i) {
    target.data<float>()[i] = std::sin(static_cast<float>(i));
    curvatures.data<float>()[i] = static_cast<float>(1 + i * 7 % 50);
  }
  return {target.to(device), curvatures.to(device)};
}

LbfgsSettings settings(Dtype dtype) {
  LbfgsSettings chosen;
  chosen.history = 4;  // pairs are dropped
  chosen.first_step = 0.1;
  chosen.preconditioner = smoothing(2.0f, 3);
  chosen.history_dtype = dtype;
  return chosen;
}

TEST(LbfgsOnADevice, ReadsItsNumbersOnceForEachEvaluation) {
  const Device device = emulator::cuda_device();
  Quadratic objective = quadratic(device);
  Lbfgs lbfgs(Tensor::zeros(kShape, Dtype::f32, device), settings(Dtype::f32));
  const Lbfgs::Evaluate evaluate = [&](const Tensor& x, Tensor& gradient) { return objective(x, gradient); };
  lbfgs.step(evaluate);
  const int64_t before = emulator::waits();
  static_cast<void>(dot(objective.target, objective.target));
  const int64_t one = emulator::waits() - before;  // what the reading of a number costs
  for (int i = 0; i < 12; ++i) {
    const int64_t waits = emulator::waits();
    const int evaluations = objective.evaluations;
    const LbfgsReport report = lbfgs.step(evaluate);
    ASSERT_FALSE(report.converged);
    EXPECT_EQ(emulator::waits() - waits, 2 * one * (objective.evaluations - evaluations)) << "step " << i;
  }
}

TEST(LbfgsOnADevice, GoesWhereTheCpuGoes) {
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    Quadratic here = quadratic(Device::cpu()), there = quadratic(emulator::cuda_device());
    Lbfgs on_cpu(Tensor::zeros(kShape), settings(dtype));
    Lbfgs on_device(Tensor::zeros(kShape, Dtype::f32, emulator::cuda_device()), settings(dtype));
    for (int i = 0; i < 12; ++i) {
      const LbfgsReport expected = on_cpu.step([&](const Tensor& x, Tensor& gradient) { return here(x, gradient); });
      const LbfgsReport report = on_device.step([&](const Tensor& x, Tensor& gradient) { return there(x, gradient); });
      EXPECT_EQ(report.evaluations, expected.evaluations) << i;
      EXPECT_NEAR(report.loss, expected.loss, 1e-4 * expected.loss) << i;
      EXPECT_NEAR(report.grad_norm, expected.grad_norm, 1e-3 * expected.grad_norm) << i;
    }
    // A saved state goes on in the same way.
    Lbfgs resumed(on_device.parameter().clone(), settings(dtype));
    resumed.load_state(on_device.state());
    const LbfgsReport after = on_device.step([&](const Tensor& x, Tensor& gradient) { return there(x, gradient); });
    const LbfgsReport again = resumed.step([&](const Tensor& x, Tensor& gradient) { return there(x, gradient); });
    EXPECT_EQ(again.loss, after.loss);
    EXPECT_EQ(again.grad_norm, after.grad_norm);
  }
}

}  // namespace
}  // namespace minidl::optim
