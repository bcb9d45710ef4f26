#include <minidl/kernels/gemm.h>

#include <support/compare.h>
#include <support/device.h>
#include <support/instruction_sets.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>
#include <ostream>

namespace minidl {
namespace {

using test::random_integers;
using test::random_uniform;

struct Case {
  int64_t m, n, k;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.m << "x" << c.n << "x" << c.k;
}

void product(const GemmDesc& desc, const Tensor& a, const Tensor& b, Tensor& c) {
  gemm(desc, a.data<float>(), b.data<float>(), c.data<float>(), c.device());
}

/// A product with operands that are stored with `slack` unused elements at the end of each row.
struct Operands {
  GemmDesc desc;
  Tensor a, b, c;

  Operands(const Case& size, bool transpose_a, bool transpose_b, int64_t slack,
           const std::function<Tensor(Shape, uint64_t)>& make) {
    const Shape stored_a = transpose_a ? Shape{size.k, size.m + slack} : Shape{size.m, size.k + slack};
    const Shape stored_b = transpose_b ? Shape{size.n, size.k + slack} : Shape{size.k, size.n + slack};
    a = make(stored_a, 1);
    b = make(stored_b, 2);
    c = make({size.m, size.n + slack}, 3);
    desc = {.m = size.m,
            .n = size.n,
            .k = size.k,
            .transpose_a = transpose_a,
            .transpose_b = transpose_b,
            .lda = stored_a[1],
            .ldb = stored_b[1],
            .ldc = size.n + slack};
  }

  void run(Tensor& output) const { ON_DEVICE(product)(desc, a, b, output); }

  /// The whole of C in f64, unused elements unchanged.
  std::vector<double> reference() const {
    std::vector<double> result = test::to_doubles(c);
    const float *pa = a.data<float>(), *pb = b.data<float>();
    for (int64_t i = 0; i < desc.m; ++i) {
      for (int64_t j = 0; j < desc.n; ++j) {
        double sum = 0.0;
        for (int64_t k = 0; k < desc.k; ++k) {
          sum += static_cast<double>(pa[desc.transpose_a ? k * desc.lda + i : i * desc.lda + k]) *
                 static_cast<double>(pb[desc.transpose_b ? j * desc.ldb + k : k * desc.ldb + j]);
        }
        double& target = result[static_cast<size_t>(i * desc.ldc + j)];
        target =
            static_cast<double>(desc.alpha) * sum + (desc.beta != 0.0f ? static_cast<double>(desc.beta) * target : 0.0);
      }
    }
    return result;
  }
};

Tensor integers(Shape shape, uint64_t seed) {
  return random_integers(shape, seed);
}
Tensor uniforms(Shape shape, uint64_t seed) {
  return random_uniform(shape, seed);
}

class GemmSizes : public ::testing::TestWithParam<Case> {};

TEST_P(GemmSizes, ExactIntegersInEveryLayout) {
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      for (const int64_t slack : {0, 3}) {
        Operands operands(GetParam(), transpose_a, transpose_b, slack, integers);
        for (const auto& [alpha, beta] : {std::pair{1.0f, 0.0f}, {1.0f, -2.0f}, {3.0f, 1.0f}, {3.0f, -2.0f}}) {
          operands.desc.alpha = alpha;
          operands.desc.beta = beta;
          Tensor output = operands.c.clone();
          operands.run(output);
          EXPECT_TRUE(test::equals(output, operands.reference()))
              << transpose_a << transpose_b << " slack " << slack << " alpha " << alpha << " beta " << beta;
        }
      }
    }
  }
}

TEST_P(GemmSizes, AgreesWithDoublePrecision) {
  Operands operands(GetParam(), false, true, 0, uniforms);
  operands.desc.alpha = 0.7f;
  operands.desc.beta = 0.3f;
  Tensor output = operands.c.clone();
  operands.run(output);
  EXPECT_LE(test::normalised_error(output, operands.reference()), test::on_cpu() ? 1e-6 : 3e-6);
}

INSTANTIATE_TEST_SUITE_P(All, GemmSizes,
                         ::testing::Values(Case{1, 1, 1}, Case{0, 5, 3}, Case{5, 0, 3}, Case{3, 5, 0}, Case{2, 3, 5},
                                           Case{12, 32, 16}, Case{13, 33, 17}, Case{8, 48, 100}, Case{7, 49, 193},
                                           Case{97, 65, 385}, Case{1, 300, 129}, Case{300, 1, 129}, Case{64, 27, 1500},
                                           Case{150, 130, 200}, Case{9, 7, 9000}, Case{500, 17, 3}));

TEST(Gemm, IsExactWithEveryInstructionSet) {
  if (!test::on_cpu()) GTEST_SKIP() << "instruction sets are those of the CPU";
  test::for_each_instruction_set([](const char* name) {
    for (const Case& size : {Case{13, 33, 17}, Case{7, 200, 193}, Case{97, 65, 385}, Case{24, 40, 9000}}) {
      for (const bool transposed : {false, true}) {
        Operands operands(size, transposed, transposed, 0, integers);
        Tensor output = operands.c.clone();
        operands.run(output);
        EXPECT_TRUE(test::equals(output, operands.reference())) << name;
      }
    }
  });
}

TEST(Gemm, BetaZeroDoesNotReadC) {
  Operands operands({20, 30, 40}, false, false, 0, integers);
  Tensor output = Tensor::full({20, 30}, std::numeric_limits<float>::quiet_NaN());
  operands.run(output);
  EXPECT_TRUE(test::equals(output, operands.reference()));
}

TEST(Gemm, SameBytesForAllThreadCounts) {
  if (test::on_emulated_device()) GTEST_SKIP() << test::kEmulatedOnce;
  for (const Case& size : {Case{200, 300, 500}, Case{24, 40, 20000}, Case{4000, 3, 70}}) {
    const Operands operands(size, true, false, 0, uniforms);
    EXPECT_TRUE(test::same_for_all_threads([&] {
      Tensor output = operands.c.clone();
      operands.run(output);
      return output;
    }));
  }
}

TEST(Gemm, LongSumsStayAccurate) {
  for (const float least : {0.0f, -1.0f}) {
    const Operands operands({16, 16, test::on_emulated_device() ? 20000 : 200000}, true, false, 0,
                            [&](Shape shape, uint64_t seed) { return random_uniform(shape, seed, least, 1.0f); });
    Tensor output = operands.c.clone();
    operands.run(output);
    EXPECT_LE(test::normalised_error(output, operands.reference()), 1e-6) << "numbers from " << least;
  }
}

TEST(Gemm, RefusesShortStridesAndNegativeSizes) {
  float x = 0.0f;
  EXPECT_TRUE(test::throws_error([&] { gemm({.m = -1}, &x, &x, &x); }, "[gemm] m -1, n 0 and k 0"));
  EXPECT_TRUE(test::throws_error([&] { gemm({.m = 2, .n = 2, .k = 3, .lda = 2, .ldb = 2, .ldc = 2}, &x, &x, &x); },
                                 "[gemm] lda is 2"));
  EXPECT_TRUE(test::throws_error([&] { gemm({.m = 2, .n = 2, .k = 3, .lda = 3, .ldb = 1, .ldc = 2}, &x, &x, &x); },
                                 "[gemm] ldb is 1"));
  EXPECT_TRUE(test::throws_error([&] { gemm({.m = 2, .n = 2, .k = 3, .lda = 3, .ldb = 2, .ldc = 1}, &x, &x, &x); },
                                 "[gemm] ldc is 1"));
}

/// A fully connected layer: y = x w' + b.
struct LinearCase {
  Tensor input = random_integers({3, 37}, 1), weight = random_integers({41, 37}, 2), bias = random_integers({41}, 3);
  Tensor grad_output = random_integers({3, 41}, 4);
};

double at(const Tensor& x, int64_t i, int64_t j) {
  return static_cast<double>(x.data<float>()[i * x.shape()[1] + j]);
}

TEST(Linear, ForwardIsExact) {
  const LinearCase c;
  for (const bool with_bias : {true, false}) {
    Tensor output = Tensor::empty({3, 41});
    ON_DEVICE(linear_forward)(c.input, c.weight, with_bias ? c.bias : Tensor(), output);
    std::vector<double> expected;
    for (int64_t m = 0; m < 3; ++m) {
      for (int64_t n = 0; n < 41; ++n) {
        double sum = with_bias ? static_cast<double>(c.bias.data<float>()[n]) : 0.0;
        for (int64_t k = 0; k < 37; ++k) sum += at(c.input, m, k) * at(c.weight, n, k);
        expected.push_back(sum);
      }
    }
    EXPECT_TRUE(test::equals(output, expected));
  }
}

/// Enough tiles of 128 x 128, ragged on both sides, that a device takes them.
TEST(Linear, LargeProductsAreExact) {
  const int64_t m = 3713, n = 1028, k = 36;
  const Tensor input = random_integers({m, k}, 7), weight = random_integers({n, k}, 8);
  Tensor output = Tensor::full({m, n}, std::numeric_limits<float>::quiet_NaN());
  ON_DEVICE(linear_forward)(input, weight, Tensor(), output);
  std::vector<double> expected;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0.0f;  // of integers
      for (int64_t l = 0; l < k; ++l) sum += input.data<float>()[i * k + l] * weight.data<float>()[j * k + l];
      expected.push_back(static_cast<double>(sum));
    }
  }
  EXPECT_TRUE(test::equals(output, expected));
}

TEST(Linear, BackwardDataIsExactAndMasked) {
  const LinearCase c;
  const Tensor signs = random_integers({3, 37}, 5), before = random_integers({3, 37}, 6);
  const BitMask mask = test::positive(signs);
  for (const float beta : {0.0f, 1.0f}) {
    Tensor grad_input = before.clone();
    ON_DEVICE(linear_backward_data)(c.weight, c.grad_output, Accumulate{beta, &mask}, grad_input);
    std::vector<double> expected;
    for (int64_t m = 0; m < 3; ++m) {
      for (int64_t k = 0; k < 37; ++k) {
        double sum = 0.0;
        for (int64_t n = 0; n < 41; ++n) sum += at(c.grad_output, m, n) * at(c.weight, n, k);
        expected.push_back(static_cast<double>(beta) * at(before, m, k) + (at(signs, m, k) > 0.0 ? sum : 0.0));
      }
    }
    EXPECT_TRUE(test::equals(grad_input, expected));
  }
}

TEST(Linear, BackwardWeightIsExact) {
  const LinearCase c;
  const Tensor before = random_integers({41, 37}, 6);
  Tensor grad_weight = before.clone();
  ON_DEVICE(linear_backward_weight)(c.input, c.grad_output, 1.0f, grad_weight);
  std::vector<double> expected;
  for (int64_t n = 0; n < 41; ++n) {
    for (int64_t k = 0; k < 37; ++k) {
      double sum = at(before, n, k);
      for (int64_t m = 0; m < 3; ++m) sum += at(c.grad_output, m, n) * at(c.input, m, k);
      expected.push_back(sum);
    }
  }
  EXPECT_TRUE(test::equals(grad_weight, expected));
}

TEST(Linear, RefusesShapesThatDisagree) {
  LinearCase c;
  Tensor output = Tensor::empty({3, 41}), wrong = Tensor::empty({3, 40}), narrow = Tensor::empty({41, 36});
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(linear_forward)
        (c.input, narrow, Tensor(), output);
      },
      "[linear] weight expects 36 inputs, input has 37 (input [3,37], weight [41,36])"));
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(linear_forward)
        (c.input, c.weight, Tensor(), wrong);
      },
      "output has shape [3,40], it must be [3,41]"));
  EXPECT_TRUE(test::throws_error(
      [&] {
        ON_DEVICE(linear_forward)
        (c.input, c.weight, output, output);
      },
      "bias has shape [3,41], it must be [41]"));
}

}  // namespace
}  // namespace minidl
