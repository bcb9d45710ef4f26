#pragma once
#include <gtest/gtest.h>

#include <minidl/kernels/accumulate.h>
#include <support/masks.h>
#include <support/random_tensors.h>

#include <cmath>
#include <functional>

namespace minidl::test {

/// `backward` writes grad = beta * grad + (relu_mask ? r : 0), where r is what it writes with beta 0 and no mask;
/// with beta 0 the old contents, here NaN, are not read.
inline ::testing::AssertionResult accumulates(const Shape& shape,
                                              const std::function<void(const Accumulate&, Tensor&)>& backward) {
  Tensor r = Tensor::full(shape, NAN);
  backward({}, r);
  const Tensor old = random_integers(shape, 91);
  Tensor mask = random_integers(shape, 92, -1, 1);
  if (mask.count() > 0) mask.data<float>()[0] = NAN;  // is not > 0
  const BitMask bits = positive(mask);
  for (const float beta : {0.0f, 1.0f, -0.5f}) {
    for (const bool masked : {false, true}) {
      Tensor grad = beta == 0.0f ? Tensor::full(shape, NAN) : old.clone();
      backward({beta, masked ? &bits : nullptr}, grad);
      for (int64_t i = 0; i < shape.count(); ++i) {
        const float written = !masked || mask.span<float>()[i] > 0.0f ? std::as_const(r).span<float>()[i] : 0.0f;
        const float expected = (beta == 0.0f ? 0.0f : beta * old.span<float>()[i]) + written;
        const float actual = std::as_const(grad).span<float>()[i];
        if (!(std::abs(actual - expected) <= 1e-6f * (1.0f + std::abs(expected)))) {
          return ::testing::AssertionFailure()
                 << "with beta " << beta << (masked ? " and a mask" : "") << " element " << i << " of " << shape.str()
                 << " is " << actual << ", expected " << expected;
        }
      }
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace minidl::test
