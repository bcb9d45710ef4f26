// L-BFGS where the tests run, on the CPU or on a device: it goes where the CPU goes, and from a saved state on, too.
#include <minidl/optim/lbfgs.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/picture_quadratic.h>

#include <functional>

namespace minidl::optim {
namespace {

struct Case {
  int history, steps;
  Dtype dtype;
};

class LbfgsOnDevice : public ::testing::TestWithParam<Case> {};

/// Histories that drop pairs, and that grow beyond the room their products have at first.
TEST_P(LbfgsOnDevice, GoesWhereTheCpuGoes) {
  const Case& c = GetParam();
  LbfgsSettings settings{.history = c.history, .first_step = 0.1};
  settings.preconditioner = smoothing(2.0f, 3);
  settings.history_dtype = c.dtype;
  test::PictureQuadratic here(Device::cpu()), there(test::device());
  Lbfgs on_cpu(Tensor::zeros(here.shape()), settings);
  Lbfgs on_device(Tensor::zeros(here.shape(), Dtype::f32, test::device()), settings);
  const double tolerance =
      c.dtype == Dtype::bf16 ? 5e-3 : 1e-3;  // the last bit of a sum may round a change the other way
  for (int i = 0; i < c.steps; ++i) {
    const LbfgsReport expected = on_cpu.step(std::ref(here)), report = on_device.step(std::ref(there));
    ASSERT_EQ(report.evaluations, expected.evaluations) << i;
    ASSERT_NEAR(report.loss, expected.loss, tolerance * expected.loss) << i;
    ASSERT_NEAR(report.grad_norm, expected.grad_norm, 1e-2 * expected.grad_norm) << i;
  }
  Lbfgs resumed(on_device.parameter().clone(), settings);
  resumed.load_state(on_device.state());
  const LbfgsReport after = on_device.step(std::ref(there)), again = resumed.step(std::ref(there));
  EXPECT_EQ(again.loss, after.loss);
  EXPECT_EQ(again.grad_norm, after.grad_norm);
}

INSTANTIATE_TEST_SUITE_P(Histories, LbfgsOnDevice,
                         ::testing::Values(Case{4, 20, Dtype::f32}, Case{12, 24, Dtype::f32},
                                           Case{12, 24, Dtype::bf16}));

}  // namespace
}  // namespace minidl::optim
