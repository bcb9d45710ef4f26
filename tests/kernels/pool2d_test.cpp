#include <minidl/kernels/pool2d.h>
#include <support/accumulation.h>
#include <support/compare.h>
#include <support/device.h>
#include <support/masks.h>
#include <support/random_tensors.h>
#include <support/threads.h>

#include <limits>

namespace minidl {
namespace {

using test::equals;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  Shape input;
  int64_t k_h, k_w;
  Window window;
};

const std::vector<Case> kCases = {
    {{1, 2, 2, 1}, 2, 2, {2, 2, {}}},
    {{1, 1, 1, 3}, 1, 1, {1, 1, {}}},
    {{3, 8, 6, 4}, 2, 2, {2, 2, {}}},
    {{1, 7, 9, 33}, 2, 2, {2, 2, {}}},  // floors: the last row and column take no part
    {{3, 7, 8, 1}, 3, 3, {3, 3, {}}},   // side by side: a last row and two columns beyond the windows
    {{2, 10, 7, 64}, 3, 2, {3, 2, {}}},
    {{1, 3, 11, 33}, 1, 4, {1, 4, {}}},
    {{2, 5, 4, 3}, 5, 4, {5, 4, {}}},
    {{1, 5, 5, 16}, 3, 3, {2, 2, {}}},  // overlaps
    {{2, 6, 7, 3}, 3, 3, {2, 2, Padding::zero(1)}},
    {{1, 9, 8, 5}, 3, 2, {1, 3, {Padding::Mode::zero, 2, 0, 1, 0}}},    // nothing is symmetric
    {{1, 11, 4, 20}, 2, 3, {5, 1, {Padding::Mode::zero, 0, 1, 0, 2}}},  // rows between the windows
    {{1, 1, 1, 2}, 3, 3, {1, 1, Padding::zero(2)}},                     // windows far larger than the input
    {{2, 1, 9, 8}, 1, 9, {1, 1, {}}},
    {{1, 64, 64, 33}, 2, 2, {2, 2, {}}},
};

std::vector<Pool2dDesc> descs(PoolKind kind) {
  std::vector<Pool2dDesc> all;
  for (const Case& c : kCases) all.push_back(Pool2dDesc::make(kind, c.input, c.k_h, c.k_w, c.window));
  return all;
}

/// Calls visit(output index, offset r * k_w + s, input index) for every pixel of every window that lies inside the
/// input.
void for_each_pixel(const Pool2dDesc& d, const std::function<void(int64_t, int64_t, int64_t)>& visit) {
  for (int64_t n = 0; n < d.n; ++n) {
    for (int64_t h = 0; h < d.out_h(); ++h) {
      for (int64_t w = 0; w < d.out_w(); ++w) {
        for (int64_t c = 0; c < d.c; ++c) {
          for (int64_t offset = 0; offset < d.k_h * d.k_w; ++offset) {
            const int64_t i = h * d.window.stride_h + offset / d.k_w - d.window.padding.top;
            const int64_t j = w * d.window.stride_w + offset % d.k_w - d.window.padding.left;
            if (i < 0 || i >= d.in_h || j < 0 || j >= d.in_w) continue;
            visit(((n * d.out_h() + h) * d.out_w() + w) * d.c + c, offset, ((n * d.in_h + i) * d.in_w + j) * d.c + c);
          }
        }
      }
    }
  }
}

struct Pooled {
  Tensor output, choice;
};

Pooled pool(const Pool2dDesc& desc, const Tensor& input) {
  Pooled result{Tensor::full(desc.output_shape(), kNan), {}};
  if (desc.kind == PoolKind::max) result.choice = Tensor::empty(desc.output_shape(), Dtype::u8);
  ON_DEVICE(pool2d_forward)(desc, input, result.output, result.choice);
  return result;
}

TEST(Pool2d, MaxTakesTheFirstLargestPixel) {
  for (const Pool2dDesc& desc : descs(PoolKind::max)) {
    const Tensor input = random_integers(desc.input_shape(), 1);  // full of ties
    std::vector<double> best(static_cast<size_t>(desc.output_shape().count()), -INFINITY), choice(best.size());
    for_each_pixel(desc, [&](int64_t output, int64_t offset, int64_t pixel) {
      if (input.span<float>()[pixel] <= best[static_cast<size_t>(output)]) return;
      best[static_cast<size_t>(output)] = input.span<float>()[pixel];
      choice[static_cast<size_t>(output)] = static_cast<double>(offset);
    });
    const Pooled pooled = pool(desc, input);
    EXPECT_TRUE(equals(pooled.output, best)) << desc.str();
    EXPECT_TRUE(equals(pooled.choice.to(Dtype::f32), choice)) << desc.str();
    Tensor output = Tensor::full(desc.output_shape(), kNan), no_choice;
    ON_DEVICE(pool2d_forward)(desc, input, output, no_choice);
    EXPECT_TRUE(equals(output, best)) << desc.str();
  }
}

TEST(Pool2d, AverageDividesByTheWholeWindow) {
  for (const Pool2dDesc& desc : descs(PoolKind::average)) {
    const Tensor input = random_integers(desc.input_shape(), 2);
    std::vector<double> sums(static_cast<size_t>(desc.output_shape().count())), averages;
    for_each_pixel(desc, [&](int64_t output, int64_t, int64_t pixel) {
      sums[static_cast<size_t>(output)] += input.span<float>()[pixel];
    });
    for (const double sum : sums) averages.push_back(static_cast<float>(sum) / static_cast<float>(desc.k_h * desc.k_w));
    EXPECT_TRUE(equals(pool(desc, input).output, averages)) << desc.str();
  }
}

TEST(Pool2d, MaxBackwardGoesToTheChosenPixel) {
  for (const Pool2dDesc& desc : descs(PoolKind::max)) {
    const Tensor grad_output = random_integers(desc.output_shape(), 4);
    const Pooled pooled = pool(desc, random_integers(desc.input_shape(), 3));
    std::vector<double> expected(static_cast<size_t>(desc.input_shape().count()));
    for_each_pixel(desc, [&](int64_t output, int64_t offset, int64_t pixel) {
      if (pooled.choice.span<uint8_t>()[output] == offset)
        expected[static_cast<size_t>(pixel)] += grad_output.span<float>()[output];
    });
    Tensor grad_input = Tensor::full(desc.input_shape(), kNan);
    ON_DEVICE(pool2d_backward)(desc, pooled.choice, grad_output, Accumulate{}, grad_input);
    EXPECT_TRUE(equals(grad_input, expected)) << desc.str();
    EXPECT_TRUE(test::accumulates(desc.input_shape(), [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(pool2d_backward)(desc, pooled.choice, grad_output, how, grad);
    })) << desc.str();
  }
}

TEST(Pool2d, AverageBackwardSpreadsEvenly) {
  for (const Pool2dDesc& desc : descs(PoolKind::average)) {
    const Tensor grad_output = random_integers(desc.output_shape(), 5);
    std::vector<double> sums(static_cast<size_t>(desc.input_shape().count())), expected;
    for_each_pixel(desc, [&](int64_t output, int64_t, int64_t pixel) {
      sums[static_cast<size_t>(pixel)] += grad_output.span<float>()[output];
    });
    for (const double sum : sums) expected.push_back(static_cast<float>(sum) / static_cast<float>(desc.k_h * desc.k_w));
    Tensor grad_input = Tensor::full(desc.input_shape(), kNan);
    ON_DEVICE(pool2d_backward)(desc, Tensor(), grad_output, Accumulate{}, grad_input);
    EXPECT_TRUE(equals(grad_input, expected)) << desc.str();
    EXPECT_TRUE(test::accumulates(desc.input_shape(), [&](const Accumulate& how, Tensor& grad) {
      ON_DEVICE(pool2d_backward)(desc, Tensor(), grad_output, how, grad);
    })) << desc.str();
  }
}

/// Large gradients whose vectors are aligned are written past the caches.
TEST(Pool2d, LargeGradientsAreTheSame) {
  for (const PoolKind kind : {PoolKind::max, PoolKind::average}) {
    const Shape shape = test::on_emulated_device() ? Shape{1, 33, 65, 64} : Shape{1, 129, 513, 64};
    const Pool2dDesc desc = Pool2dDesc::make(kind, shape, 2, 2, {2, 2, {}});
    const Tensor grad_output = random_integers(desc.output_shape(), 10),
                 input = random_integers(desc.input_shape(), 11);
    const BitMask mask = test::positive(input);
    const Pooled pooled = pool(desc, input);
    Tensor grad = Tensor::full(desc.input_shape(), kNan), expected = Tensor::zeros(desc.input_shape());
    ON_DEVICE(pool2d_backward)(desc, pooled.choice, grad_output, Accumulate{0.0f, &mask}, grad);
    float* to = expected.data<float>();
    for_each_pixel(desc, [&](int64_t output, int64_t offset, int64_t pixel) {
      const bool chosen = kind == PoolKind::average || pooled.choice.span<uint8_t>()[output] == offset;
      if (!chosen || input.span<float>()[pixel] <= 0.0f) return;
      to[pixel] = (kind == PoolKind::average ? 0.25f : 1.0f) * grad_output.span<float>()[output];
    });
    EXPECT_TRUE(equals(grad, expected)) << desc.str();
  }
}

TEST(Pool2d, AverageBackwardIsTheAdjoint) {
  for (const Pool2dDesc& desc : descs(PoolKind::average)) {
    const Tensor x = random_uniform(desc.input_shape(), 6), y = random_uniform(desc.output_shape(), 7);
    Tensor back = Tensor::empty(desc.input_shape());
    ON_DEVICE(pool2d_backward)(desc, Tensor(), y, Accumulate{}, back);
    EXPECT_NEAR(test::inner_product(pool(desc, x).output, y), test::inner_product(x, back), 1e-5) << desc.str();
  }
}

TEST(Pool2d, NanWins) {
  const Pool2dDesc desc = Pool2dDesc::make(PoolKind::max, {1, 2, 8, 19}, 2, 2, {2, 2, {}});
  for (const float rest : {1.0f, kInfinity, -kInfinity}) {
    Tensor input = Tensor::full(desc.input_shape(), rest);
    for (int64_t w = 0; w < 4; ++w) {  // window w holds its NaN at offset w, and the third another one after it
      for (int64_t c = 0; c < desc.c; ++c) input.data<float>()[((w / 2) * 8 + 2 * w + w % 2) * desc.c + c] = kNan;
    }
    for (int64_t c = 0; c < desc.c; ++c) input.data<float>()[(8 + 5) * desc.c + c] = kNan;
    const Pooled pooled = pool(desc, input);
    for (int64_t i = 0; i < pooled.output.count(); ++i) {
      EXPECT_TRUE(std::isnan(pooled.output.span<float>()[i])) << i;
      EXPECT_EQ(pooled.choice.span<uint8_t>()[i], i / desc.c) << i;
    }
  }
}

TEST(Pool2d, ChoosesInAWindowOfMinusInfinity) {
  const Pool2dDesc desc = Pool2dDesc::make(PoolKind::max, {1, 3, 3, 2}, 2, 2, {2, 2, Padding::zero(1)});
  const Pooled pooled = pool(desc, Tensor::full(desc.input_shape(), -kInfinity));
  EXPECT_EQ(pooled.output.span<float>()[0], -kInfinity);
  EXPECT_EQ(pooled.choice.span<uint8_t>()[0], 3);  // the only pixel of the corner window that is inside
  EXPECT_EQ(pooled.choice.span<uint8_t>()[2], 2);
}

TEST(Pool2d, BytesDoNotDependOnThreads) {
  if (test::on_emulated_device()) GTEST_SKIP() << test::kEmulatedOnce;
  for (const Pool2dDesc& desc : {Pool2dDesc::make(PoolKind::max, {3, 41, 37, 33}, 3, 3, {2, 2, Padding::zero(1)}),
                                 Pool2dDesc::make(PoolKind::average, {3, 41, 37, 33}, 3, 3, {2, 2, Padding::zero(1)}),
                                 Pool2dDesc::make(PoolKind::max, {3, 83, 75, 33}, 2, 2, {2, 2, {}}),
                                 Pool2dDesc::make(PoolKind::average, {2, 256, 161, 64}, 2, 2, {2, 2, {}})}) {
    const Tensor input = random_uniform(desc.input_shape(), 8), grad_output = random_uniform(desc.output_shape(), 9);
    const Pooled pooled = pool(desc, input);
    EXPECT_TRUE(test::same_for_all_threads([&] { return pool(desc, input).output; }));
    const BitMask mask = test::positive(input);
    EXPECT_TRUE(test::same_for_all_threads([&] {
      Tensor grad = Tensor::full(desc.input_shape(), 1.0f);
      ON_DEVICE(pool2d_backward)(desc, pooled.choice, grad_output, Accumulate{0.3f, &mask}, grad);
      return grad;
    }));
    EXPECT_TRUE(test::same_for_all_threads([&] {
      Tensor grad = Tensor::full(desc.input_shape(), kNan);
      ON_DEVICE(pool2d_backward)(desc, pooled.choice, grad_output, Accumulate{}, grad);
      return grad;
    }));
  }
}

TEST(Pool2d, ImpossibleWindowsAreRefused) {
  const Shape input{1, 4, 5, 3};
  const auto make = [&](int64_t k_h, int64_t k_w, const Window& window) {
    return [=] { Pool2dDesc::make(PoolKind::max, input, k_h, k_w, window); };
  };
  EXPECT_TRUE(throws_error(
      [] {
        Pool2dDesc::make(PoolKind::max, {4, 5}, 2, 2, {});
      },
      "[pool2d] input has shape [4,5]"));
  EXPECT_TRUE(throws_error(
      [] {
        Pool2dDesc::make(PoolKind::max, {1, 0, 5, 3}, 2, 2, {});
      },
      "[pool2d] input [1,0,5,3] is empty"));
  EXPECT_TRUE(throws_error(make(0, 2, {}), "[pool2d] window 0x2"));
  EXPECT_TRUE(throws_error(make(2, 2, {2, 0, {}}), "stride 2x0 must be at least 1"));
  EXPECT_TRUE(throws_error(make(2, 2, {2, 2, Padding::zero(2)}), "must be smaller than the window 2x2"));
  EXPECT_TRUE(throws_error(make(2, 2, {2, 2, {Padding::Mode::zero, 0, -1, 0, 0}}), "not negative"));
  EXPECT_TRUE(throws_error(make(2, 2, {2, 2, Padding::reflect(1)}), "only zero padding"));
  EXPECT_TRUE(throws_error(make(5, 2, {2, 2, {}}), "[pool2d] window 5x2 is larger than the input [1,4,5,3]"));
  EXPECT_NO_THROW(make(2, 2, {2, 2, Padding::reflect(0)})());
}

TEST(Pool2d, BadArgumentsAreNamed) {
  const Pool2dDesc max = Pool2dDesc::make(PoolKind::max, {1, 4, 4, 3}, 2, 2, {2, 2, {}});
  const Pool2dDesc average = Pool2dDesc::make(PoolKind::average, {1, 4, 4, 3}, 2, 2, {2, 2, {}});
  const Tensor input = Tensor::zeros({1, 4, 4, 3}), grad_output = Tensor::zeros({1, 2, 2, 3});
  Tensor output = Tensor::zeros({1, 2, 2, 3}), choice = Tensor::zeros({1, 2, 2, 3}, Dtype::u8), undefined,
         grad = Tensor::zeros({1, 4, 4, 3});
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_forward)
        (max, output, output, choice);
      },
      "[pool2d] input has shape [1,2,2,3], it must be [1,4,4,3]"));
  EXPECT_TRUE(throws_error([&] { ON_DEVICE(pool2d_forward)(max, input, grad, choice); }, "[pool2d] output"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_forward)
        (max, input, output, output);
      },
      "[pool2d] choice is f32 [1,2,2,3], it must be u8"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_forward)
        (average, input, output, choice);
      },
      "average pooling makes no choice"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_backward)
        (max, undefined, grad_output, Accumulate{}, grad);
      },
      "needs the choice"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_backward)
        (max, grad_output, grad_output, Accumulate{}, grad);
      },
      "[pool2d] choice is f32"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_backward)
        (max, choice, input, Accumulate{}, grad);
      },
      "[pool2d] grad_output"));
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_backward)
        (max, choice, grad_output, Accumulate{}, output);
      },
      "[pool2d] grad_input"));
  const BitMask wrong_mask = test::positive(output);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_backward)(max, choice, grad_output, Accumulate{0.0f, &wrong_mask}, grad);
      },
      "[pool2d] relu_mask"));
  const Pool2dDesc huge = Pool2dDesc::make(PoolKind::max, {1, 20, 20, 1}, 17, 17, {1, 1, {}});
  Tensor big = Tensor::zeros(huge.output_shape()), big_choice = Tensor::zeros(huge.output_shape(), Dtype::u8);
  EXPECT_TRUE(throws_error(
      [&] {
        ON_DEVICE(pool2d_forward)(huge, Tensor::zeros({1, 20, 20, 1}), big, big_choice);
      },
      "more than 256 pixels"));
}

}  // namespace
}  // namespace minidl
