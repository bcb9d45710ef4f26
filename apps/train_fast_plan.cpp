#include <fmt/format.h>
#include <minidl/apps/common/flag_values.h>
#include <minidl/apps/common/layer_list.h>
#include <minidl/apps/common/progress.h>
#include <minidl/apps/common/training_run.h>
#include <minidl/apps/train_fast_plan.h>
#include <minidl/core/allocator.h>

namespace minidl::apps {

std::string plan_text(FastStyle& training, const TrainFastOptions& options, const PhotoList& photos, Device device) {
  const FastStyleSettings& settings = training.settings();
  const auto seconds = measure_step<FastStyleProgress>(training);
  const double epochs = static_cast<double>(settings.steps * settings.batch) / static_cast<double>(photos.count());
  std::string text;
  const auto line = [&](const std::string& name, const std::string& value) {
    text += fmt::format("{:<14}{}\n", name, value);
  };
  line("net", fmt::format("width {}, {} residual blocks, {} styles, {} parameters", settings.net.width,
                          settings.net.residual_blocks, settings.net.styles, training.net().parameter_count()));
  line("photos", fmt::format("{} in {}", photos.count(), options.data));
  line("content", layer_list_text(settings.content_layers));
  line("style", layer_list_text(settings.style_layers));
  line("steps", fmt::format("{} of {} photos of {} x {} pixels: {:.3g} epochs", settings.steps, settings.batch,
                            settings.size, settings.size, epochs));
  line("memory", fmt::format("{} of tensors at the peak of a step", bytes_text(allocator(device).stats().peak_in_use)));
  line("time", fmt::format("{} at {:.3g} s a step, measured now on this machine",
                           duration_text(seconds * static_cast<double>(settings.steps)), seconds));
  return text;
}

}  // namespace minidl::apps
