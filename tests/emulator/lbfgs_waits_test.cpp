// L-BFGS on a device: its numbers come to the host once for each evaluation.
#include <emulator/device_tensors.h>
#include <emulator/emulator.h>
#include <gtest/gtest.h>
#include <minidl/optim/lbfgs.h>
#include <support/picture_quadratic.h>

namespace minidl::optim {
namespace {

/// Waits of a step for each of its evaluations, in units of what the reading of one number costs.
void expect_one_wait_an_evaluation(const LbfgsSettings& settings, int refused_evaluation) {
  const Device device = emulator::cuda_device();
  test::PictureQuadratic objective(device);
  Lbfgs lbfgs(Tensor::zeros(objective.shape(), Dtype::f32, device), settings);
  int of_step = 0;
  const Lbfgs::Evaluate evaluate = [&](const Tensor& x, Tensor& gradient) {
    const double loss = objective(x, gradient);
    return ++of_step == refused_evaluation ? 1e30 : loss;
  };
  lbfgs.step(evaluate);
  Tensor gradient = Tensor::empty(objective.shape(), Dtype::f32, device);
  const int64_t before = emulator::waits();
  objective(lbfgs.parameter(), gradient);
  const int64_t one = emulator::waits() - before;
  ASSERT_GT(one, 0);
  int refusals = 0;
  for (int i = 0; i < 12; ++i) {
    const int64_t waits = emulator::waits();
    of_step = 0;
    const LbfgsReport report = lbfgs.step(evaluate);
    ASSERT_FALSE(report.converged);
    if (!report.note.empty()) continue;  // a search that failed, after which the history begins anew
    refusals += of_step >= refused_evaluation;
    EXPECT_EQ(emulator::waits() - waits, 2 * one * report.evaluations) << "step " << i;
  }
  EXPECT_GT(refusals, 3);
}

LbfgsSettings usual_settings() {
  LbfgsSettings settings{.history = 4, .first_step = 0.1};  // pairs are dropped
  settings.preconditioner = smoothing(2.0f, 3);
  return settings;
}

TEST(LbfgsWaits, OnceForEachEvaluation) {
  expect_one_wait_an_evaluation(usual_settings(), 0);
}

/// A search that hardly any point satisfies goes back from its last point to an earlier one.
TEST(LbfgsWaits, NotForAPointThatIsTakenAgain) {
  LbfgsSettings settings = usual_settings();
  settings.max_evaluations = 2;
  settings.sufficient_decrease = 1e-9;
  settings.curvature = 2e-9;
  expect_one_wait_an_evaluation(settings, 2);
}

}  // namespace
}  // namespace minidl::optim
