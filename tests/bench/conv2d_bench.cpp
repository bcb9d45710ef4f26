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
    if (engine->name == execution::conv2d_engine()) execution::set_precision(engine->grade);
  }
}

/// One convolution: 3x3 with a border of zeros as in VGG-19 (one picture of 512 pixels) or 1x1, or with a reflected
/// border as in the transform net (9x9 in its first and last layer, batches of 4 pictures of 256 pixels in training).
struct Layer {
  Conv2dDesc desc;
  Tensor input, weight, bias, output;

  explicit Layer(const benchmark::State& state)
      : desc(describe(state.range(0), state.range(1), state.range(2), state.range(4), state.range(5), state.range(6))),
        input(test::random_uniform(desc.input_shape(), 1)),
        weight(test::random_uniform(desc.weight_shape(), 2)),
        bias(test::random_uniform({desc.out_c}, 3)),
        output(test::random_uniform(desc.output_shape(), 4)) {
    set_precision_of_named_engine();
  }

 private:
  static Conv2dDesc describe(int64_t side, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t batch) {
    const bool reflects = kernel == 9 || batch > 1;
    return Conv2dDesc::make({batch, side, side, in}, {out, kernel, kernel, in},
                            {stride, stride, reflects ? Padding::reflect(kernel / 2) : Padding::zero(kernel / 2)});
  }
};

const std::vector<std::string> kNames = {"side", "in", "out", "threads", "kernel", "stride", "batch"};

void layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames(kNames)->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2}) {
    const auto add = [&](int side, int in, int out, int kernel, int stride = 1) {
      bench->Args({side, in, out, threads, kernel, stride, 1});
    };
    add(512, 3, 64, 3), add(512, 64, 64, 3), add(256, 64, 128, 3), add(256, 128, 128, 3);
    add(128, 128, 256, 3), add(128, 256, 256, 3), add(64, 256, 512, 3), add(64, 512, 512, 3);
    add(32, 512, 512, 3);
    for (const int side : {256, 512}) add(side, 3, 32, 9), add(side, 32, 3, 9);
    add(512, 32, 64, 3, 2), add(256, 64, 128, 3, 2), add(512, 32, 32, 9), add(512, 64, 64, 1), add(64, 512, 512, 1);
  }
}

/// The transform net in training, 32 channels wide and 16.
void training_layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames(kNames)->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2}) {
    const auto add = [&](int side, int in, int out, int kernel, int stride) {
      bench->Args({side, in, out, threads, kernel, stride, 4});
    };
    for (const int width : {32, 16}) {
      add(256, 3, width, 9, 1), add(256, width, 2 * width, 3, 2), add(128, 2 * width, 4 * width, 3, 2);
      add(64, 4 * width, 4 * width, 3, 1);
      add(128, 4 * width, 2 * width, 3, 1), add(256, 2 * width, width, 3, 1), add(256, width, 3, 9, 1);
    }
  }
}

void forward(benchmark::State& state) {
  Layer layer(state);
  bench::measure_against_peak(state, static_cast<int>(state.range(3)), layer.desc.flops(), [&] {
    conv2d_forward(layer.desc, layer.input, layer.weight, layer.bias, Activation::relu, layer.output);
  });
}
BENCHMARK(forward)->Apply(layers)->Apply(training_layers);

void backward_data(benchmark::State& state) {
  Layer layer(state);
  Tensor grad_input = Tensor::zeros(layer.desc.input_shape());
  const BitMask mask = test::positive(layer.input);
  bench::measure_against_peak(state, static_cast<int>(state.range(3)), layer.desc.flops(), [&] {
    conv2d_backward_data(layer.desc, layer.weight, layer.output, {0.0f, &mask}, grad_input);
  });
}
BENCHMARK(backward_data)->Apply(layers)->Apply(training_layers);

void backward_weight(benchmark::State& state) {
  Layer layer(state);
  Tensor grad_weight = Tensor::zeros(layer.desc.weight_shape());
  bench::measure_against_peak(state, static_cast<int>(state.range(3)), layer.desc.flops(), [&] {
    conv2d_backward_weight(layer.desc, layer.input, layer.output, 0.0f, grad_weight);
  });
}
BENCHMARK(backward_weight)->Apply(layers)->Apply(training_layers);

}  // namespace
}  // namespace minidl
