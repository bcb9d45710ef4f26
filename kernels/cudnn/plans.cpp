#include <minidl/core/error.h>
#include <minidl/kernels/cudnn/graph.h>
#include <minidl/kernels/cudnn/plans.h>

#include <algorithm>
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

/// An engine that the heuristics offer.
struct Offer {
  explicit Offer(Descriptor from_heuristics) : configuration(std::move(from_heuristics)) {
    configuration.get(CUDNN_ATTR_ENGINECFG_ENGINE, std::span<Descriptor>(&engine, 1));
  }

  Descriptor configuration, engine{CUDNN_BACKEND_ENGINE_DESCRIPTOR};

  bool has(cudnnBackendNumericalNote_t note) const { return has(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, note); }
  bool has(cudnnBackendBehaviorNote_t note) const { return has(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, note); }

 private:
  template <typename Note>
  bool has(cudnnBackendAttributeName_t name, Note note) const {
    Note notes[16];  // more than there are kinds of
    const size_t count = engine.get(name, std::span<Note>(notes));
    return std::find(notes, notes + count, note) != notes + count;
  }
};

/// Best first; slow engines that take everything are at the end.
std::vector<Offer> offers(const Descriptor& graph, const Descriptor& properties) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties);
  heuristics.finalize("the heuristics");
  std::vector<Descriptor> configurations;
  for (size_t count = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, std::span<Descriptor>()); count > 0; --count) {
    configurations.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  }
  // Fewer may come than were announced.
  const size_t count = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, std::span<Descriptor>(configurations));
  std::vector<Offer> result;
  for (size_t i = 0; i < count; ++i) result.emplace_back(std::move(configurations[i]));
  return result;
}

/// Why an offer is not wanted; nullptr: it is.
const char* objection(const Offer& offer, bool tf32) {
  if (offer.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return "other bytes in every run";
  if (offer.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) && !tf32) return "TF32";
  for (const auto note : {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
                          CUDNN_NUMERICAL_NOTE_FFT, CUDNN_NUMERICAL_NOTE_WINOGRAD}) {
    if (offer.has(note)) return "lower precision or transforms";
  }
  if (offer.has(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)) return "compilation while the program runs";
  const bool fits = offer.configuration.get<int64_t>(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE) <= kMostWorkspace;
  return fits ? nullptr : "too much workspace";
}

/// A plan with all that it is made of.
struct Prepared {
  std::deque<Descriptor> graph;
  Offer offer;
  Descriptor plan{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
};

Plan prepare(std::deque<Descriptor> graph, Offer offer, const Descriptor& properties) {
  const std::shared_ptr<Prepared> prepared(new Prepared{std::move(graph), std::move(offer)});
  prepared->plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, prepared->offer.configuration);
  prepared->plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties);
  prepared->plan.finalize("the plan");
  Plan plan;
  plan.engine = prepared->offer.engine.get<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  plan.tensor_cores = prepared->offer.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  plan.workspace_bytes = prepared->plan.get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  plan.descriptor = std::shared_ptr<const Descriptor>(prepared, &prepared->plan);
  return plan;
}

/// The plan for the first offer that is wanted; throws Error when there is none.
Plan make_plan(const Request& request, const Descriptor& properties) {
  std::deque<Descriptor> graph = operation_graph(request);
  std::set<std::string> objections;
  for (Offer& offer : offers(graph.back(), properties)) {
    const char* reason = objection(offer, request.tf32);
    if (!reason) return prepare(std::move(graph), std::move(offer), properties);
    objections.insert(reason);
  }
  std::string reasons;
  for (const std::string& reason : objections) reasons += (reasons.empty() ? ": " : ", ") + reason;
  fail("[cudnn] {} has no engine that is wanted{}", Conv2dProblem{request.desc, request.direction}, reasons);
}

}  // namespace

Plans::Plans(int device) {
  describe_device([&](Descriptor& properties) { properties.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, int32_t{device}); });
}

Plans::Plans(const std::string& properties) {
  describe_device([&](Descriptor& descriptor) {
    descriptor.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(properties));
  });
}

void Plans::describe_device(const std::function<void(Descriptor& properties)>& set) {
  try {
    Descriptor properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    set(properties);
    properties.finalize("the properties of the device");
    properties_ = std::make_unique<Descriptor>(std::move(properties));
  } catch (const Error& error) {
    refusal_ = error.what();
  }
}

Plans::~Plans() = default;

const Plan& Plans::find(const Request& request) {
  const std::scoped_lock lock(mutex_);
  const auto [entry, is_new] = plans_.try_emplace(key_of(request));
  if (is_new && !properties_) entry->second.refusal = refusal_;
  if (is_new && properties_) {
    try {
      entry->second = make_plan(request, *properties_);
    } catch (const Error& error) {
      entry->second.refusal = error.what();
    }
  }
  return entry->second;
}

}  // namespace minidl::cudnn
