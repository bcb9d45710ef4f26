// Norm and clipping of gradients.
#include <minidl/optim/clip.h>
#include <support/compare.h>

namespace minidl::optim {
namespace {

Variable with_gradient(std::vector<float> values) {
  Variable variable(Tensor::zeros({static_cast<int64_t>(values.size())}), true);
  variable.mutable_grad() = Tensor::from(values, variable.shape());
  return variable;
}

TEST(Clip, NormIsThatOfAllTogether) {
  const std::vector<Variable> parameters{with_gradient({3.0f, 0.0f}), Variable(Tensor::zeros({4}), true),
                                         with_gradient({-4.0f, 12.0f})};
  EXPECT_DOUBLE_EQ(gradient_norm(parameters), 13.0);
  EXPECT_EQ(gradient_norm({}), 0.0);
}

TEST(Clip, ShortensOnlyWhatIsTooLong) {
  const std::vector<Variable> parameters{with_gradient({3.0f}), Variable(Tensor::zeros({4}), true),
                                         with_gradient({-4.0f})};
  for (const double longest : {0.0, 5.0, 7.0}) {
    clip_gradients(parameters, 5.0, longest);
    EXPECT_EQ(parameters[0].grad().item(), 3.0f) << longest;
  }
  clip_gradients(parameters, 5.0, 2.5);
  EXPECT_EQ(parameters[0].grad().item(), 1.5f);
  EXPECT_EQ(parameters[2].grad().item(), -2.0f);
  EXPECT_FALSE(parameters[1].grad());
}

}  // namespace
}  // namespace minidl::optim
