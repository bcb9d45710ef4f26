#include <minidl/core/variable.h>
#include <support/compare.h>

namespace minidl {
namespace {

using test::throws_error;

TEST(Variable, AnUndefinedOneThrowsWhenUsed) {
  const Variable x;
  EXPECT_FALSE(x);
  EXPECT_TRUE(throws_error([&] { x.value(); }, "undefined variable"));
  EXPECT_TRUE(throws_error([&] { x.requires_grad(); }, "undefined variable"));
}

TEST(Variable, ACopyIsAHandle) {
  const Variable x(Tensor::zeros({2}), true);
  Variable y = x;
  EXPECT_TRUE(y.same_as(x));
  y.mutable_value().fill(3);
  y.mutable_grad() = Tensor::full({2}, 4);
  EXPECT_EQ(x.value().span<float>()[1], 3.0f);
  EXPECT_EQ(x.grad().span<float>()[1], 4.0f);
  EXPECT_FALSE(Variable(x.value(), true).same_as(x));
}

TEST(Variable, ALeafCollectsAGradientOnlyWhenItRequiresOne) {
  Variable constant(Tensor::zeros({2, 3}));
  EXPECT_FALSE(constant.requires_grad());
  EXPECT_EQ(constant.slot(), nullptr);
  EXPECT_FALSE(constant.grad());
  EXPECT_TRUE(throws_error([&] { constant.mutable_grad(); }, "[2,3] does not require one"));
  constant.zero_grad();

  Variable leaf(Tensor::zeros({2, 3}), true);
  EXPECT_TRUE(leaf.requires_grad());
  EXPECT_EQ(leaf.slot()->shape, (Shape{2, 3}));
  EXPECT_FALSE(leaf.grad());
  leaf.mutable_grad() = Tensor::zeros({2, 3});
  EXPECT_TRUE(leaf.grad());
  leaf.zero_grad();
  EXPECT_FALSE(leaf.grad());
  EXPECT_TRUE(leaf.requires_grad());
}

TEST(Variable, SwitchingRequiresGradOffDropsTheGradient) {
  Variable x(Tensor::zeros({2}), true);
  x.mutable_grad() = Tensor::zeros({2});
  x.set_requires_grad(true);
  EXPECT_TRUE(x.grad());
  x.set_requires_grad(false);
  EXPECT_FALSE(x.requires_grad());
  EXPECT_FALSE(x.grad());
  x.mutable_value() = Tensor::zeros({5});
  x.set_requires_grad(true);
  EXPECT_EQ(x.slot()->shape, (Shape{5}));
}

TEST(Variable, HasTheShapeOfItsValue) {
  EXPECT_EQ(Variable(Tensor::zeros({4, 5})).shape(), (Shape{4, 5}));
}

}  // namespace
}  // namespace minidl
