#include <minidl/layers/ops.h>
#include <support/compare.h>
#include <support/random_tensors.h>

namespace minidl {
namespace {

using test::normalised_error;
using test::random_uniform;
using test::same_bytes;
using test::throws_error;

/// F Fᵀ of one picture of [n,h,w,c], not divided, in f64.
std::vector<double> gram_of(const Tensor& features, int64_t picture) {
  const Shape& shape = features.shape();
  const int64_t positions = shape[1] * shape[2], c = shape[3];
  const float* f = features.data<float>() + picture * positions * c;
  std::vector<double> gram(static_cast<size_t>(c * c));
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j < c; ++j) {
        gram[static_cast<size_t>(i * c + j)] += static_cast<double>(f[p * c + i]) * static_cast<double>(f[p * c + j]);
      }
    }
  }
  return gram;
}

/// 1 / (4 c^2) * || G / M - A / M_style ||^2 for one picture against the first picture of `style`.
double style_loss_of(const Tensor& features, int64_t picture, const Tensor& style) {
  const double m = static_cast<double>(features.shape()[1] * features.shape()[2]);
  const double m_style = static_cast<double>(style.shape()[1] * style.shape()[2]);
  const std::vector<double> g = gram_of(features, picture), a = gram_of(style, 0);
  double sum = 0.0;
  for (size_t i = 0; i < g.size(); ++i) sum += (g[i] / m - a[i] / m_style) * (g[i] / m - a[i] / m_style);
  return sum / (4.0 * static_cast<double>(g.size()));
}

double value_of(const Variable& loss) {
  EXPECT_EQ(loss.shape(), Shape{});
  return loss.value().item();
}

/// Gradient of loss(x) for x.
Tensor gradient(const Tensor& x, const std::function<Variable(const Variable&)>& loss, float seed = 1.0f) {
  const Variable variable(x, true);
  Tape tape;
  const TapeScope recording(tape);
  tape.backward(loss(variable), seed);
  return variable.grad();
}

const Tensor kFeatures = random_uniform({2, 5, 7, 6}, 1, 0.0f, 3.0f);
const Tensor kStyle = random_uniform({1, 9, 4, 6}, 2, 0.0f, 3.0f);

TEST(ContentLoss, IsHalfTheSquaredDistance) {
  const Tensor target = random_uniform(kFeatures.shape(), 3);
  double expected = 0.0;
  for (size_t i = 0; i < target.span<float>().size(); ++i) {
    const double difference =
        static_cast<double>(kFeatures.span<float>()[i]) - static_cast<double>(target.span<float>()[i]);
    expected += 0.5 * difference * difference;
  }
  EXPECT_NEAR(value_of(ops::content_loss(Variable(kFeatures), target)), expected, 1e-6 * expected);
  EXPECT_NEAR(value_of(ops::content_loss(Variable(kFeatures), target, 0.25f)), 0.25 * expected, 1e-6 * expected);
  EXPECT_EQ(value_of(ops::content_loss(Variable(target), target)), 0.0);
  EXPECT_TRUE(throws_error([&] { ops::content_loss(Variable(kFeatures), kStyle); },
                           "[content_loss] features [2,5,7,6] and target [1,9,4,6]"));
}

TEST(StyleLoss, DividesEachGramByItsOwnPositionsAndAveragesTheBatch) {
  const double expected = 0.5 * (style_loss_of(kFeatures, 0, kStyle) + style_loss_of(kFeatures, 1, kStyle));
  const Tensor target = ops::gram_per_position(kStyle);
  ASSERT_EQ(target.shape(), Shape({1, 6, 6}));
  EXPECT_NEAR(value_of(ops::style_loss(Variable(kFeatures), target)), expected, 1e-5 * expected);
  EXPECT_NEAR(value_of(ops::style_loss(Variable(kFeatures), target, 8.0f)), 8.0 * expected, 8e-5 * expected);
  EXPECT_EQ(value_of(ops::style_loss(Variable(kStyle), target)), 0.0);
}

TEST(StyleLoss, IsThePapersFormulaForPicturesOfOneSize) {
  const Tensor style = random_uniform({1, 5, 7, 6}, 4, 0.0f, 3.0f);
  const std::vector<double> g = gram_of(kFeatures, 0), a = gram_of(style, 0);
  double expected = 0.0;
  for (size_t i = 0; i < g.size(); ++i) expected += (g[i] - a[i]) * (g[i] - a[i]);
  expected /= 4.0 * 36.0 * 35.0 * 35.0;  // 4 N^2 M^2
  const Variable first(kFeatures.slice(0, 1));
  EXPECT_NEAR(value_of(ops::style_loss(first, ops::gram_per_position(style))), expected, 1e-5 * expected);
}

TEST(StyleLoss, TakesATargetForEachPicture) {
  const Tensor styles = random_uniform({2, 3, 3, 6}, 5, 0.0f, 3.0f);
  const double expected = 0.5 * (style_loss_of(kFeatures, 0, styles.slice(0, 1).clone()) +
                                 style_loss_of(kFeatures, 1, styles.slice(1, 2).clone()));
  const Variable loss = ops::style_loss(Variable(kFeatures), ops::gram_per_position(styles));
  EXPECT_NEAR(value_of(loss), expected, 1e-5 * expected);
  EXPECT_TRUE(throws_error(
      [&] {
        ops::style_loss(Variable(kFeatures), Tensor::zeros({1, 5, 5}));
      },
      "target [1,5,5] does not fit features [2,5,7,6]: it must be [1,6,6] or [2,6,6]"));
  EXPECT_TRUE(throws_error([] { ops::gram_per_position(Tensor::zeros({3, 3})); }, "[gram] features [3,3]"));
}

/// Style terms are deferred, others are not: in every order the gradient is the sum of the single ones.
TEST(StyleLoss, ItsGradientDoesNotDependOnTheWeightThatWasNamed) {
  const Tensor target = ops::gram_per_position(kStyle);
  const auto with = [&](float named, float factor) {
    return gradient(kFeatures, [&](const Variable& x) { return factor * ops::style_loss(x, target, 2.0f, named); });
  };
  const std::vector<double> expected = test::to_doubles(with(1.0f, 5.0f));
  for (const float named : {5.0f, 3.0f, -2.0f}) {
    EXPECT_LT(test::normalised_error(with(named, 5.0f), expected), 1e-6) << named;
  }
  EXPECT_TRUE(throws_error([&] { ops::style_loss(Variable(kFeatures), target, 1.0f, 0.0f); }, "weight is 0"));
}

TEST(StyleLoss, OfSeveralLayersAreThoseOfEach) {
  const Tensor other = random_uniform({2, 3, 4, 5}, 8);
  const std::vector<Tensor> targets = {ops::gram_per_position(kStyle),
                                       ops::gram_per_position(random_uniform({2, 6, 2, 5}, 9))};
  const Variable first(kFeatures, true), second(other, true), first_again(kFeatures, true), second_again(other, true);
  std::vector<float> together, apart;
  {
    Tape tape;
    const TapeScope recording(tape);
    const std::vector<ops::StyleTerm> terms = {{first, targets[0], 2.0f, 3.0f}, {second, targets[1]}};
    const std::vector<Variable> losses = ops::style_losses(terms);
    ASSERT_EQ(losses.size(), 2u);
    for (const Variable& loss : losses) together.push_back(loss.value().item());
    tape.backward(3.0f * losses[0] + losses[1]);
  }
  {
    Tape tape;
    const TapeScope recording(tape);
    const Variable a = ops::style_loss(first_again, targets[0], 2.0f, 3.0f),
                   b = ops::style_loss(second_again, targets[1]);
    for (const Variable& loss : {a, b}) apart.push_back(loss.value().item());
    tape.backward(3.0f * a + b);
  }
  EXPECT_EQ(together, apart);
  EXPECT_TRUE(same_bytes(first.grad(), first_again.grad()));
  EXPECT_TRUE(same_bytes(second.grad(), second_again.grad()));
  EXPECT_TRUE(ops::style_losses({}).empty());
  const std::vector<ops::StyleTerm> wrong = {{first, targets[0]}, {second, targets[0]}};
  EXPECT_TRUE(throws_error([&] { ops::style_losses(wrong); }, "target [1,6,6] does not fit features [2,3,4,5]"));
}

TEST(StyleLoss, AddsUpWithOtherTermsInAnyOrder) {
  const Tensor target = ops::gram_per_position(kStyle), content = random_uniform(kFeatures.shape(), 6);
  using Loss = std::function<Variable(const Variable&)>;
  const Loss style = [&](const Variable& x) { return ops::style_loss(x, target, 100.0f); };
  const Loss distance = [&](const Variable& x) { return ops::content_loss(x, content); };
  for (const bool behind_relu : {false, true}) {
    const auto input = [=](const Variable& x) { return behind_relu ? ops::relu(x) : x; };
    const Tensor x = random_uniform(kFeatures.shape(), 7, -1.0f, 2.0f);
    std::vector<double> expected = test::to_doubles(gradient(x, [&](const Variable& v) { return style(input(v)); }));
    const Tensor other = gradient(x, [&](const Variable& v) { return distance(input(v)); });
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] = 2.0 * expected[i] + static_cast<double>(other.span<float>()[i]);
    const auto error_of = [&](const std::function<Variable(const Variable&)>& loss) {
      return normalised_error(gradient(x, [&](const Variable& v) { return loss(input(v)); }), expected);
    };
    EXPECT_LT(error_of([&](const Variable& v) { return style(v) + distance(v) + style(v); }), 1e-6);
    EXPECT_LT(error_of([&](const Variable& v) { return distance(v) + 2.0f * style(v); }), 1e-6);
    EXPECT_LT(error_of([&](const Variable& v) { return 2.0f * style(v) + distance(v); }), 1e-6);
  }
}

TEST(TotalVariation, CountsEveryPairOrOnlyTheInterior) {
  // 1 4 9    differences right 3 5 | 7 0 (squares 9 25 49 0), down 1 5 0 (1 25 0)
  // 2 9 9
  const Variable x(Tensor::from(std::vector<float>{1, 4, 9, 2, 9, 9}, {1, 2, 3, 1}));
  EXPECT_EQ(value_of(ops::total_variation(x)), 9 + 25 + 49 + 1 + 25);
  EXPECT_EQ(value_of(ops::total_variation(x, 2.0f)), 2.0 * 109);
  // Both differences at the 1 x 2 pixels that have a right and a lower neighbour, halved.
  EXPECT_EQ(value_of(ops::total_variation(x, 1.0f, ops::TotalVariationKind::interior)), 0.5 * (9 + 1 + 25 + 25));
}

TEST(Losses, ScalarsCombine) {
  const Variable x(Tensor::from(std::vector<float>{1, 2, 3, 6}, {2, 2}));
  EXPECT_EQ(value_of(ops::sum(x)), 12.0);
  EXPECT_EQ(value_of(ops::mean(x)), 3.0);
  EXPECT_EQ(value_of(2.0f * ops::sum(x) - ops::mean(x) + ops::sum(x)), 33.0);
  EXPECT_TRUE(throws_error([] { ops::mean(Variable(Tensor::zeros({0, 3}))); }, "[mean] [0,3] has no elements"));
}

TEST(Losses, TheSeedScalesEveryTerm) {
  const Tensor target = ops::gram_per_position(kStyle);
  const auto loss = [&](const Variable& x) {
    return ops::style_loss(x, target) + ops::total_variation(x, 0.5f) + ops::mean(x) +
           ops::content_loss(x, Tensor::zeros(x.shape()));
  };
  Tensor doubled = gradient(kFeatures, loss).clone();
  for (float& value : doubled.span<float>()) value *= 2.0f;
  EXPECT_TRUE(same_bytes(gradient(kFeatures, loss, 2.0f), doubled));
}

TEST(Losses, NotANumberIsSeen) {
  Tensor broken = kFeatures.clone();
  broken.span<float>()[17] = NAN;
  const Variable x(broken);
  EXPECT_TRUE(std::isnan(value_of(ops::content_loss(x, kFeatures))));
  EXPECT_TRUE(std::isnan(value_of(ops::style_loss(x, ops::gram_per_position(kStyle)))));
  EXPECT_TRUE(std::isnan(value_of(ops::total_variation(x))));
}

/// Features of a convolution: the losses' gradients, with and without computing them anew.
TEST(Losses, FeaturesThatAreComputedAnewGiveTheSameBytes) {
  const Tensor x = random_uniform({1, 150, 64, 3}, 10, 0.0f, 3.0f);  // rows of 16 KiB: two parts
  const Variable weight(random_uniform({64, 3, 3, 3}, 11)), bias(random_uniform({64}, 12));
  const Window window{1, 1, Padding::zero(1)};
  const Tensor target = random_uniform({1, 150, 64, 64}, 13, 0.0f, 3.0f);
  const Tensor gram = ops::gram_per_position(target);
  const auto gradient_of_losses = [&](bool anew) {
    return gradient(x, [&](const Variable& input) {
      Variable features = ops::conv2d(input, weight, bias, window, Activation::relu);
      if (anew) features.set_recompute(ops::recompute_conv2d(input, weight, bias, window, Activation::relu));
      return ops::content_loss(features, target) + ops::style_loss(features, gram, 100.0f);
    });
  };
  EXPECT_TRUE(same_bytes(gradient_of_losses(true), gradient_of_losses(false)));
}

TEST(Losses, FeaturesThatAreComputedAnewFromAnOverwrittenInputAreRefused) {
  Tensor x = random_uniform({1, 8, 8, 3}, 10);
  const Variable input(x, true), weight(random_uniform({4, 3, 3, 3}, 11));
  Tape tape;
  const TapeScope recording(tape);
  Variable features = ops::conv2d(input, weight, {}, {});
  features.set_recompute(ops::recompute_conv2d(input, weight, {}, {}));
  const Variable loss = ops::content_loss(features, Tensor::zeros(features.shape()));
  x.fill(0.0f);
  EXPECT_TRUE(throws_error([&] { tape.backward(loss); }, "was overwritten"));
}

}  // namespace
}  // namespace minidl
