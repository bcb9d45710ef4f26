#include <minidl/core/error.h>
#include <minidl/kernels/cudnn/graph.h>
#include <minidl/kernels/cudnn/plans.h>

#include <bit>
#include <deque>
#include <set>

namespace minidl::cudnn {
namespace {

/// All that tells requests apart.
std::vector<int64_t> key_of(const Request& request) {
  const Conv2dDesc& d = request.desc;
  const Padding& padding = d.window.padding;
  return {d.n,
          d.in_h,
          d.in_w,
          d.in_c,
          d.out_c,
          d.k_h,
          d.k_w,
          d.window.stride_h,
          d.window.stride_w,
          padding.top,
          padding.bottom,
          padding.left,
          padding.right,
          static_cast<int64_t>(request.direction),
          request.bias,
          request.relu,
          std::bit_cast<int32_t>(request.beta),
          request.tf32,
          request.aligned};
}

/// What the heuristics offer, best first.
std::vector<Descriptor> offers(const Descriptor& graph, const Descriptor& properties, cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties);
  heuristics.finalize("the heuristics");
  std::vector<Descriptor> configurations;
  for (size_t count = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, std::span<Descriptor>()); count > 0; --count) {
    configurations.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  }
  const size_t usable = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, std::span<Descriptor>(configurations));
  while (configurations.size() > usable) configurations.pop_back();
  return configurations;
}

Descriptor engine_of(const Descriptor& configuration) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  configuration.get(CUDNN_ATTR_ENGINECFG_ENGINE, std::span<Descriptor>(&engine, 1));
  return engine;
}

/// Why an engine is not wanted; nullptr: it is.
const char* objection(const Descriptor& engine, bool tf32) {
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  const std::span<cudnnBackendNumericalNote_t> numerical(notes);
  for (const auto note : numerical.first(engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, numerical))) {
    if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) return "other bytes in every run";
    if (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE && !tf32) return "TF32";
    if (note != CUDNN_NUMERICAL_NOTE_TENSOR_CORE && note != CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP) {
      return "transforms or lower precision";
    }
  }
  cudnnBackendBehaviorNote_t behaviors[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
  const std::span<cudnnBackendBehaviorNote_t> behavioral(behaviors);
  for (const auto note : behavioral.first(engine.get(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, behavioral))) {
    if (note == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) return "compilation while the program runs";
  }
  return nullptr;
}

/// A plan with all that it is made of.
struct Prepared {
  std::deque<Descriptor> graph;
  Descriptor configuration;
  Descriptor plan;
};

/// The plan for the first offer that is wanted; throws Error when there is none.
Plan make_plan(const Request& request, const Descriptor& properties) {
  std::deque<Descriptor> graph = operation_graph(request);
  std::set<std::string> objections;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (Descriptor& configuration : offers(graph.back(), properties, mode)) {
      const Descriptor engine = engine_of(configuration);
      const auto workspace_bytes = configuration.get<int64_t>(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE);
      const char* reason = workspace_bytes > kMostWorkspace ? "too much workspace" : objection(engine, request.tf32);
      if (reason) {
        objections.insert(reason);
        continue;
      }
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties);
      plan.finalize("the plan");
      const auto prepared =
          std::make_shared<const Prepared>(Prepared{std::move(graph), std::move(configuration), std::move(plan)});
      return {.refusal = "",
              .engine = engine.get<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX),
              .workspace_bytes = prepared->plan.get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE),
              .descriptor = std::shared_ptr<const Descriptor>(prepared, &prepared->plan)};
    }
  }
  std::string reasons;
  for (const std::string& reason : objections) reasons += (reasons.empty() ? ": " : ", ") + reason;
  fail("[cudnn] no engine is wanted{}", reasons);
}

std::unique_ptr<Descriptor> properties_of(const auto& set) {
  auto properties = std::make_unique<Descriptor>(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  set(*properties);
  properties->finalize("the properties of the device");
  return properties;
}

}  // namespace

Plans::Plans(int device)
    : properties_(properties_of(
          [&](Descriptor& properties) { properties.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, int32_t{device}); })) {}

Plans::Plans(const std::string& properties)
    : properties_(properties_of([&](Descriptor& descriptor) {
        descriptor.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(properties));
      })) {}

Plans::~Plans() = default;

const Plan& Plans::find(const Request& request) {
  const std::scoped_lock lock(mutex_);
  const auto [entry, is_new] = plans_.try_emplace(key_of(request));
  if (is_new) {
    try {
      entry->second = make_plan(request, *properties_);
    } catch (const Error& error) {
      entry->second.refusal = error.what();
    }
  }
  return entry->second;
}

}  // namespace minidl::cudnn
