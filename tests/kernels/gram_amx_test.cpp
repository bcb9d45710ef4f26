#include <minidl/kernels/cpu/gram_amx.h>
#include <minidl/kernels/cpu/gram_kernel.h>
#include <support/compare.h>
#include <support/instruction_sets.h>
#include <support/masks.h>
#include <support/random_tensors.h>

#include <array>

namespace minidl::cpu {
namespace {

using test::random_integers;

/// Positions and channels around blocks of 32, the chunk of 256 positions and the task of 128.
constexpr std::array<std::pair<int64_t, int64_t>, 7> kSizes = {
    {{1, 1}, {31, 33}, {32, 32}, {129, 16}, {257, 70}, {300, 3}, {515, 100}}};

/// What the rest of the library uses where there are tiles, computed by every machine.
TEST(GramAmx, PortableProductsAreExactOnIntegers) {
  for (const auto& [positions, c] : kSizes) {
    const Tensor features = random_integers({positions, c}, 1);
    const int64_t stride = gram_stride(c);
    Tensor sums = Tensor::full({stride, stride}, NAN);
    gram_products_amx(amx_portable(), features.data<float>(), positions, c, sums.data<float>());
    const auto f = features.span<float>();
    for (int64_t i = 0; i < c; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double expected = 0.0;
        for (int64_t p = 0; p < positions; ++p) expected += double{f[p * c + i]} * double{f[p * c + j]};
        ASSERT_EQ(sums.span<float>()[i * stride + j], expected) << positions << " x " << c << ": " << i << ", " << j;
      }
    }
  }
}

TEST(GramAmx, PortableGradientsAreExactOnIntegers) {
  for (const auto& [positions, c] : kSizes) {
    const Tensor features = random_integers({positions, c}, 2), before = random_integers({positions, c}, 3);
    Tensor s = random_integers({c, c}, 4);
    for (int64_t i = 0; i < c * c; ++i) s.data<float>()[i] = s.span<float>()[i % c * c + i / c];  // symmetric
    const BitMask mask = test::positive(features);
    for (const float beta : {0.0f, 2.0f}) {
      Tensor grad = beta == 0.0f ? Tensor::full({positions, c}, NAN) : before.clone();
      gram_gradient_amx(amx_portable(), positions, c, features.data<float>(), s.data<float>(),
                        {grad.data<float>(), beta, mask_span({beta, &mask})});
      for (int64_t p = 0; p < positions; ++p) {
        for (int64_t i = 0; i < c; ++i) {
          double expected = 0.0;
          for (int64_t j = 0; j < c; ++j)
            expected += double{features.span<float>()[p * c + j]} * double{s.span<float>()[j * c + i]};
          if (features.span<float>()[p * c + i] <= 0.0f) expected = 0.0;
          if (beta != 0.0f) expected += beta * before.span<float>()[p * c + i];
          ASSERT_EQ(grad.span<float>()[p * c + i], expected) << positions << " x " << c << ": " << p << ", " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace minidl::cpu
