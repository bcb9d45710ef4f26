#include <bench/measure.h>
#include <minidl/kernels/pool2d.h>
#include <support/masks.h>
#include <support/random_tensors.h>

namespace minidl {
namespace {

/// One 2x2 pooling of VGG-19 for a picture of 512 pixels.
struct Layer {
  Pool2dDesc desc;
  Tensor input, output, choice;

  explicit Layer(const benchmark::State& state)
      : desc(Pool2dDesc::make(static_cast<PoolKind>(state.range(2)),
                              {1, state.range(0), state.range(0), state.range(1)}, 2, 2, {2, 2, {}})),
        input(test::random_uniform(desc.input_shape(), 1)),
        output(test::random_uniform(desc.output_shape(), 2)) {
    if (desc.kind == PoolKind::max) choice = Tensor::zeros(desc.output_shape(), Dtype::u8);
  }
  /// Of both pictures, read or written once.
  double bytes() const { return static_cast<double>(input.bytes() + output.bytes() + (choice ? choice.bytes() : 0)); }
};

void vgg_layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"side", "c", "average", "threads"})->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2}) {
    for (const int average : {0, 1}) {
      bench->Args({512, 64, average, threads})
          ->Args({256, 128, average, threads})
          ->Args({128, 256, average, threads})
          ->Args({64, 512, average, threads});
    }
  }
}

void forward(benchmark::State& state) {
  Layer layer(state);
  bench::measure_against_copy(state, static_cast<int>(state.range(3)), layer.bytes(),
                              [&] { pool2d_forward(layer.desc, layer.input, layer.output, layer.choice); });
}
BENCHMARK(forward)->Apply(vgg_layers);

/// With the mask of the ReLU before the pooling, whose traffic counts, too.
void backward(benchmark::State& state) {
  Layer layer(state);
  pool2d_forward(layer.desc, layer.input, layer.output, layer.choice);
  Tensor grad_input = Tensor::zeros(layer.desc.input_shape());
  const BitMask mask = test::positive(layer.input);
  bench::measure_against_copy(state, static_cast<int>(state.range(3)),
                              layer.bytes() + static_cast<double>(BitMask::bytes(grad_input.shape())), [&] {
                                pool2d_backward(layer.desc, layer.choice, layer.output, {0.0f, &mask}, grad_input);
                              });
}
BENCHMARK(backward)->Apply(vgg_layers);

}  // namespace
}  // namespace minidl
