#include <bench/measure.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/execution.h>
#include <support/masks.h>
#include <support/random_tensors.h>

namespace minidl {
namespace {

/// The precision that the engine named by MINIDL_CONV2D_ENGINE computes in.
void set_precision_of_named_engine() {
  for (const Conv2dEngine* engine : conv2d_engines()) {
    if (engine->name != execution::conv2d_engine()) continue;
    const double error = engine->error;
    execution::set_precision(error > 1e-3 ? Precision::bf16 : error > 1e-5 ? Precision::tf32 : Precision::fp32);
  }
}

/// One convolution: 3x3 with a border of zeros as in VGG-19 (a picture of 512 pixels), 9x9 with a reflected one as in
/// the first and last layer of the transform net, 3x3 with stride 2 as in its second, 1x1.
struct Layer {
  Conv2dDesc desc;
  Tensor input, weight, bias, output;

  explicit Layer(const benchmark::State& state)
      : desc(Conv2dDesc::make({1, state.range(0), state.range(0), state.range(1)},
                              {state.range(2), state.range(4), state.range(4), state.range(1)},
                              {state.range(5), state.range(5),
                               state.range(4) == 9 ? Padding::reflect(4) : Padding::zero(state.range(4) / 2)})),
        input(test::random_uniform(desc.input_shape(), 1)),
        weight(test::random_uniform(desc.weight_shape(), 2)),
        bias(test::random_uniform({desc.out_c}, 3)),
        output(test::random_uniform(desc.output_shape(), 4)) {
    set_precision_of_named_engine();
  }
};

void layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"side", "in", "out", "threads", "kernel", "stride"});
  bench->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2}) {
    bench->Args({512, 3, 64, threads, 3, 1})
        ->Args({512, 64, 64, threads, 3, 1})
        ->Args({256, 64, 128, threads, 3, 1})
        ->Args({256, 128, 128, threads, 3, 1});
    bench->Args({128, 128, 256, threads, 3, 1})
        ->Args({128, 256, 256, threads, 3, 1})
        ->Args({64, 256, 512, threads, 3, 1})
        ->Args({64, 512, 512, threads, 3, 1});
    bench->Args({32, 512, 512, threads, 3, 1});
    for (const int side : {256, 512}) bench->Args({side, 3, 32, threads, 9, 1})->Args({side, 32, 3, threads, 9, 1});
    bench->Args({512, 32, 64, threads, 3, 2})->Args({256, 64, 128, threads, 3, 2});
    bench->Args({512, 32, 32, threads, 9, 1})->Args({512, 64, 64, threads, 1, 1})->Args({64, 512, 512, threads, 1, 1});
  }
}

void forward(benchmark::State& state) {
  Layer layer(state);
  bench::measure_against_peak(state, static_cast<int>(state.range(3)), layer.desc.flops(), [&] {
    conv2d_forward(layer.desc, layer.input, layer.weight, layer.bias, Activation::relu, layer.output);
  });
}
BENCHMARK(forward)->Apply(layers);

void backward_data(benchmark::State& state) {
  Layer layer(state);
  Tensor grad_input = Tensor::zeros(layer.desc.input_shape());
  const BitMask mask = test::positive(layer.input);
  bench::measure_against_peak(state, static_cast<int>(state.range(3)), layer.desc.flops(), [&] {
    conv2d_backward_data(layer.desc, layer.weight, layer.output, {0.0f, &mask}, grad_input);
  });
}
BENCHMARK(backward_data)->Apply(layers);

void backward_weight(benchmark::State& state) {
  Layer layer(state);
  Tensor grad_weight = Tensor::zeros(layer.desc.weight_shape());
  bench::measure_against_peak(state, static_cast<int>(state.range(3)), layer.desc.flops(), [&] {
    conv2d_backward_weight(layer.desc, layer.input, layer.output, 0.0f, grad_weight);
  });
}
BENCHMARK(backward_weight)->Apply(layers);

}  // namespace
}  // namespace minidl
