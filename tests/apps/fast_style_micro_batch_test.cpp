// A batch that is trained in parts.
#include <minidl/core/allocator.h>
#include <support/compare.h>
#include <support/sanitizer.h>
#include <support/small_fast_style.h>

namespace minidl::test {
namespace {

class MicroBatches : public ::testing::Test {
 protected:
  layers::Vgg network_{small_vgg()};
};

// Gradients of parts add up to that of the batch, and so do the losses, also those measured against the whole batch.
TEST_F(MicroBatches, AddUp) {
  for (const LossForm form : {LossForm::paper, LossForm::mean, LossForm::relative}) {
    FastStyleSettings settings = small_fast_settings();
    settings.form = form;
    settings.steps = 1;
    settings.batch = 5;
    FastStyleData data = small_fast_data();
    data.photos = [](int64_t step) { return small_photos(step, 5); };
    std::optional<FastStyleProgress> whole;
    SafetensorsContent whole_state;
    for (const int64_t micro_batch : {5, 7, 0, 2, 1}) {
      settings.micro_batch = micro_batch;
      FastStyle training(network_, settings, data);
      FastStyleProgress progress;
      training.run([&](const FastStyleProgress& step) {
        progress = step;
        return true;
      });
      if (!whole) whole = progress;
      const double error = settings.at_once() == 5 ? 0.0 : 1e-5;
      EXPECT_NEAR(progress.losses.total, whole->losses.total, error * whole->losses.total);
      EXPECT_NEAR(progress.losses.content, whole->losses.content, error * whole->losses.content);
      EXPECT_NEAR(progress.losses.tv, whole->losses.tv, error * whole->losses.tv);
      EXPECT_NEAR(progress.losses.style_layers.at("relu3_1"), whole->losses.style_layers.at("relu3_1"),
                  error * whole->losses.style_layers.at("relu3_1"));
      EXPECT_NEAR(progress.grad_norm, whole->grad_norm, 10 * error * whole->grad_norm) << micro_batch;
    }
  }
  FastStyleSettings settings = small_fast_settings();
  settings.net.norm = layers::NormKind::batch;
  settings.micro_batch = 1;
  EXPECT_TRUE(throws_error([&] { FastStyle(network_, settings, small_fast_data()); },
                           "micro_batch is 1 of 2 photos; batch normalisation needs all of them at once"));
}

// Parts of a batch, and outputs of normalisations that are computed anew for the gradient, leave memory free.
TEST_F(MicroBatches, NeedLessMemory) {
  if (kUnderSanitizer) GTEST_SKIP() << "counts memory, of which there is as much without a sanitizer";
  FastStyleSettings settings = small_fast_settings();
  settings.steps = 2;
  settings.batch = 8;
  settings.size = 128;
  FastStyleData data = small_fast_data();
  const Tensor photos = small_photos(0, 8, 128);
  data.photos = [&](int64_t) { return photos; };
  std::vector<int64_t> peaks;
  for (const int64_t micro_batch : {8, 1}) {
    settings.micro_batch = micro_batch;
    FastStyle training(network_, settings, data);
    Allocator& memory = allocator(Device::cpu());
    memory.reset_peak();
    const int64_t before = memory.stats().in_use;
    training.run();
    peaks.push_back(memory.stats().peak_in_use - before);
  }
  EXPECT_LT(peaks[1], 0.4 * peaks[0]);
}

}  // namespace
}  // namespace minidl::test
