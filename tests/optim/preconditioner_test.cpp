#include <minidl/optim/lbfgs.h>
#include <support/compare.h>
#include <support/objectives.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl::optim {
namespace {

using test::random_integers;
using test::random_uniform;
using test::throws_error;
using test::Vector;

const std::vector<Shape> kShapes = {{1, 1, 1, 3}, {1, 2, 9, 1}, {1, 13, 7, 3}, {2, 5, 1, 4}, {1, 31, 20, 3}};

Tensor preconditioned(const Preconditioner& preconditioner, const Tensor& x) {
  Tensor output = Tensor::empty(x.shape());
  preconditioner.apply(x, 1.0f, output);
  return output;
}

/// Mean over width x width pixels around each, from the definition.
Vector mean_around(const Vector& x, const Shape& shape, int64_t width) {
  const auto [n, h, w, c] = std::tuple(shape[0], shape[1], shape[2], shape[3]);
  const int64_t reach = width / 2;
  Vector mean(x.size(), 0.0);
  for (int64_t i = 0; i < n * h * w * c; ++i) {
    const int64_t channel = i % c, column = i / c % w, row = i / (c * w) % h, picture = i / (c * w * h);
    for (int64_t y = std::max<int64_t>(0, row - reach); y <= std::min(h - 1, row + reach); ++y) {
      for (int64_t z = std::max<int64_t>(0, column - reach); z <= std::min(w - 1, column + reach); ++z) {
        mean[static_cast<size_t>(i)] += x[static_cast<size_t>(((picture * h + y) * w + z) * c + channel)];
      }
    }
    mean[static_cast<size_t>(i)] /= static_cast<double>(width * width);
  }
  return mean;
}

TEST(Smoothing, FollowsTheDefinition) {
  for (const Shape& shape : kShapes) {
    for (const int64_t width : {1, 3, 9}) {
      const Tensor x = random_uniform(shape, 1);
      Vector expected = mean_around(mean_around(test::to_doubles(x), shape, width), shape, width);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] = x.span<float>()[i] + 30 * expected[i];
      EXPECT_LT(test::normalised_error(preconditioned(smoothing(30, width), x), expected), 1e-6)
          << shape.str() << " " << width;
    }
  }
}

TEST(Smoothing, KnowsItsProduct) {
  for (const Shape& shape : kShapes) {
    const Preconditioner preconditioner = smoothing();
    const Tensor x = random_uniform(shape, 4);
    Tensor product = Tensor::empty({1}, Dtype::f64);
    preconditioner.product(x, product);
    const double expected = test::inner_product(x, preconditioned(preconditioner, x));
    EXPECT_NEAR(*product.data<double>(), expected, 1e-12 * expected) << shape.str();
  }
}

TEST(Smoothing, IsSymmetricAndPositiveDefinite) {
  for (const Shape& shape : kShapes) {
    const Preconditioner preconditioner = smoothing();
    const Tensor x = random_uniform(shape, 2), y = random_uniform(shape, 3);
    const double one = test::inner_product(x, preconditioned(preconditioner, y)),
                 other = test::inner_product(y, preconditioned(preconditioner, x));
    EXPECT_NEAR(one, other, 1e-5 * std::sqrt(test::inner_product(x, x) * test::inner_product(y, y)) * 31);
    EXPECT_GE(test::inner_product(x, preconditioned(preconditioner, x)), (1 - 1e-6) * test::inner_product(x, x));
  }
}

TEST(Smoothing, WithoutStrengthIsTheIdentity) {
  const Tensor x = random_integers({1, 12, 11, 3}, 4);
  EXPECT_TRUE(test::equals(preconditioned(smoothing(0), x), x));
  EXPECT_TRUE(test::equals(preconditioned(smoothing(3, 1), x), [&] {
    Tensor fourfold = x.clone();
    for (float& value : fourfold.span<float>()) value *= 4;
    return fourfold;
  }()));
}

TEST(Smoothing, ItsWidthFollowsThePicture) {
  for (const auto& [side, width] : std::vector<std::pair<int64_t, int64_t>>{{1, 3}, {40, 3}, {60, 5}, {250, 21}}) {
    const Tensor x = random_uniform({1, side, 2, 1}, 7);
    EXPECT_TRUE(test::same_bytes(preconditioned(smoothing(30), x), preconditioned(smoothing(30, width), x))) << side;
  }
}

TEST(Smoothing, ThreadsDoNotChangeTheResult) {
  EXPECT_TRUE(test::same_for_all_threads([] {
    return preconditioned(smoothing(), random_uniform({1, 120, 101, 3}, 5));
  }));
}

TEST(Smoothing, RefusesWrongArguments) {
  EXPECT_TRUE(throws_error([] { smoothing(-1); }, "strength is -1"));
  EXPECT_TRUE(throws_error([] { smoothing(1, -3); }, "width is -3"));
  EXPECT_TRUE(throws_error([] { smoothing(1, 4); }, "width is 4"));
  EXPECT_TRUE(throws_error([] { preconditioned(smoothing(), Tensor::zeros({9})); }, "[smoothing] x has shape [9]"));
}

/// A loss of a picture that is steep in fine detail and flat in what neighbours have in common, with its minimum at 5.
double detail_loss(const Shape& shape, const Vector& x, Vector& g) {
  const int64_t w = shape[2] * shape[3], c = shape[3], count = shape.count();
  double loss = 0;
  const auto pull = [&](int64_t i, int64_t j) {
    const double d = x[static_cast<size_t>(i)] - x[static_cast<size_t>(j)];
    loss += 50 * d * d;
    g[static_cast<size_t>(i)] += 100 * d;
    g[static_cast<size_t>(j)] -= 100 * d;
  };
  for (int64_t i = 0; i < count; ++i) {
    if (i % w + c < w) pull(i + c, i);
    if (i + w < count) pull(i + w, i);
    const double d = x[static_cast<size_t>(i)] - 5;
    loss += 0.05 * d * d;
    g[static_cast<size_t>(i)] += 0.1 * d;
  }
  return loss;
}

double loss_after(const LbfgsSettings& settings, int evaluations, double scale = 1, Tensor* result = nullptr) {
  const Shape shape{1, 24, 24, 3};
  Lbfgs lbfgs(random_uniform(shape, 6, 0.0f, 255.0f), settings);
  test::Objective objective([&](const Vector& x, Vector& g) { return detail_loss(shape, x, g); }, scale);
  double loss = 0;
  while (objective.evaluations < evaluations) loss = lbfgs.step(std::ref(objective)).loss;
  if (result) *result = lbfgs.parameter();
  return loss;
}

TEST(Lbfgs, APreconditionerSavesEvaluations) {
  EXPECT_LT(loss_after({.preconditioner = smoothing()}, 30), 0.2 * loss_after({}, 30));
}

TEST(Lbfgs, TheFirstStepHasItsLengthWithAPreconditioner) {
  const Tensor start = random_uniform({1, 24, 24, 3}, 6, 0.0f, 255.0f);
  Lbfgs lbfgs(start.clone(), {.first_step = 2, .preconditioner = smoothing()});
  double squares = 0;
  int evaluations = 0;
  lbfgs.step([&](const Tensor& x, Tensor& gradient) {
    if (++evaluations == 2) {
      for (size_t i = 0; i < start.span<float>().size(); ++i)
        squares += std::pow(x.span<float>()[i] - start.span<float>()[i], 2);
    }
    test::Objective objective([&](const Vector& at, Vector& g) { return detail_loss(start.shape(), at, g); });
    return objective(x, gradient);
  });
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(start.count())), 2, 1e-3);
}

TEST(Lbfgs, APreconditionerKeepsTheScaleOfTheLossOutOfTheResult) {
  Tensor plain, small, large;
  loss_after({.preconditioner = smoothing()}, 20, 1, &plain);
  loss_after({.preconditioner = smoothing()}, 20, 0x1p-32, &small);
  loss_after({.preconditioner = smoothing()}, 20, 0x1p32, &large);
  EXPECT_TRUE(test::same_bytes(plain, small));
  EXPECT_TRUE(test::same_bytes(plain, large));
}

TEST(Lbfgs, ContinuesBitForBitWithAPreconditioner) {
  const Shape shape{1, 24, 24, 3};
  const LbfgsSettings settings{.history = 4, .preconditioner = smoothing()};
  test::Objective objective([&](const Vector& x, Vector& g) { return detail_loss(shape, x, g); });
  Lbfgs lbfgs(random_uniform(shape, 6, 0.0f, 255.0f), settings);
  for (int i = 0; i < 6; ++i) lbfgs.step(std::ref(objective));
  Lbfgs resumed(lbfgs.parameter().clone(), settings);
  resumed.load_state(lbfgs.state());
  for (int i = 0; i < 6; ++i) {
    lbfgs.step(std::ref(objective));
    resumed.step(std::ref(objective));
  }
  EXPECT_TRUE(test::same_bytes(lbfgs.parameter(), resumed.parameter()));
}

}  // namespace
}  // namespace minidl::optim
