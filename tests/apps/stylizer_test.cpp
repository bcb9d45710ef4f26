#include <minidl/apps/color_transfer.h>
#include <minidl/apps/stylizer.h>
#include <minidl/core/allocator.h>
#include <minidl/core/profile.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/execution.h>
#include <minidl/kernels/pad.h>
#include <support/compare.h>
#include <support/sanitizer.h>
#include <support/small_gatys.h>
#include <support/small_transform_net.h>
#include <support/test_data.h>
#include <support/threads.h>

namespace minidl {
namespace {

using test::normalised_error;
using test::same_bytes;
using test::small_transform_net;
using test::throws_error;
using test::wavy_picture;

Tensor net_picture(const Tensor& picture) {
  layers::TransformNet net = small_transform_net();
  Tensor output = net(Variable(picture)).value();
  clamp(output, 0.0f, 255.0f);
  return output;
}

TEST(Stylizer, GivesTheNetsPictureInTheRangeOfPictures) {
  const Tensor picture = wavy_picture(37, 50, 2);
  Stylizer stylizer(small_transform_net());
  EXPECT_TRUE(same_bytes(stylizer(picture), net_picture(picture)));
  // The net alone does leave the range, and there is something to see.
  layers::TransformNet net = small_transform_net();
  const Tensor raw = net(Variable(picture)).value();
  EXPECT_GT(normalised_error(raw, net_picture(picture)), 1e-3);
  EXPECT_GT(normalised_error(stylizer(picture), picture), 0.05);
}

TEST(Stylizer, ResizesFirst) {
  const Tensor picture = wavy_picture(40, 60, 2);
  Stylizer stylizer(small_transform_net(), {.size = 33});
  const Tensor output = stylizer(picture);
  EXPECT_EQ(output.shape(), (Shape{1, 22, 33, 3}));
  EXPECT_TRUE(same_bytes(output, net_picture(resize_image(picture, 22, 33))));
}

/// In one pass and in strips, of pictures larger and smaller than the margin.
TEST(Stylizer, PaintsWithAMarginThatIsCutOff) {
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{37, 50}, {5, 9}}) {
    const Tensor picture = wavy_picture(h, w, 2);
    Tensor continued = Tensor::empty({1, h + 16, w + 16, 3});
    pad_forward(picture, Padding::reflect(8), continued);
    const Tensor painted = net_picture(continued);
    const Tensor output = Stylizer(small_transform_net(), {.margin = 8})(picture);
    ASSERT_EQ(output.shape(), picture.shape());
    for (int64_t i = 0; i < output.count(); ++i) {
      const int64_t row = i / (3 * w) + 8, at = i % (3 * w) + 24;
      ASSERT_EQ(output.span<float>()[i], painted.span<float>()[row * 3 * (w + 16) + at]) << i;
    }
    const Tensor in_strips = Stylizer(small_transform_net(), {.storage = Dtype::f32, .margin = 8})(picture);
    EXPECT_LT(normalised_error(in_strips, output), 1e-5);
  }
  EXPECT_TRUE(throws_error([] { Stylizer(small_transform_net(), {.margin = -1}); }, "margin is -1"));
}

TEST(Stylizer, MixesWithThePictureByStrength) {
  const Tensor picture = wavy_picture(20, 24, 2), painted = net_picture(picture);
  EXPECT_TRUE(same_bytes(Stylizer(small_transform_net(), {.strength = 0.0})(picture), picture));
  const Tensor mixed = Stylizer(small_transform_net(), {.strength = 0.25})(picture);
  for (int64_t i = 0; i < mixed.count(); ++i) {
    const auto at = static_cast<size_t>(i);
    ASSERT_NEAR(mixed.span<float>()[at], 0.25f * painted.span<float>()[at] + 0.75f * picture.span<float>()[at], 1e-3);
  }
}

TEST(Stylizer, KeepsThePicturesColours) {
  const Tensor picture = wavy_picture(20, 24, 2);
  const Tensor output = Stylizer(small_transform_net(), {.original_colors = true})(picture);
  EXPECT_TRUE(same_bytes(output, keep_luminance(net_picture(picture), picture)));
}

TEST(Stylizer, TakesStylesAndMixes) {
  const Tensor picture = wavy_picture(20, 24, 2);
  const auto painted = [&](std::vector<float> shares) {
    return Stylizer(small_transform_net({.styles = 3}), {.styles = std::move(shares)})(picture);
  };
  EXPECT_TRUE(same_bytes(painted({}), painted({1, 0, 0})));
  EXPECT_GT(normalised_error(painted({1, 0, 0}), painted({0, 0, 1})), 1e-2);
  layers::TransformNet net = small_transform_net({.styles = 3});
  net.select_style(std::vector<float>{0.5f, 0.0f, 0.5f});
  Tensor expected = net(Variable(picture)).value();
  clamp(expected, 0.0f, 255.0f);
  EXPECT_TRUE(same_bytes(painted({0.5f, 0.0f, 0.5f}), expected));
}

TEST(Stylizer, GoesInStripsAndThenInHalvesWhenMemoryIsShort) {
  const Tensor picture = wavy_picture(1200, 64, 2), expected = net_picture(picture);
  const auto with = [&](int64_t max_memory) { return Stylizer(small_transform_net(), {.max_memory = max_memory}); };
  Stylizer free = with(0);
  const StylizerPlan one_pass = free.plan(1200, 64);
  EXPECT_FALSE(one_pass.in_strips);
  Stylizer strips(small_transform_net(), {.storage = Dtype::f32}),
      halves(small_transform_net(), {.storage = Dtype::f16});
  const StylizerPlan in_strips = strips.plan(1200, 64), in_halves = halves.plan(1200, 64);
  EXPECT_TRUE(in_strips.in_strips);
  EXPECT_LT(in_strips.memory_bytes, one_pass.memory_bytes);
  EXPECT_LT(in_halves.memory_bytes, in_strips.memory_bytes);
  EXPECT_LE(normalised_error(strips(picture), expected), 1e-5);
  EXPECT_LE(normalised_error(halves(picture), expected), 1e-2);
  EXPECT_GT(normalised_error(halves(picture), expected), 1e-6);

  EXPECT_FALSE(with(one_pass.memory_bytes).plan(1200, 64).in_strips);
  EXPECT_TRUE(with(in_strips.memory_bytes).plan(1200, 64).in_strips);
  EXPECT_EQ(with(in_strips.memory_bytes).plan(1200, 64).storage, Dtype::f32);
  const int64_t less = in_strips.memory_bytes - 1;
  EXPECT_TRUE(with(less).plan(1200, 64).in_strips);
  EXPECT_EQ(with(less).plan(1200, 64).storage, Dtype::f16);
  EXPECT_TRUE(throws_error([&] { with(in_halves.memory_bytes - 1)(picture); }, "64 x 1200 pixels take"));
  EXPECT_TRUE(throws_error([&] { with(1 << 20)(picture); }, "the limit is 1048576; choose a smaller size"));
  // Without a limit large pictures go in strips.
  EXPECT_TRUE(Stylizer(layers::TransformNet()).plan(6000, 8000).in_strips);
  EXPECT_EQ(Stylizer(layers::TransformNet()).plan(6000, 8000).storage, Dtype::f32);
  EXPECT_FALSE(Stylizer(layers::TransformNet()).plan(1080, 1920).in_strips);
}

TEST(Stylizer, TakesNoMemoryForMoreFramesOfOneSize) {
  Allocator& memory = allocator(Device::cpu());
  const test::WithThreads one(1);  // or the blocks of several threads come in another order each time
  for (const std::optional<Dtype> storage : {std::optional<Dtype>(), std::optional<Dtype>(Dtype::f32)}) {
    memory.release_cached();
    Stylizer stylizer(small_transform_net(), {.strength = 0.5, .original_colors = true, .storage = storage});
    std::vector<Tensor> frames;
    for (int frame = 0; frame < 6; ++frame) frames.push_back(wavy_picture(90, 130, frame));
    const Tensor painted = stylizer(frames[0]);
    stylizer(frames[1]);  // filters that are used a second time are kept
    const int64_t held = memory.stats().held, in_use = memory.stats().in_use;
    for (const Tensor& frame : frames) {
      stylizer(frame);
      EXPECT_EQ(memory.stats().held, held) << "the system was asked for memory";
      EXPECT_EQ(memory.stats().in_use, in_use);
    }
    EXPECT_TRUE(same_bytes(stylizer(frames[0]), painted));
  }
}

/// Times that filters were transformed since the profile was cleared.
int64_t filters_made() {
  int64_t calls = 0;
  for (const Profile::Row& row : Profile::rows()) calls += row.name == "filters" ? row.calls : 0;
  return calls;
}

TEST(Stylizer, TransformsNoFiltersForMoreFrames) {
  const int64_t before = execution::filter_cache();
  Profile::enable(true);
  for (const std::optional<Dtype> storage : {std::optional<Dtype>(), std::optional<Dtype>(Dtype::f32)}) {
    Profile::clear();
    Stylizer stylizer(layers::TransformNet({.width = 64}), {.storage = storage});  // the largest there is
    const Tensor frame = wavy_picture(24, 24, 1);
    stylizer(frame), stylizer(frame);
    const int64_t made = filters_made();
    EXPECT_GE(made, 10) << "the convolutions of the residual blocks";
    stylizer(frame), stylizer(frame);
    EXPECT_EQ(filters_made(), made);
  }
  Profile::enable(false);
  execution::set_filter_cache(before);
}

TEST(Stylizer, TakesNoMoreMemoryThanPlanned) {
  if (test::kUnderSanitizer) GTEST_SKIP() << "counts memory, of which there is as much without a sanitizer";
  Allocator& memory = allocator(Device::cpu());
  const test::WithThreads two(2);
  for (const std::optional<Dtype> storage : {std::optional<Dtype>(), std::optional<Dtype>(Dtype::f16)}) {
    for (const int64_t size : {0, 200}) {
      const int64_t before = memory.stats().in_use;
      Stylizer stylizer(layers::TransformNet({.width = 32, .residual_blocks = 1}),
                        {.size = size, .strength = 0.5, .original_colors = true, .storage = storage});
      const Tensor picture = wavy_picture(300, 260, 1);
      stylizer(picture);  // filters are kept from the second time on
      memory.reset_peak();
      stylizer(picture);
      const int64_t taken = memory.stats().peak_in_use - before, planned = stylizer.plan(300, 260).memory_bytes;
      EXPECT_LE(taken, planned) << size;
      EXPECT_GE(taken, planned / 4) << size;
    }
  }
}

TEST(Stylizer, RefusesSettingsOutOfRange) {
  const auto made = [](StylizerSettings settings) {
    return [settings] { Stylizer(small_transform_net({.styles = 2}), settings); };
  };
  EXPECT_TRUE(throws_error(made({.size = -1}), "size is -1"));
  EXPECT_TRUE(throws_error(made({.strength = 1.5}), "strength is 1.5, it must be 0 to 1"));
  EXPECT_TRUE(throws_error(made({.styles = {1.0f}}), "1 shares are given, the net has 2 styles"));
  EXPECT_TRUE(throws_error(made({.styles = {1.0f, 0.5f}}), "add up to 1.5"));
  EXPECT_TRUE(throws_error(made({.max_memory = -1}), "max_memory is -1"));
  EXPECT_TRUE(throws_error(made({.storage = Dtype::u8}), "storage is u8"));
  Stylizer stylizer(small_transform_net());
  EXPECT_TRUE(throws_error([&] { stylizer(Tensor::zeros({1, 4, 4, 1})); }, "the picture must be [1,h,w,3]"));
}

TEST(Stylizer, EqualsPytorchsPicture) {
  const auto model = test::test_data("reference/mosaic_nc16.safetensors");
  const auto step = test::test_data("reference/train_step_mosaic_nc16.safetensors");
  if (model.empty() || step.empty()) GTEST_SKIP() << test::kNoTestData;
  const SafetensorsReader reader(step);
  const Tensor inputs = to_channels_last(reader.read("input")), outputs = to_channels_last(reader.read("output"));
  for (const std::optional<Dtype> storage : {std::optional<Dtype>(), std::optional<Dtype>(Dtype::f32)}) {
    Stylizer stylizer(layers::TransformNet::load(model), {.storage = storage});
    for (int64_t i = 0; i < inputs.shape()[0]; ++i) {
      const Tensor painted = stylizer(inputs.slice(i, i + 1)), expected = outputs.slice(i, i + 1);
      for (size_t j = 0; j < static_cast<size_t>(painted.count()); ++j) {
        ASSERT_NEAR(painted.span<float>()[j], std::clamp(expected.span<float>()[j], 0.0f, 255.0f), 0.01);
      }
    }
  }
}

}  // namespace
}  // namespace minidl
