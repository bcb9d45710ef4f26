#include <minidl/kernels/execution.h>
#include <minidl/kernels/gram.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::equals;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

/// Positions around the block of 2048, channels around the widths of vectors and panels.
const std::vector<Shape> kShapes = {{1, 1, 1, 1},    {1, 5, 7, 3},   {3, 4, 3, 4},   {1, 1, 64, 33}, {1, 64, 64, 5},
                                    {2, 45, 46, 16}, {1, 3, 5, 130}, {1, 9, 7, 300}, {2, 0, 3, 4},   {1, 91, 97, 31}};

std::vector<double> reference(const Tensor& features, double scale) {
  const Shape& shape = features.shape();
  const int64_t positions = shape[1] * shape[2], c = shape[3];
  std::vector<double> gram(static_cast<size_t>(shape[0] * c * c));
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t p = 0; p < positions; ++p) {
      const auto row =
          features.span<float>().subspan(static_cast<size_t>((n * positions + p) * c), static_cast<size_t>(c));
      for (int64_t i = 0; i < c; ++i) {
        for (int64_t j = 0; j < c; ++j) gram[static_cast<size_t>((n * c + i) * c + j)] += scale * row[i] * row[j];
      }
    }
  }
  return gram;
}

std::vector<double> backward_reference(const Tensor& features, const Tensor& grad_gram, double scale) {
  const Shape& shape = features.shape();
  const int64_t positions = shape[1] * shape[2], c = shape[3];
  std::vector<double> grad(static_cast<size_t>(features.count()));
  for (int64_t n = 0; n < shape[0]; ++n) {
    const auto s = grad_gram.span<float>().subspan(static_cast<size_t>(n * c * c));
    for (int64_t p = n * positions; p < (n + 1) * positions; ++p) {
      for (int64_t i = 0; i < c; ++i) {
        for (int64_t j = 0; j < c; ++j) {
          grad[static_cast<size_t>(p * c + i)] +=
              scale * (double{s[i * c + j]} + double{s[j * c + i]}) * features.span<float>()[p * c + j];
        }
      }
    }
  }
  return grad;
}

Tensor gram_of(const Tensor& features, float scale) {
  const Shape& shape = features.shape();
  Tensor gram = Tensor::full({shape[0], shape[3], shape[3]}, NAN);
  ON_DEVICE(gram_forward)(features, scale, gram);
  return gram;
}

Tensor gram_like(const Shape& shape, uint64_t seed) {
  return random_integers({shape[0], shape[3], shape[3]}, seed, -2, 2);
}

TEST(Gram, IsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    const Tensor features = random_integers(shape, 1);
    EXPECT_TRUE(equals(gram_of(features, 0.5f), reference(features, 0.5))) << shape.str();
  }
}

TEST(Gram, BackwardIsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    const Tensor features = random_integers(shape, 2), grad_gram = gram_like(shape, 3);  // not symmetric
    Tensor grad = Tensor::full(shape, NAN);
    ON_DEVICE(gram_backward)(features, grad_gram, 0.25f, Accumulate{}, grad);
    EXPECT_TRUE(equals(grad, backward_reference(features, grad_gram, 0.25))) << shape.str();
  }
}

/// What is taken off is one matrix for each picture, or one for all.
void expect_differences(const Shape& shape) {
  for (const int64_t targets : {shape[0], int64_t{1}}) {
    const Tensor features = random_integers(shape, 16, -2, 2), target = gram_like({targets, 0, 0, shape[3]}, 17);
    std::vector<double> expected = reference(features, 0.5);
    double squares = 0.0;
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] -= target.span<float>()[i % static_cast<size_t>(target.count())];
      squares += expected[i] * expected[i];
      expected[i] *= -0.25;
    }
    Tensor difference = Tensor::full({shape[0], shape[3], shape[3]}, NAN);
    double sum = 0.0;
    const auto run = [&](const Tensor& f, float scale, const Tensor& t, Tensor& d) {
      sum = gram_difference(f, scale, t, -0.25f, d).get();
    };
    test::OnDevice{run}(features, 0.5f, target, difference);
    EXPECT_TRUE(equals(difference, expected)) << shape.str() << " " << targets;
    EXPECT_EQ(sum, squares) << shape.str() << " " << targets;
  }
}

TEST(Gram, DifferenceIsExactOnIntegers) {
  for (const Shape& shape : kShapes) expect_differences(shape);
  expect_differences({1, 2, 2, 725});  // more tiles than a block has threads
}

/// Layers of different sizes, one of more pictures than a launch has matrices, and one without any.
TEST(Gram, DifferencesOfSeveralLayersAreThoseOfEach) {
  const std::vector<Shape> shapes = {{2, 3, 5, 33}, {40, 2, 3, 5}, {0, 4, 4, 3}, {1, 7, 1, 64}, {27, 1, 2, 1}};
  std::vector<Tensor> features, targets, together, apart;
  std::vector<double> squares, expected;
  for (const Shape& shape : shapes) {
    features.push_back(test::copy_on_device(random_uniform(shape, 20 + features.size())));
    targets.push_back(test::copy_on_device(random_uniform({1, shape[3], shape[3]}, 30 + features.size())));
    for (std::vector<Tensor>* differences : {&together, &apart})
      differences->push_back(test::copy_on_device(Tensor::full({shape[0], shape[3], shape[3]}, NAN)));
  }
  std::vector<GramDifference> terms;
  for (size_t i = 0; i < shapes.size(); ++i) {
    terms.push_back({features[i], 0.5f, targets[i], -0.25f, together[i]});
    expected.push_back(gram_difference(features[i], 0.5f, targets[i], -0.25f, apart[i]).get());
  }
  for (const Number& number : gram_differences(terms)) squares.push_back(number.get());
  EXPECT_EQ(squares.size(), shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    EXPECT_TRUE(test::same_bytes(together[i].to(Device::cpu()), apart[i].to(Device::cpu()))) << i;
    EXPECT_NEAR(squares[i], expected[i], 1e-12 * expected[i]) << i;
  }
  EXPECT_TRUE(gram_differences({}).empty());
}

TEST(Gram, BackwardOfSymmetricIsHalfOfThatOfAny) {
  for (const Shape& shape : kShapes) {
    const Tensor features = random_integers(shape, 18), symmetric = gram_of(random_integers(shape, 19, -1, 1), 1.0f);
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(gram_backward_symmetric)(features, symmetric, 0.25f, how, grad);
    })) << shape.str();
    Tensor grad = Tensor::full(shape, NAN), twice = grad.clone();
    ON_DEVICE(gram_backward_symmetric)(features, symmetric, 0.5f, Accumulate{}, grad);
    ON_DEVICE(gram_backward)(features, symmetric, 0.25f, Accumulate{}, twice);
    EXPECT_TRUE(equals(grad, twice)) << shape.str();
  }
}

TEST(Gram, BackwardAccumulatesAndMasks) {
  for (const Shape& shape : kShapes) {
    const Tensor features = random_integers(shape, 4), grad_gram = gram_like(shape, 5);
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(gram_backward)(features, grad_gram, 0.5f, how, grad);
    }));
  }
}

TEST(Gram, IsSymmetricToTheLastBitAndAccurate) {
  for (const Shape& shape : {Shape{2, 83, 79, 20}, Shape{1, 40, 60, 140}}) {
    const Tensor features = random_uniform(shape, 6, 0.0f, 30.0f);
    const Tensor gram = gram_of(features, 1e-3f);
    EXPECT_LT(test::normalised_error(gram, reference(features, 1e-3f)), 1e-6) << shape.str();
    const int64_t c = shape[3];
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j < i; ++j)
        ASSERT_EQ(gram.span<float>()[i * c + j], gram.span<float>()[j * c + i]) << i << ", " << j;
    }
    const Tensor grad_gram = random_uniform(gram.shape(), 7);
    Tensor grad = Tensor::full(shape, NAN);
    ON_DEVICE(gram_backward)(features, grad_gram, 1e-3f, Accumulate{}, grad);
    EXPECT_LT(test::normalised_error(grad, backward_reference(features, grad_gram, 1e-3f)), 1e-6) << shape.str();
  }
}

/// The derivative of <S, gram(F)> in direction D is <ON_DEVICE(gram_backward)(F, S), D>; the gram of F + D is quadratic
/// in D, so the central difference is exact.
TEST(Gram, BackwardIsTheDerivative) {
  const Shape shape{2, 6, 5, 7};
  const Tensor features = random_integers(shape, 8), direction = random_integers(shape, 9),
               grad_gram = gram_like(shape, 10);
  const auto moved = [&](float step) {
    Tensor x = features.clone();
    for (int64_t i = 0; i < x.count(); ++i) x.data<float>()[i] += step * direction.span<float>()[i];
    return test::inner_product(grad_gram, gram_of(x, 2.0f));
  };
  Tensor grad = Tensor::full(shape, NAN);
  ON_DEVICE(gram_backward)(features, grad_gram, 2.0f, Accumulate{}, grad);
  EXPECT_EQ(test::inner_product(grad, direction), (moved(1.0f) - moved(-1.0f)) / 2.0);
}

TEST(Gram, BytesDoNotDependOnThreads) {
  for (const Shape& shape : {Shape{2, 71, 73, 24}, Shape{1, 50, 50, 132}}) {
    const Tensor features = random_uniform(shape, 11);
    const Tensor gram = gram_of(features, 0.1f);
    EXPECT_TRUE(test::same_for_all_threads([&] { return gram_of(features, 0.1f); }));
    const BitMask mask = test::positive(features);
    EXPECT_TRUE(test::same_for_all_threads([&] {
      Tensor grad = Tensor::full(shape, 1.0f);
      ON_DEVICE(gram_backward)(features, gram, 0.1f, Accumulate{0.5f, &mask}, grad);
      return grad;
    }));
  }
}

/// Below fp32 processors with AMX compute on tiles, with 16 bits of each number, CUDA devices on tensor cores, with the
/// 11 of TF32.
class GramBelowFp32 : public testing::Test {
 protected:
  void SetUp() override { execution::set_precision(Precision::tf32); }
  void TearDown() override { execution::set_precision(Precision::fp32); }
};

TEST_F(GramBelowFp32, IsExactOnIntegers) {
  for (const Shape& shape : kShapes) {
    const Tensor features = random_integers(shape, 12), grad_gram = gram_like(shape, 13);
    EXPECT_TRUE(equals(gram_of(features, 0.5f), reference(features, 0.5))) << shape.str();
    expect_differences(shape);
    Tensor grad = Tensor::full(shape, NAN);
    ON_DEVICE(gram_backward)(features, grad_gram, 0.25f, Accumulate{}, grad);
    EXPECT_TRUE(equals(grad, backward_reference(features, grad_gram, 0.25))) << shape.str();
    EXPECT_TRUE(test::accumulates(shape, [&](const Accumulate& how, Tensor& sum) {
      ON_DEVICE(gram_backward)(features, grad_gram, 0.5f, how, sum);
    })) << shape.str();
  }
}

TEST_F(GramBelowFp32, IsOfItsGradeForAllThreads) {
  const Shape shape{2, 40, 60, 140};
  const Tensor features = random_uniform(shape, 14, 0.0f, 30.0f), grad_gram = random_uniform({2, 140, 140}, 15);
  const double bound = test::on_cpu() ? 5e-5 : 1e-3;
  EXPECT_LT(test::normalised_error(gram_of(features, 1e-3f), reference(features, 1e-3f)), bound);
  const auto backward = [&] {
    Tensor grad = Tensor::full(shape, NAN);
    ON_DEVICE(gram_backward)(features, grad_gram, 1e-3f, Accumulate{}, grad);
    return grad;
  };
  EXPECT_LT(test::normalised_error(backward(), backward_reference(features, grad_gram, 1e-3f)), bound);
  EXPECT_TRUE(test::same_for_all_threads(backward));
  EXPECT_TRUE(test::same_for_all_threads([&] { return gram_of(features, 0.1f); }));
}

TEST(Gram, ADeviceTakesSoManyGradients) {
  if (test::on_cpu()) GTEST_SKIP() << "the CPU takes any number";
  const Shape many{65536, 1, 1, 1};
  Tensor grad = Tensor::zeros(many);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(gram_backward)(Tensor::zeros(many), Tensor::zeros({65536, 1, 1}), 1.0f, Accumulate{}, grad);
      },
      "[gram] 65536 matrices at once are too many: a CUDA device takes 65535"));
}

TEST(Gram, BadArgumentsAreNamed) {
  const Tensor features = Tensor::zeros({2, 3, 3, 4}), flat = Tensor::zeros({9, 4});
  Tensor gram = Tensor::zeros({2, 4, 4}), wrong = Tensor::zeros({2, 4, 3}), grad = Tensor::zeros({2, 3, 3, 4});
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(gram_forward)
        (flat, 1.0f, gram);
      },
      "[gram] features has shape [9,4], it must have 4 dimensions"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(gram_forward)
        (features, 1.0f, wrong);
      },
      "[gram] gram has shape [2,4,3], it must be [2,4,4]"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(gram_backward)
        (features, wrong, 1.0f, Accumulate{}, grad);
      },
      "[gram] grad_gram"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(gram_backward)
        (features, gram, 1.0f, Accumulate{}, gram);
      },
      "[gram] grad_features"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(gram_backward_symmetric)
        (features, wrong, 1.0f, Accumulate{}, grad);
      },
      "[gram] matrix"));
  EXPECT_TRUE(throws_error([&] { gram_difference(features, 1.0f, wrong, 1.0f, gram); }, "[gram] target"));
  EXPECT_TRUE(throws_error([&] { gram_difference(features, 1.0f, gram, 1.0f, wrong); }, "[gram] difference"));
  EXPECT_TRUE(throws_error([&] { gram_difference(features, 1.0f, gram, 1.0f, gram); }, "difference is the target"));
  const BitMask wrong_mask = test::positive(flat);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(gram_backward)(features, gram, 1.0f, Accumulate{0.0f, &wrong_mask}, grad);
      },
      "[gram] relu_mask"));
}

}  // namespace
}  // namespace minidl
