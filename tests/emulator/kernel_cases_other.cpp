// Everything that is no matrix product and no norm: elementwise operations, pooling, reductions.
#include <emulator/case_tensors.h>
#include <fmt/format.h>
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/half.h>
#include <minidl/kernels/log_softmax.h>
#include <minidl/kernels/pad.h>
#include <minidl/kernels/reduce.h>
#include <minidl/kernels/upsample.h>

#include <memory>

namespace minidl::emulator {
namespace {

using Limits = ExpectedLaunch::Limits;

auto always(Launches launches) {
  return [launches = std::move(launches)](const std::vector<int64_t>&) { return launches; };
}

KernelCase elementwise(const Shape& shape) {
  const auto x = shared(shape), y = shared(shape);
  const auto mask = std::make_shared<BitMask>(shape, cuda_device());
  const int64_t bytes = x->bytes(), bits = x->count() / 8;
  return {text(*x) + ": a x + b y, relu, mask, 150 tanh and its gradient, masked sum, clamp, fill",
          [=] {
            add_scaled(2.0f, *x, 3.0f, *y, *y);
            relu_forward(*x, *y);
            positive_mask(*y, *mask);
            tanh_forward(*x, 150.0f, *y);
            tanh_backward(*y, 150.0f, *x, {}, *y);
            accumulate_scaled(1.0f, *x, {1.0f, mask.get()}, *y);
            clamp(*y, -1.0f, 1.0f);
            y->fill(0.0f);
          },
          always({{"map_kernel", 3 * bytes},
                  {"map_kernel", 2 * bytes},
                  {"positive_mask_kernel", bytes + bits},
                  {"map_kernel", 2 * bytes},
                  {"map_kernel", 3 * bytes},
                  {"map_kernel", 3 * bytes + bits},
                  {"map_kernel", 2 * bytes},
                  {"fill_kernel", bytes}})};
}

KernelCase per_channel(const Shape& shape) {
  const auto x = shared(shape), y = shared(shape);
  const Tensor b = device_tensor({shape[3]});
  const auto sums = shared({shape[3]});
  const int64_t bytes = x->bytes(), partials = kDouble * shape[3];
  return {text(*x) + ": x + b[c], sums of each channel",
          [=] {
            add_per_channel(1.0f, *x, b, *y);
            sum_per_channel(*x, 0.0f, *sums);
          },
          [=](const std::vector<int64_t>& blocks) -> Launches {
            return {{"channel_map_kernel", 2 * bytes + b.bytes(), 0, {.bytes = 1.1}},
                    {"channel_sums_kernel", bytes + 2 * blocks.at(1) * partials + sums->bytes()}};
          }};
}

KernelCase halves(const Shape& shape) {
  const auto x = shared(shape);
  const auto f16 = std::make_shared<Tensor>(Tensor::empty(shape, Dtype::f16, cuda_device()));
  const auto bf16 = std::make_shared<Tensor>(Tensor::empty(shape, Dtype::bf16, cuda_device()));
  const int64_t bytes = x->bytes() + f16->bytes();
  return {text(*x) + ": to f16, to bf16 and back",
          [=] {
            to_half(*x, *f16);
            from_half(*f16, *x);
            to_half(*x, *bf16);
            from_half(*bf16, *x);
          },
          always({{"to_half_kernel", bytes},
                  {"from_half_kernel", bytes},
                  {"to_half_kernel", bytes},
                  {"from_half_kernel", bytes}})};
}

/// With the form that the CPU's engines have in one: a convolution's output, pooled.
KernelCase pooling(const Shape& shape) {
  const Pool2dDesc max = Pool2dDesc::make(PoolKind::max, shape, 2, 2, {2, 2, {}});
  const Pool2dDesc average = Pool2dDesc::make(PoolKind::average, shape, 2, 2, {2, 2, {}});
  const auto x = shared(shape), y = shared(max.output_shape());
  const auto choice = std::make_shared<Tensor>(Tensor::empty(max.output_shape(), Dtype::u8, cuda_device()));
  const int64_t both = x->bytes() + y->bytes();
  return {text(*x) + ", 2x2: maximum, its gradient, average, its gradient",
          [=] {
            Tensor none;
            pool2d_forward(max, *x, *y, *choice);
            pool2d_backward(max, *choice, *y, {}, *x);
            pool2d_forward(average, *x, *y, none);
            pool2d_backward(average, none, *y, {}, *x);
          },
          always({{"pool2d_forward_kernel", both + choice->bytes()},
                  {"pool2d_backward_apart_kernel", both + choice->bytes()},
                  {"pool2d_forward_kernel", both},
                  {"pool2d_backward_apart_kernel", both}})};
}

KernelCase overlapping_pool(const Shape& shape) {
  const Pool2dDesc max = Pool2dDesc::make(PoolKind::max, shape, 3, 3, {2, 2, {}});
  const auto x = shared(shape), y = shared(max.output_shape());
  const auto choice = std::make_shared<Tensor>(Tensor::empty(max.output_shape(), Dtype::u8, cuda_device()));
  return {text(*x) + ", 3x3 with stride 2: maximum, its gradient",
          [=] {
            pool2d_forward(max, *x, *y, *choice);
            pool2d_backward(max, *choice, *y, {}, *x);
          },
          // Pixels are in up to four windows.
          always({{"pool2d_forward_kernel", x->bytes() + y->bytes() + choice->bytes(), 0, {.bytes = 2.1}},
                  {"pool2d_backward_kernel", x->bytes() + y->bytes() + choice->bytes(), 0, {.bytes = 2.6}}})};
}

KernelCase closed_choice(int64_t extent, int64_t channels) {
  const Conv2dDesc desc = Conv2dDesc::make({1, extent, extent, channels}, {channels, 1, 1, channels}, {});
  const Tensor x = device_tensor(desc.input_shape()), weight = device_tensor(desc.weight_shape());
  const auto y = shared({1, extent / 2, extent / 2, channels});
  const auto route = std::make_shared<PoolRoute>(PoolRoute::make(desc, PoolKind::max, cuda_device()));
  return {fmt::format("1x1 {}x{}, {} -> {} with a pool", extent, extent, channels, channels),
          [=] { conv2d_pool2d_forward(desc, PoolKind::max, x, weight, {}, *y, route.get()); },
          always({{"gather_product_kernel", 2 * x.bytes() + weight.bytes(), 0, {.bytes = 10.0}},
                  {"pool2d_forward_kernel", x.bytes() + y->bytes() + y->count()},
                  {"close_choice_kernel", y->bytes() + y->count(), 0, {.sectors = 1.5}}})};
}

KernelCase padding(const Shape& shape) {
  const Padding pad = Padding::reflect(4);
  const auto x = shared(shape), y = shared(padded_shape(shape, pad));
  const int64_t both = x->bytes() + y->bytes();
  return {text(*x) + ": continued by 4, its gradient",
          [=] {
            pad_forward(*x, pad, *y);
            pad_backward(*y, pad, {}, *x);
          },
          // Pixels of the border are read again.
          always({{"pad_forward_kernel", both, 0, {.bytes = 1.4}}, {"pad_backward_kernel", both}})};
}

KernelCase upsampling(const Shape& shape) {
  const auto x = shared(shape), y = shared({shape[0], 2 * shape[1], 2 * shape[2], shape[3]});
  const int64_t both = x->bytes() + y->bytes();
  return {text(*x) + ": upsampled by 2, its gradient",
          [=] {
            upsample_nearest_forward(*x, 2, *y);
            upsample_nearest_backward(*y, 2, {}, *x);
          },
          always({{"upsample_forward_kernel", both}, {"upsample_backward_kernel", both}})};
}

KernelCase reductions(const Shape& shape) {
  const Tensor x = device_tensor(shape), y = device_tensor(shape), x16 = device_bf16(shape), y16 = device_bf16(shape);
  const Tensor number = Tensor::zeros({1}, Dtype::f64, cuda_device());
  const auto quotient = std::make_shared<Tensor>(number.clone()), gradient = shared(shape);
  const int64_t bytes = x.bytes();
  return {text(x) + ": sum, product with another, squares of three, distance with its gradient, dots of 2 with 1, of 2 of bf16 with 1, quotient of numbers",
          [=] {
            sum(x);
            dot(x, y);
            squared_norm_number(std::vector{x, y, x});
            squared_distance_and_gradient(x, y, 0.5, 1.0f, 1.0f, nullptr, *gradient);
            Tensor results = Tensor::empty({1, 2}, Dtype::f64, cuda_device());
            const Tensor both[2] = {x, y}, one[1] = {y};
            dots(both, one, results);
            const Tensor both16[2] = {x16, y16};
            dots(both16, one, results);
            cuda::divide(1.0, number.data<double>(), 1.0, quotient->data<double>());
          },
          [=](const std::vector<int64_t>& blocks) -> Launches {
            const auto sums = [&](size_t i) { return kDouble * (2 * blocks.at(i) + 2); };
            return {{"reduce_kernel", bytes + sums(0)},
                    {"reduce_kernel", 2 * bytes + sums(1)},
                    {"squared_norms_kernel", 3 * bytes + sums(2)},
                    {"reduce_kernel", 3 * bytes + sums(3)},
                    // Each row reads the other tensor.
                    {"products_kernel", 2 * bytes + sums(4), 0, {.bytes = 2.05}},
                    {"products_kernel", 2 * bytes + sums(5), 0, {.bytes = 1.55}},
                    {"divide_kernel", 2 * kDouble}};
          }};
}

KernelCase softmax(int64_t rows, int64_t length) {
  const auto x = shared({rows, length}), y = shared({rows, length});
  return {text(*x) + ": log(softmax), its gradient",
          [=] {
            log_softmax_forward(*x, *y);
            log_softmax_backward(*y, *x, {}, *y);
          },
          // Rows are read several times, from caches.
          always({{"log_softmax_forward_kernel", 2 * x->bytes(), 0, {.bytes = 2.05}},
                  {"log_softmax_backward_kernel", 3 * x->bytes(), 0, {.bytes = 1.4}}})};
}

}  // namespace

std::vector<std::function<KernelCase()>> other_cases(bool small) {
  const int64_t extent = small ? 16 : 64;
  const Shape map{1, extent, extent, 64};
  std::vector<std::function<KernelCase()>> cases = {
      [=] { return elementwise(map); },
      [=] { return per_channel(map); },
      [=] { return halves(map); },
      [=] { return pooling(map); },
      [=] { return overlapping_pool(map); },
      [=] { return closed_choice(small ? 8 : 16, 64); },
      [=] {
        return padding({1, extent, extent, 32});
      },
      [=] {
        return upsampling({1, extent / 2, extent / 2, 64});
      },
      [=] { return reductions(map); },
      [=] { return softmax(4, small ? 256 : 1000); },
  };
  if (!small) {
    for (const Shape& shape :
         {Shape{1, 32, 32, 128}, Shape{1, 16, 16, 256}, Shape{1, 8, 8, 512}, Shape{1, 4, 4, 512}}) {
      cases.push_back([=] { return pooling(shape); });
    }
  }
  return cases;
}

}  // namespace minidl::emulator
