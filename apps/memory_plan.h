#pragma once
#include <minidl/apps/gatys.h>

#include <functional>
#include <string>
#include <vector>

namespace minidl {

/// What a run will need, worked out from shapes alone before anything is computed.
struct MemoryPlan {
  struct Row {
    std::string what;
    int64_t bytes;
  };
  std::vector<Row> rows;  // at the largest scale, at the moment of the peak; they sum to peak_bytes
  int64_t peak_bytes = 0;
  double flops_per_evaluation =
      0;  // of the convolutions and Gram matrices at the largest scale: forward and back to the picture
  double flops_of_run = 0;  // of all scales and iterations, one evaluation per iteration
};

/// `style_sizes`: of the style pictures at the largest scale. The peak is found by walking the network as a recorded
/// forward and backward pass does: what backward reads stays until its turn unless it is computed anew, gradients live
/// from their first writer to their reader.
MemoryPlan plan_memory(const layers::Vgg& network, const GatysSettings& settings,
                       const std::vector<Extent>& content_sizes, const std::vector<Extent>& style_sizes);
/// Of a run that is set up.
MemoryPlan plan_memory(const Gatys& gatys, const layers::Vgg& network, const GatysSettings& settings,
                       const GatysPictures& pictures);

/// Makes `plan`, which is one for `network`, stay below `limit` bytes by what costs least time for its bytes: first it
/// halves execution::filter_cache() until nothing is kept, then it doubles the network's recompute_limit(), so that more
/// features are computed anew. Throws Error when the plan is beyond the limit even so.
void fit_memory(layers::Vgg& network, const std::function<MemoryPlan()>& plan, int64_t limit);

}  // namespace minidl
