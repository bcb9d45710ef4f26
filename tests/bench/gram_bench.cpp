#include <bench/measure.h>
#include <minidl/kernels/gram.h>
#include <support/masks.h>
#include <support/random_tensors.h>

namespace minidl {
namespace {

/// The features of a style layer of VGG-19 for a picture of 512 pixels.
struct Layer {
  Tensor features, gram;
  double products;  // of two channels at a position, all pairs

  explicit Layer(const benchmark::State& state)
      : features(test::random_uniform({1, state.range(0), state.range(0), state.range(1)}, 1)),
        gram(test::random_uniform({1, state.range(1), state.range(1)}, 2)),
        products(static_cast<double>(features.count() * state.range(1))) {}
};

void style_layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"side", "c", "threads"})->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2}) {
    bench->Args({512, 64, threads})
        ->Args({256, 128, threads})
        ->Args({128, 256, threads})
        ->Args({64, 512, threads})
        ->Args({32, 512, threads});
  }
}

/// Half of the products are computed: the matrix is symmetric.
void forward(benchmark::State& state) {
  Layer layer(state);
  bench::measure_against_peak(state, static_cast<int>(state.range(2)), layer.products,
                              [&] { gram_forward(layer.features, 1e-3f, layer.gram); });
}
BENCHMARK(forward)->Apply(style_layers);

/// As the tape calls it: added to a gradient, masked where the features, a ReLU's output, are not positive.
void backward(benchmark::State& state) {
  Layer layer(state);
  Tensor grad = Tensor::zeros(layer.features.shape());
  const BitMask mask = test::positive(layer.features);
  bench::measure_against_peak(state, static_cast<int>(state.range(2)), 2 * layer.products, [&] {
    gram_backward(layer.features, layer.gram, 1e-3f, {1.0f, &mask}, grad);
  });
}
BENCHMARK(backward)->Apply(style_layers);

}  // namespace
}  // namespace minidl
