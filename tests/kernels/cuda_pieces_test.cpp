// Small kernels of a CUDA device that several operations share, called by themselves. Skipped where there is no device.
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/cuda/pack_weight.h>
#include <minidl/kernels/cuda/unpooled_operand.h>
#include <minidl/kernels/dispatch.h>
#include <support/compare.h>
#include <support/cuda_device.h>
#include <support/halves.h>
#include <support/random_tensors.h>

namespace minidl::cuda {
namespace {

using test::equals;
using test::kCudaDevice;
using test::on_cuda_device;
using test::random_integers;
using CudaPieces = test::OnCudaDevice;

size_t at(int64_t i) {
  return static_cast<size_t>(i);
}

TEST_F(CudaPieces, PackedWeightsAreTurnedAndTransposed) {
  for (const auto& [out_c, in_c] : {std::pair{1, 1}, {33, 65}, {65, 33}, {70, 3}}) {
    const Taps taps{.out_c = out_c,
                    .k_h = 5,
                    .k_w = 4,
                    .in_c = in_c,
                    .first_h = 1,
                    .step_h = 2,
                    .count_h = 2,
                    .first_w = 0,
                    .step_w = 1,
                    .count_w = 3};
    const Tensor weight = random_integers({out_c, 5, 4, in_c}, 9);
    std::vector<double> expected;
    for (int c = 0; c < in_c; ++c) {
      for (int i = 0; i < taps.count_h; ++i) {
        for (int j = 0; j < taps.count_w; ++j) {
          const int r = taps.first_h + taps.step_h * (taps.count_h - 1 - i);
          const int s = taps.first_w + taps.step_w * (taps.count_w - 1 - j);
          for (int k = 0; k < out_c; ++k) {
            expected.push_back(weight.span<float>()[at(((k * 5 + r) * 4 + s) * in_c + c)]);
          }
        }
      }
    }
    const Tensor there = on_cuda_device(weight);
    Tensor packed = on_cuda_device(Tensor::full({std::ssize(expected)}, NAN));
    pack_reversed(taps, there.data<float>(), packed.data<float>(), current_stream());
    EXPECT_TRUE(equals(packed.to(Device::cpu()), expected)) << out_c << " x " << in_c;
  }
}

/// The odd last row and column of what was pooled get nothing.
TEST_F(CudaPieces, UnpooledGradientsAreRoundedAsTheyAreSpread) {
  const Conv2dDesc d = Conv2dDesc::make({2, 7, 9, 4}, {16, 3, 3, 4}, {1, 1, Padding::zero(1)});
  const Tensor grad_output = test::random_uniform({2, 3, 4, 16}, 1);
  Tensor choice = Tensor::empty(grad_output.shape(), Dtype::u8);
  for (int64_t i = 0; i < choice.count(); ++i) choice.data<uint8_t>()[i] = static_cast<uint8_t>(i * 7 % 5);
  constexpr int64_t kFirst = 24;  // of the mask
  Tensor bits = Tensor::empty({(d.output_shape().count() + kFirst) / 8}, Dtype::u8);
  for (int64_t i = 0; i < bits.count(); ++i) bits.data<uint8_t>()[i] = static_cast<uint8_t>(i * 73 % 256);
  const BitSpan positive{std::as_const(bits).data<uint8_t>(), kFirst};
  const auto spread = [&](bool max_pooled, bool masked) {
    Tensor whole = Tensor::zeros(d.output_shape());
    for (int64_t i = 0; i < whole.count(); ++i) {
      const int64_t c = i % 16, pixel = i / 16, w = pixel % 9, h = pixel / 9 % 7, n = pixel / 63;
      if (h == 6 || w == 8) continue;
      const int64_t from = ((n * 3 + h / 2) * 4 + w / 2) * 16 + c;
      const float value = grad_output.data<float>()[from];
      const bool chosen = choice.data<uint8_t>()[from] == h % 2 * 2 + w % 2;
      if (max_pooled ? chosen : !masked || positive[i]) whole.data<float>()[i] = max_pooled ? value : value / 4.0f;
    }
    return whole;
  };
  const Tensor there_choice = choice.to(kCudaDevice), there_bits = bits.to(kCudaDevice);
  const BitSpan there_positive{there_bits.data<uint8_t>(), kFirst};
  for (const bool aligned : {true, false}) {
    const Tensor there = on_cuda_device(grad_output, aligned);
    for (const bool max_pooled : {true, false}) {
      for (const bool masked : {true, false}) {
        if (max_pooled && masked) continue;
        const Tensor expected = spread(max_pooled, masked);
        const Tensor as_bf16 = unpooled_operand(Dtype::bf16, d, max_pooled ? there_choice.data<uint8_t>() : nullptr,
                                                masked ? there_positive : BitSpan{}, there.data<float>());
        EXPECT_TRUE(equals(test::from_bf16(as_bf16.to(Device::cpu())), test::from_bf16(test::to_bf16(expected))));
      }
    }
  }
}

TEST_F(CudaPieces, DividesByANumberOnTheDevice) {
  Tensor numbers = Tensor::zeros({4}, Dtype::f64);
  for (int64_t i = 0; i < 4; ++i) numbers.data<double>()[i] = static_cast<double>(i) + 4.0;
  Tensor there = numbers.to(kCudaDevice);
  divide(3.0, there.data<double>() + 1, 1.0, there.data<double>() + 2);
  there = there.to(Device::cpu());
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(there.data<double>()[i], i == 2 ? 0.5 : static_cast<double>(i) + 4.0) << i;
}

TEST_F(CudaPieces, ChoicesAreClosedWhereTheLargestIsNotPositive) {
  const float values[] = {1.0f, 0.0f, -2.0f, NAN, 0.5f, -0.0f, INFINITY};
  for (const int64_t count : {1, 7, 256, 700}) {
    Tensor largest = Tensor::empty({count}), choice = Tensor::empty({count}, Dtype::u8);
    for (int64_t i = 0; i < count; ++i) {
      largest.data<float>()[i] = values[i % 7];
      choice.data<uint8_t>()[i] = static_cast<uint8_t>(i % 4);
    }
    const Tensor there = largest.to(kCudaDevice);
    Tensor closed = choice.to(kCudaDevice);
    close_choice(count, there.data<float>(), closed.data<uint8_t>());
    closed = closed.to(Device::cpu());
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(closed.data<uint8_t>()[i], values[i % 7] > 0.0f ? i % 4 : 4) << i << " of " << count;
    }
  }
}

}  // namespace
}  // namespace minidl::cuda
