#include <minidl/core/allocator.h>
#include <minidl/layers/init.h>
#include <minidl/layers/transform_net.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/sanitizer.h>
#include <support/threads.h>

namespace minidl::layers {
namespace {

using test::normalised_error;
using test::random_uniform;
using test::throws_error;

Tensor picture(int64_t h, int64_t w) {
  return random_uniform({1, h, w, 3}, 1, 0.0f, 255.0f);
}

/// In evaluation mode, with norms that do something other than nothing.
TransformNet net_of(const TransformNetOptions& options) {
  seed(3);
  TransformNet net(options);
  net.freeze().train(false);
  SafetensorsContent state = net.state();
  uint64_t number = 100;
  for (auto& [name, tensor] : state.tensors) {
    if (tensor.shape().rank() > 2 || name.ends_with("conv2d.bias")) continue;
    const bool around_one = name.ends_with(".weight") || name.ends_with(".running_var");
    tensor = random_uniform(tensor.shape(), ++number, around_one ? 0.6f : -0.4f, around_one ? 1.4f : 0.4f);
  }
  net.load_state(state);
  return net;
}

const std::pair<int64_t, int64_t> kSizes[] = {{1, 1}, {2, 3}, {5, 7}, {17, 30}, {61, 83}};

/// For every size and for strips of several heights.
void expect_plain_pass(TransformNet& net) {
  for (const auto& [h, w] : kSizes) {
    const Tensor input = picture(h, w), plain = net(Variable(input)).value();
    for (const int64_t rows : {1, 16, 64}) {
      const Tensor output = net.apply_in_strips(input, {.rows = rows});
      ASSERT_EQ(output.shape(), input.shape());
      // Of a few pixels that upsampling makes all alike, normalisation multiplies the roundings by 1 / sqrt(eps).
      const double bound = h <= 5 ? 2e-2 : 1e-5;
      EXPECT_LE(normalised_error(output, plain), bound) << h << " x " << w << " in strips of " << rows;
    }
  }
}

TEST(TransformNetStrips, EqualThePlainPassForEveryKind) {
  for (const UpsampleKind upsample : {UpsampleKind::nearest, UpsampleKind::fractional}) {
    for (const Padding::Mode padding : {Padding::Mode::reflect, Padding::Mode::zero, Padding::Mode::replicate}) {
      for (const NormKind norm : {NormKind::instance, NormKind::batch}) {
        SCOPED_TRACE(testing::Message() << (upsample == UpsampleKind::nearest ? "nearest" : "fractional") << " padding "
                                        << static_cast<int>(padding)
                                        << (norm == NormKind::batch ? " batch" : " instance"));
        TransformNet net =
            net_of({.width = 8, .residual_blocks = 1, .upsample = upsample, .padding = padding, .norm = norm});
        expect_plain_pass(net);
      }
    }
  }
}

TEST(TransformNetStrips, EqualThePlainPassForEveryOutputAndDepth) {
  for (const int64_t blocks : {0, 3}) {
    TransformNet net = net_of({.width = 8, .residual_blocks = blocks, .output_range = OutputRange::tanh});
    expect_plain_pass(net);
  }
}

TEST(TransformNetStrips, EqualThePlainPassForStylesAndMixes) {
  TransformNet net = net_of({.width = 8, .residual_blocks = 1, .styles = 3});
  expect_plain_pass(net);
  net.select_style(std::vector<float>{0.5f, 0.25f, 0.25f});
  expect_plain_pass(net);
  net.select_styles(Tensor::from(std::vector<float>{0.0f, 0.3f, 0.7f}, {1, 3}));
  expect_plain_pass(net);
}

TEST(TransformNetStrips, HalvesAreClose) {
  TransformNet net = net_of({.width = 16, .residual_blocks = 2});
  const Tensor input = picture(61, 83), plain = net(Variable(input)).value();
  const Tensor output = net.apply_in_strips(input, {.rows = 16, .storage = Dtype::f16});
  EXPECT_LE(normalised_error(output, plain), 3e-3);
  EXPECT_GT(normalised_error(output, plain), 1e-6) << "nothing was rounded";
}

TEST(TransformNetStrips, TheBytesDoNotDependOnThreads) {
  const TransformNet net = net_of({.width = 8, .residual_blocks = 1});
  const Tensor input = picture(150, 61);
  EXPECT_TRUE(test::same_for_all_threads([&] { return net.apply_in_strips(input, {.rows = 16}); }));
}

TEST(TransformNetStrips, TheMemoryIsThatOfTheFormula) {
  if (test::kUnderSanitizer) GTEST_SKIP() << "counts memory, of which there is as much without a sanitizer";
  Allocator& memory = allocator(Device::cpu());
  const auto peak = [&](const std::function<Tensor()>& work) {
    const int64_t before = memory.stats().in_use;
    memory.reset_peak();
    work();
    return memory.stats().peak_in_use - before;
  };
  const test::WithThreads two(2);
  TransformNet net = net_of({.width = 32, .residual_blocks = 1});
  net(Variable(picture(8, 8))), net(Variable(picture(8, 8)));  // filters are kept now
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{521, 230}, {132, 1025}}) {
    const Tensor input = picture(h, w);
    const int64_t workspace = 6 << 20;  // of the convolutions of two threads
    for (const StripOptions& options : {StripOptions{16, Dtype::f32}, {32, Dtype::f32}, {32, Dtype::f16}}) {
      const int64_t bound = net.bytes_in_strips(h, w, options);
      const int64_t taken = peak([&] { return net.apply_in_strips(input, options); });
      EXPECT_LE(taken, bound + workspace) << h << " x " << w << ", " << options.rows << " rows";
      EXPECT_GE(taken, bound / 2) << h << " x " << w << ", " << options.rows << " rows";
    }
    const int64_t taken = peak([&] { return net(Variable(input)).value(); });
    EXPECT_LE(taken, net.bytes_in_one_pass(h, w) + workspace) << h << " x " << w;
    EXPECT_GE(taken, net.bytes_in_one_pass(h, w) * 9 / 10) << h << " x " << w;
  }
  // The largest picture that is promised: with its own 576 MB less than 5 GB.
  const int64_t largest = TransformNet({.width = 32}).bytes_in_strips(6000, 8000);
  EXPECT_LE(largest + int64_t{6000} * 8000 * 3 * 4, int64_t{5'000'000'000});
}

TEST(TransformNetStrips, RefuseWhatTheyAreNotMadeFor) {
  const TransformNet net = net_of({.width = 8, .residual_blocks = 0});
  EXPECT_TRUE(throws_error([&] { net.apply_in_strips(picture(4, 4), {.rows = 0}); }, "strips have 0 rows of f32"));
  EXPECT_TRUE(throws_error([&] { net.apply_in_strips(picture(4, 4), {.storage = Dtype::bf16}); }, "rows of bf16"));
  EXPECT_TRUE(throws_error([&] { net.apply_in_strips(Tensor::zeros({2, 4, 4, 3})); }, "one picture at a time"));
  EXPECT_TRUE(throws_error([&] { net.apply_in_strips(Tensor::zeros({1, 4, 4, 1})); }, "must be pictures"));
}

}  // namespace
}  // namespace minidl::layers
