// Steps of optimisers, and what losses and L-BFGS do to the picture itself.
#include <emulator/case_tensors.h>
#include <fmt/format.h>
#include <minidl/kernels/adam_update.h>
#include <minidl/kernels/curvature_pair.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/lbfgs_loops.h>
#include <minidl/kernels/smooth.h>
#include <minidl/kernels/total_variation.h>

#include <memory>

namespace minidl::emulator {
namespace {

/// A sum of L-BFGS, a step of Adam and of SGD.
KernelCase updates(const Shape& shape) {
  const auto x = shared(shape), first = shared(shape), second = shared(shape), parameter = shared(shape);
  const Tensor x16 = device_bf16(shape), y16 = device_bf16(shape), z16 = device_bf16(shape);
  second->fill(1.0f);
  const Tensor a = Tensor::zeros({3}, Dtype::f64, cuda_device());
  const int64_t bytes = x->bytes();
  return {text(*x) + ": x + a sum of 3, of 3 of bf16, Adam, SGD",
          [=] {
            const Tensor terms[3] = {*x, *first, *second};
            combination(1.0f, *parameter, a, terms, *parameter);
            const Tensor terms16[3] = {x16, y16, z16};
            combination(1.0f, *parameter, a, terms16, *parameter);
            adam_update({}, 1, *x, *first, *second, *parameter);
            sgd_update(0.1f, 0.9f, 0.0f, *x, *first, *parameter);
          },
          [=](const std::vector<int64_t>&) -> Launches {
            return {{"combination_kernel", 5 * bytes},
                    {"combination_kernel", 2 * bytes + 3 * bytes / 2},
                    {"adam_update_kernel", 7 * bytes},
                    {"sgd_update_kernel", 5 * bytes}};
          }};
}

/// A point of L-BFGS's line search, with pairs kept as f32 and as bf16.
KernelCase curvature_pairs(const Shape& shape) {
  const auto x = shared(shape), s = shared(shape), y = shared(shape);
  const auto s16 = std::make_shared<Tensor>(device_bf16(shape)), y16 = std::make_shared<Tensor>(device_bf16(shape));
  const auto products = std::make_shared<Tensor>(Tensor::zeros({kPairProducts}, Dtype::f64, cuda_device()));
  const int64_t bytes = x->bytes();
  return {text(*x) + ": curvature pair, of bf16",
          [=] {
            Tensor none;
            curvature_pair({*x, *x, *x, *x, *x}, *s, *y, none, *products);
            curvature_pair({*x, *x, *x, *x, *x}, *s16, *y16, *y, *products);
          },
          [=](const std::vector<int64_t>& blocks) -> Launches {
            const auto sums = [&](size_t i) { return kDouble * kPairProducts * (2 * blocks.at(i) + 1); };
            return {{"curvature_pair_kernel", 7 * bytes + sums(0)}, {"curvature_pair_kernel", 7 * bytes + sums(1)}};
          }};
}

/// A direction of L-BFGS from this many pairs of bf16.
KernelCase lbfgs_direction(const Shape& shape, int64_t pairs) {
  const auto columns = std::make_shared<Tensor>(Tensor::zeros({pairs, pairs}, Dtype::f64, cuda_device()));
  const auto a = std::make_shared<Tensor>(Tensor::zeros({pairs}, Dtype::f64, cuda_device()));
  const auto b = std::make_shared<Tensor>(Tensor::zeros({pairs}, Dtype::f64, cuda_device()));
  const auto products = std::make_shared<Tensor>(Tensor::zeros({2}, Dtype::f64, cuda_device()));
  const auto x = shared(shape), y = shared(shape), direction = shared(shape), position = shared(shape);
  const std::vector<Tensor> vectors(static_cast<size_t>(pairs), device_bf16(shape));
  const int64_t triangle = kDouble * pairs * (pairs + 1) / 2, vector = kDouble * pairs, bytes = x->bytes(),
                all = pairs * bytes / 2;
  return {fmt::format("{}: both loops of L-BFGS with {} pairs of bf16, the direction", text(*x), pairs),
          [=] {
            lbfgs_first_loop(vectors, *x, *y, *columns, *a);
            lbfgs_second_loop(vectors, *x, *columns, *a, *b);
            minidl::lbfgs_direction(*direction, *b, vectors, {*x, *y, *direction, *position, *products});
          },
          [=](const std::vector<int64_t>& blocks) -> Launches {
            const auto sums = [&](size_t i) { return kDouble * (2 * blocks.at(i)); };
            // Each product reads both of its vectors, the f32 one from the cache. The second loop reads rows of the
            // matrix, which lie apart.
            return {{"products_kernel", all + 2 * bytes + sums(0) + triangle + 6 * vector, 0,
                     {.sectors = 1.5, .bytes = 6.0}},
                    {"products_kernel", all + bytes + sums(1) + triangle + 4 * vector, 0, {.sectors = 1.5, .bytes = 3.1}},
                    {"direction_kernel", all + 5 * bytes + 2 * sums(2) + blocks.at(2) * vector, 0, {.sectors = 1.2}}};
          }};
}

/// What losses and L-BFGS do to the picture itself.
KernelCase pictures(int64_t extent) {
  const auto x = shared({1, extent, extent, 3}), y = shared({1, extent, extent, 3});
  const auto product = std::make_shared<Tensor>(Tensor::zeros({1}, Dtype::f64, cuda_device()));
  const int64_t bytes = x->bytes();
  return {text(*x) + ": total variation, its gradient, both, smoothing over 9x9, its product",
          [=] {
            total_variation(*x);
            total_variation_backward(*x, 1.0f, {1.0f}, *y);
            total_variation_and_gradient(*x, false, 1.0, 1.0f, *y);
            smooth(*x, 30.0f, 9, 1.0f, *y);
            smooth_product(*x, 30.0f, 9, *product);
          },
          [=](const std::vector<int64_t>& blocks) -> Launches {
            const auto sums = [&](size_t i) { return kDouble * (2 * blocks.at(i) + 1); };
            // Neighbours come from caches.
            return {{"reduce_kernel", bytes + sums(0), 0, {.sectors = 1.3, .bytes = 3.05}},
                    {"map_kernel", 3 * bytes, 0, {.sectors = 1.15, .bytes = 2.4}},
                    {"reduce_kernel", 2 * bytes + sums(2), 0, {.sectors = 1.3, .bytes = 6.0}},
                    {"column_means_kernel", 2 * bytes, 0, {.bytes = 9.0}},
                    {"smooth_kernel", 3 * bytes, 0, {.sectors = 1.3, .bytes = 7.0}},
                    {"column_means_kernel", 2 * bytes, 0, {.bytes = 9.0}},
                    {"reduce_kernel", 2 * bytes + sums(6), 0, {.sectors = 1.4, .bytes = 11.0}}};
          }};
}

}  // namespace

std::vector<std::function<KernelCase()>> optimizer_cases(bool small) {
  const int64_t extent = small ? 16 : 64;
  const Shape map{1, extent, extent, 64};
  return {[=] { return updates(map); }, [=] { return curvature_pairs(map); },
          [=] { return lbfgs_direction({1, extent, extent, 3}, small ? 20 : 60); },
          [=] { return pictures(extent); }};
}

}  // namespace minidl::emulator
