#include <minidl/apps/memory_plan.h>
#include <minidl/core/tape.h>
#include <minidl/kernels/conv2d_pool2d.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace minidl {
namespace {

using layers::LayerDescription;
using Kind = LayerDescription::Kind;

constexpr int64_t kFloat = sizeof(float);

/// One step of the network as it runs: a convolution with its ReLU and its pool, a pool, or a ReLU alone.
struct Step {
  int64_t input = 0, output = 0;  // bytes
  // Bytes that stay for the backward pass: a tapped output unless it is computed anew, what that takes, a ReLU's mask,
  // a pool's choices.
  int64_t saved = 0;
  int64_t forward_workspace = 0, backward_workspace = 0;
  int64_t forward_kept = 0, backward_kept = 0;                        // what an engine would keep with the weight
  int64_t forward_spared = 0, backward_spared = 0;                    // of the workspace, when it does
  bool is_tapped = false, is_recomputed = false, is_rounded = false;  // kept in bf16
  /// Whether a backward pass keeps the very tensor.
  bool output_is_saved() const { return is_tapped && !is_recomputed && !is_rounded; }
  double flops = 0;
};

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// pooled: the output is pooled next; an engine that cannot do it itself needs the values in between, and on a CUDA device
/// backward-data spreads the gradient over them.
void ask_engine(const Conv2dProblem& problem, Device device, bool pooled, int64_t& workspace, int64_t& kept,
                int64_t& spared) {
  const Conv2dEngine& engine = conv2d_engine_for(problem, device);
  workspace = engine.workspace_bytes(problem);
  const bool spreads = problem.direction == Conv2dDirection::backward_data && device.kind == Device::Kind::cuda;
  if (pooled && (spreads || !pools_as_it_goes(problem, device))) workspace += problem.desc.output_shape().count() * kFloat;
  kept = engine.kept_bytes ? engine.kept_bytes(problem) : 0;
  spared = engine.spared_bytes ? engine.spared_bytes(problem) : kept;
}

/// Moves what the engines keep from the workspace into the sum that is returned, in the order in which they ask.
int64_t keep_filters(std::vector<Step>& steps) {
  int64_t sum = 0;
  const auto keep = [&](int64_t bytes, int64_t spared, int64_t& workspace) {
    if (sum + bytes > execution::filter_cache()) return;
    sum += bytes;
    workspace -= spared;
  };
  for (Step& step : steps) keep(step.forward_kept, step.forward_spared, step.forward_workspace);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    keep(step->backward_kept, step->backward_spared, step->backward_workspace);
  return sum;
}

std::vector<Step> steps_of(const layers::Vgg& network, const std::vector<std::string>& taps, Extent size) {
  const Shape image{1, size.height, size.width, 3};
  const std::set<std::string> recomputed = network.recomputed(image, taps);
  const std::vector<LayerDescription>& layers = network.description().layers;
  const size_t deepest = network.description().count_until(taps) - 1;
  std::vector<Step> steps;
  Shape input = image;
  bool pooled_before = false;
  for (size_t i = 0; i <= deepest; ++i) {
    const LayerDescription& layer = layers[i];
    const size_t last = network.description().fused_until(i, taps);
    const LayerDescription& end = layers[last];
    const Shape output = network.feature_shape(end.name, image);
    Step step{.input = input.count() * kFloat, .output = output.count() * kFloat};
    if (layer.kind == Kind::conv) {
      const Conv2dDesc desc = Conv2dDesc::make(input, {layer.out_c, layer.k_h, layer.k_w, layer.in_c}, layer.window);
      const bool pooled = end.kind == Kind::pool;
      step.flops = desc.flops();
      ask_engine({desc, Conv2dDirection::forward}, network.device(), pooled, step.forward_workspace, step.forward_kept,
                 step.forward_spared);
      ask_engine({desc, Conv2dDirection::backward_data}, network.device(), pooled, step.backward_workspace,
                 step.backward_kept, step.backward_spared);
      // There the convolution above spreads it, as it writes it.
      if (pooled_before && network.device().kind == Device::Kind::cuda) step.backward_workspace += 4 * step.input;
      if (last > i) step.saved = BitMask::bytes(desc.output_shape());
    } else if (layer.kind == Kind::relu) {
      step.saved = BitMask::bytes(output);
    }
    if (end.kind == Kind::pool && end.pool == PoolKind::max) step.saved = output.count();  // a byte for each choice
    step.is_tapped = contains(taps, end.name);
    step.is_recomputed = recomputed.contains(end.name);
    step.is_rounded = network.keeps_in_bf16();
    if (step.is_tapped && !step.is_recomputed) step.saved += step.is_rounded ? step.output / 2 : step.output;
    // What a loss sees of a student's tap, and its gradient, are beside the value.
    if (step.is_tapped && end.imitated_c > 0) {
      step.forward_workspace += step.output;
      step.backward_workspace += step.output;
    }
    // The picture is there anyway, a tap is counted already or computed anew itself.
    if (step.is_recomputed && i > 0 && !steps.back().is_tapped) step.saved += step.input;
    steps.push_back(step);
    pooled_before = layer.kind == Kind::conv && end.kind == Kind::pool;
    input = output;
    i = last;
  }
  return steps;
}

/// Of a pass that nothing records, as for targets: a layer's input and output.
int64_t forward_peak(const std::vector<Step>& steps) {
  int64_t peak = 0;
  for (const Step& step : steps) peak = std::max(peak, step.input + step.output + step.forward_workspace);
  return peak;
}

struct RecordedPeak {
  int64_t features = 0, gradients = 0, workspace = 0;
  int64_t total() const { return features + gradients + workspace; }
};

/// Of a recorded forward and backward pass.
RecordedPeak recorded_peak(const std::vector<Step>& steps) {
  RecordedPeak peak;
  int64_t saved = 0;
  const auto consider = [&](const RecordedPeak& moment) {
    if (moment.total() > peak.total()) peak = moment;
  };
  // Values that nothing saves are counted with the gradients, which do not exist yet.
  bool input_is_saved = false;
  for (const Step& step : steps) {
    consider({saved + step.saved, (input_is_saved ? 0 : step.input) + (step.output_is_saved() ? 0 : step.output),
              step.forward_workspace});
    saved += step.saved;
    input_is_saved = step.output_is_saved();
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (step->is_recomputed) consider({saved, step->output, Saved::kPartBytes + step->forward_workspace});
    consider({saved, step->output + step->input, step->backward_workspace});
    saved -= step->saved;
  }
  return peak;
}

double flops_of(const std::vector<Step>& steps, const layers::Vgg& network, const GatysSettings& settings,
                Extent size) {
  double convolutions = 0, grams = 0;
  for (const Step& step : steps) convolutions += step.flops;
  for (const layers::WeightedLayer& layer : settings.style_layers) {
    const Shape shape = network.feature_shape(layer.name, {1, size.height, size.width, 3});
    grams += 3.0 * static_cast<double>(shape.count() * shape[3]);  // half of F Fᵀ, which is symmetric, and F S
  }
  return 2.0 * convolutions + grams;
}

}  // namespace

MemoryPlan plan_memory(const layers::Vgg& network, const GatysSettings& settings,
                       const std::vector<Extent>& content_sizes, const std::vector<Extent>& style_sizes) {
  const std::vector<std::string> taps = settings.taps();
  const Extent size = content_sizes.back();
  const Shape image{1, size.height, size.width, 3};
  std::vector<Step> steps = steps_of(network, taps, size);
  const int64_t kept = keep_filters(steps);

  MemoryPlan plan;
  for (const Extent& extent : content_sizes) {
    plan.flops_of_run += flops_of(steps_of(network, taps, extent), network, settings, extent) * settings.iterations;
  }
  plan.flops_per_evaluation = flops_of(steps, network, settings, size);

  int64_t targets = 0;
  for (const layers::WeightedLayer& layer : settings.content_layers)
    targets += network.feature_shape(layer.name, image).count() * kFloat;
  for (const layers::WeightedLayer& layer : settings.style_layers) {
    const int64_t channels = network.feature_shape(layer.name, image)[3];
    targets += channels * channels * kFloat;
  }
  // Position, direction and three gradients of L-BFGS; else gradient, last good picture and one or two moments.
  const bool lbfgs = settings.optimizer == GatysOptimizer::lbfgs;
  const int64_t vectors = lbfgs ? 5 : settings.optimizer == GatysOptimizer::adam ? 4 : 3;
  const int64_t pairs = lbfgs ? std::min(settings.history_for(image.count()), settings.iterations) : 0;
  const auto pair_values = 2 * static_cast<int64_t>(size_of(GatysSettings::kHistoryDtype));
  int64_t pictures = 3 * image.count() * kFloat;
  for (const Extent& style : style_sizes) pictures += 3 * style.height * style.width * kFloat;
  int64_t targets_peak = forward_peak(steps);
  for (const Extent& style : style_sizes)
    targets_peak = std::max(targets_peak, forward_peak(steps_of(network, taps, style)));

  const RecordedPeak peak = recorded_peak(steps);
  plan.rows = {{"network weights", network.parameter_count() * kFloat},
               {"transformed weights", kept},
               {"pictures", pictures},
               {"targets", targets},
               {"optimiser", (vectors * kFloat + pairs * pair_values) * image.count()},
               {"features kept for the gradient", peak.features},
               {"gradients", peak.gradients},
               {"workspace", peak.workspace}};
  // Targets are computed before there is an optimiser: with a large style picture that may be the peak.
  if (targets_peak > peak.total() + plan.rows[4].bytes) {
    plan.rows.resize(4);
    plan.rows.push_back({"features of the largest picture", targets_peak});
  }
  for (const MemoryPlan::Row& row : plan.rows) plan.peak_bytes += row.bytes;
  return plan;
}

MemoryPlan plan_memory(const Gatys& gatys, const layers::Vgg& network, const GatysSettings& settings,
                       const GatysPictures& pictures) {
  const std::vector<Extent> sizes = gatys.scale_sizes();
  std::vector<Extent> styles;
  for (const GatysObjective::Style& style : pictures.styles)
    styles.push_back(gatys.style_size(style.picture, static_cast<int>(sizes.size()) - 1));
  return plan_memory(network, settings, sizes, styles);
}

void fit_memory(layers::Vgg& network, const std::function<MemoryPlan()>& plan, int64_t limit) {
  constexpr double kPlanError = 0.1;
  constexpr int64_t kLeastCache = 1 << 16;
  constexpr double kMostRecompute = 1 << 13;  // the deepest layers of VGG take a few thousand operations for a byte
  const auto fits = [&](double share) {
    return static_cast<double>(plan().peak_bytes) * share <= static_cast<double>(limit);
  };
  for (int64_t cache = execution::filter_cache(); cache >= kLeastCache; cache /= 2) {
    execution::set_filter_cache(cache);
    if (fits(1.0 + kPlanError)) return;
  }
  execution::set_filter_cache(0);
  while (!fits(1.0 + kPlanError) && network.recompute_limit() <= kMostRecompute)
    network.set_recompute_limit(std::max(layers::Vgg::kCheapRecompute, 2 * network.recompute_limit()));
  MINIDL_CHECK(
      fits(1.0 - kPlanError),
      "[memory] this run needs about {} bytes, the limit is {}: take a smaller picture, fewer style pictures, a "
      "shorter history or Adam, or a larger limit",
      plan().peak_bytes, limit);
}

}  // namespace minidl
