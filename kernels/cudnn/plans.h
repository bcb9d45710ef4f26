#pragma once
#include <minidl/kernels/conv2d.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace minidl::cudnn {

class Descriptor;

/// A convolution as cuDNN is asked for it: tensors in fp32, NHWC and filters [out_c, k_h, k_w, in_c], sums in fp32.
struct Request {
  Conv2dDesc desc;  // padded with zeros
  Conv2dDirection direction = Conv2dDirection::forward;
  bool bias = false, relu = false;  // of a forward pass; no ReLU without a bias
  float beta = 0.0f;                // of a backward pass: what its result is added to counts that much
  bool tf32 = false;                // products may round their factors to TF32
  bool aligned = true;              // all tensors begin at multiples of 16 bytes, else of 4
};

/// Most workspace of a plan. Engines for another layout copy both maps: those of VGG-19 at 512 px are 64 MiB each.
inline constexpr int64_t kMostWorkspace = int64_t{256} << 20;

/// What cuDNN's heuristics choose for a request, or why there is nothing.
struct Plan {
  std::string refusal;        // empty: there is a plan
  int64_t engine = -1;        // its number among cuDNN's
  bool tensor_cores = false;  // factors are rounded to TF32
  int64_t workspace_bytes = 0;
  std::shared_ptr<const Descriptor> descriptor;
};

/// Plans for one device. What was asked for once is kept at its address, also that there is nothing. The engine is the
/// first one of the heuristics' list that gives the same bytes in every run, multiplies the numbers themselves (no
/// Winograd, no Fourier transform, TF32 where that is allowed), comes compiled, and takes at most kMostWorkspace. Where
/// cuDNN is missing or does not know the device, every request is refused.
class Plans {
 public:
  /// Of a CUDA device.
  explicit Plans(int device);
  /// Of a device with these properties, in cuDNN's JSON; it need not be there.
  explicit Plans(const std::string& properties);
  ~Plans();
  /// May be called by several threads.
  const Plan& find(const Request& request);

 private:
  void describe_device(const std::function<void(Descriptor& properties)>& set);

  std::unique_ptr<Descriptor> properties_;
  std::string refusal_;  // of every request; empty: there are properties
  std::mutex mutex_;
  std::map<std::vector<int64_t>, Plan> plans_;
};

}  // namespace minidl::cudnn
