#include <cuda_runtime.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/check.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/cuda/tuned_engine.h>
#include <minidl/kernels/cudnn/conv2d_engines.h>
#include <minidl/kernels/engine_tuner.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>

namespace minidl::cuda {
namespace {

/// Of the same problem with tensors of zeros, whose values change no kernel's time.
class Rehearsal {
 public:
  explicit Rehearsal(const Conv2dProblem& problem)
      : problem_(problem),
        input_(Tensor::zeros(problem.desc.input_shape(), Dtype::f32, current_device())),
        weight_(Tensor::zeros(problem.desc.weight_shape(), Dtype::f32, current_device())),
        output_(Tensor::zeros(problem.desc.output_shape(), Dtype::f32, current_device())) {}

  void run(const Conv2dEngine& engine) {
    switch (problem_.direction) {
      case Conv2dDirection::forward:
        return engine.forward(
            problem_.desc, {input_.data<float>(), weight_, nullptr, Activation::relu, output_.data<float>(), nullptr});
      case Conv2dDirection::backward_data:
        return engine.backward_data(problem_.desc, {weight_, output_.data<float>(), 0.0f, {}, input_.data<float>()});
      case Conv2dDirection::backward_weight:
        return engine.backward_weight(problem_.desc,
                                      {input_.data<float>(), output_.data<float>(), 0.0f, weight_.data<float>()});
    }
  }

 private:
  Conv2dProblem problem_;
  Tensor input_, weight_, output_;
};

/// Of the fastest of some rounds: what else the device and the host do only takes longer.
double seconds_of_call(const Conv2dEngine& engine, const Conv2dProblem& problem) {
  constexpr int kRounds = 3, kCalls = 4;
  Rehearsal rehearsal(problem);
  const int device = current_device().index;
  const auto run = [&](int calls) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) rehearsal.run(engine);
    synchronize(device);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
  };
  run(2);  // plans, kept filters, memory
  double best = run(kCalls);
  for (int round = 1; round < kRounds; ++round) best = std::min(best, run(kCalls));
  return best;
}

bool is_captured() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  MINIDL_CUDA_CHECK(cudaStreamIsCapturing(current_stream(), &status));
  return status != cudaStreamCaptureStatusNone;
}

/// What times depend on.
std::string name_with_versions(int index) {
  std::string name = machine_name(index);
#ifdef MINIDL_HAS_CUDNN
  const std::string cudnn = cudnn::version_name();
  name += cudnn.empty() ? "" : ", " + cudnn;
#endif
  return name;
}

EngineTuner& tuner_of(int index) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, int>, std::unique_ptr<EngineTuner>> tuners;
  const std::scoped_lock lock(mutex);
  std::unique_ptr<EngineTuner>& tuner = tuners[{execution::tuning_file(), index}];
  if (!tuner)
    tuner = std::make_unique<EngineTuner>(execution::tuning_file(), name_with_versions(index), seconds_of_call);
  return *tuner;
}

}  // namespace

const Conv2dEngine& tuned_engine(std::span<const Conv2dEngine* const> candidates, const Conv2dProblem& problem,
                                 Device device) {
  const DeviceScope scope(device.index);
  return tuner_of(device.index).choose(candidates, problem, execution::precision(), !is_captured());
}

}  // namespace minidl::cuda
