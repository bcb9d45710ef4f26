#include <minidl/kernels/adam_update.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::equals;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

TEST(AdamUpdate, FollowsTheDefinitionForManySteps) {
  for (const Shape& shape : {Shape{0}, Shape{1}, Shape{3, 3, 3}, Shape{2, 16400}}) {
    const float eps = shape.count() == 27 ? 0.3f : 1e-8f;
    const AdamSettings settings{0.01f, 0.9f, 0.999f, eps, 0.1f};
    Tensor x = random_uniform(shape, 1), m = Tensor::zeros(shape), v = Tensor::zeros(shape);
    std::vector<double> exact_x = test::to_doubles(x), exact_m(exact_x.size()), exact_v(exact_x.size());
    for (int64_t step = 1; step <= 7; ++step) {
      const Tensor grad = random_uniform(shape, 100 + static_cast<uint64_t>(step));
      ON_DEVICE(adam_update)(settings, step, grad, m, v, x);
      for (size_t i = 0; i < exact_x.size(); ++i) {
        const double g = grad.span<float>()[i] + double{settings.weight_decay} * exact_x[i];
        exact_m[i] = double{settings.beta1} * exact_m[i] + (1.0 - double{settings.beta1}) * g;
        exact_v[i] = double{settings.beta2} * exact_v[i] + (1.0 - double{settings.beta2}) * g * g;
        const double m_hat = exact_m[i] / (1.0 - std::pow(double{settings.beta1}, step));
        const double v_hat = exact_v[i] / (1.0 - std::pow(double{settings.beta2}, step));
        exact_x[i] -= double{settings.lr} * m_hat / (std::sqrt(v_hat) + double{settings.eps});
      }
    }
    EXPECT_LT(test::normalised_error(x, exact_x), 1e-6) << shape.str();
    EXPECT_LT(test::normalised_error(m, exact_m), 1e-6) << shape.str();
    EXPECT_LT(test::normalised_error(v, exact_v), 1e-6) << shape.str();
  }
}

TEST(AdamUpdate, FirstStepIsTheSignOfTheGradient) {
  Tensor x = Tensor::zeros({3}), m = Tensor::zeros({3}), v = Tensor::zeros({3});
  ON_DEVICE(adam_update)
  (AdamSettings{.lr = 0.5f}, 1, Tensor::from(std::vector<float>{1e-3f, -7.0f, 0.0f}, {3}), m, v, x);
  EXPECT_NEAR(x.span<float>()[0], -0.5f, 1e-5f);
  EXPECT_NEAR(x.span<float>()[1], 0.5f, 1e-6f);
  EXPECT_EQ(x.span<float>()[2], 0.0f);
}

TEST(AdamUpdate, ManyAtOnceAreEachByItself) {
  const AdamSettings settings{.lr = 0.1f, .weight_decay = 0.01f};
  for (const size_t parameters : {0u, 1u, 2u, 64u, 65u, 130u}) {
    std::vector<AdamTensors> together, apart;
    for (uint64_t i = 0; i < parameters; ++i) {
      const Shape shape{static_cast<int64_t>(i % 7 == 3 ? 0 : 1 + i * 37 % 300)};  // some empty, some of two blocks
      const AdamTensors one{static_cast<int64_t>(1 + i % 3), random_uniform(shape, 4 * i),
                            random_uniform(shape, 4 * i + 1), random_uniform(shape, 4 * i + 2, 0.0f, 1.0f),
                            random_uniform(shape, 4 * i + 3)};
      together.push_back({one.step, test::copy_on_device(one.grad.clone()), test::copy_on_device(one.first_moment.clone()),
                          test::copy_on_device(one.second_moment.clone()), test::copy_on_device(one.parameter.clone())});
      apart.push_back(one);
    }
    adam_update(settings, together);
    for (size_t i = 0; i < parameters; ++i) {
      AdamTensors& one = apart[i];
      ON_DEVICE(adam_update)(settings, one.step, one.grad, one.first_moment, one.second_moment, one.parameter);
      const auto same = [&](const Tensor& a, const Tensor& b) { return test::same_bytes(a.to(Device::cpu()), b); };
      EXPECT_TRUE(same(together[i].first_moment, one.first_moment)) << parameters << " " << i;
      EXPECT_TRUE(same(together[i].second_moment, one.second_moment)) << parameters << " " << i;
      EXPECT_TRUE(same(together[i].parameter, one.parameter)) << parameters << " " << i;
    }
  }
}

TEST(AdamUpdate, LateStepsStayFinite) {
  Tensor x = Tensor::zeros({2}), m = Tensor::zeros({2}), v = Tensor::zeros({2});
  const int64_t step = int64_t{1} << 40;
  ON_DEVICE(adam_update)(AdamSettings{.lr = 1.0f}, step, Tensor::from(std::vector<float>{2.0f, 0.0f}, {2}), m, v, x);
  EXPECT_NEAR(x.span<float>()[0], -0.1 / std::sqrt(0.001), 1e-4);  // no bias correction is left
  EXPECT_EQ(x.span<float>()[1], 0.0f);
}

TEST(SgdUpdate, IsExactOnIntegers) {
  for (const Shape& shape : {Shape{0}, Shape{1}, Shape{5, 33}, Shape{16390}}) {
    Tensor x = random_integers(shape, 2), velocity = Tensor::zeros(shape);
    std::vector<double> exact_x = test::to_doubles(x), exact_velocity(exact_x.size());
    for (uint64_t step = 0; step < 3; ++step) {
      const Tensor grad = random_integers(shape, 200 + step);
      ON_DEVICE(sgd_update)(0.25f, 0.5f, 2.0f, grad, velocity, x);
      for (size_t i = 0; i < exact_x.size(); ++i) {
        exact_velocity[i] = 0.5 * exact_velocity[i] + grad.span<float>()[i] + 2.0 * exact_x[i];
        exact_x[i] -= 0.25 * exact_velocity[i];
      }
    }
    EXPECT_TRUE(equals(x, exact_x));
    EXPECT_TRUE(equals(velocity, exact_velocity));
  }
}

TEST(AdamUpdate, BytesDoNotDependOnThreads) {
  const Tensor grad = random_uniform({50021}, 3);
  EXPECT_TRUE(test::same_for_all_threads([&] {
    Tensor x = random_uniform({50021}, 4), m = Tensor::zeros({50021}), v = Tensor::zeros({50021});
    ON_DEVICE(adam_update)(AdamSettings{}, 1, grad, m, v, x);
    ON_DEVICE(sgd_update)(0.1f, 0.9f, 0.0f, grad, m, x);
    return x;
  }));
}

TEST(AdamUpdate, BadArgumentsAreNamed) {
  const Tensor grad = Tensor::zeros({4}), wrong = Tensor::zeros({5});
  Tensor m = Tensor::zeros({4}), v = Tensor::zeros({4}), x = Tensor::zeros({4}), other = Tensor::zeros({2, 2}),
         undefined;
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{}, 0, grad, m, v, x);
      },
      "[adam] step is 0, it counts from 1"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{}, 1, wrong, m, v, x);
      },
      "[adam] grad has shape [5], it must be [4]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{}, 1, grad, other, v, x);
      },
      "[adam] first_moment"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{}, 1, grad, m, other, x);
      },
      "[adam] second_moment"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{}, 1, grad, m, v, undefined);
      },
      "[adam] parameter is undefined"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{.beta1 = 1.0f}, 1, grad, m, v, x);
      },
      "[adam] beta1 1"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{.beta2 = -0.5f}, 1, grad, m, v, x);
      },
      "beta2 -0.5"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(adam_update)
        (AdamSettings{.eps = 0.0f}, 1, grad, m, v, x);
      },
      "[adam] eps is 0, it must be positive"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(sgd_update)(0.1f, 0.0f, 0.0f, wrong, m, x); }, "[sgd] grad"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(sgd_update)(0.1f, 0.0f, 0.0f, grad, other, x); }, "[sgd] velocity"));
}

}  // namespace
}  // namespace minidl
