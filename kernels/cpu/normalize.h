#pragma once
#include <minidl/kernels/activation.h>
#include <minidl/kernels/cpu/kernels.h>

#include <vector>

/// Instance normalisation has a group per picture, batch normalisation one group of all pictures.
namespace minidl::cpu {

struct NormShape {
  int64_t groups, positions, c;   // of the input; at least 1
  bool weight_per_group = false;  // weight, bias and their gradients are [groups, c], else [c]
};

struct NormForward {
  const float *input, *weight, *bias;
  float eps;
  Activation activation;
  float* output;
};
/// Writes the output, mean and rstd [groups, c]; returns the biased variance [groups, c].
std::vector<double> normalize_forward(const NormShape& shape, const NormForward& args, float* mean, float* rstd);
/// With given statistics [groups, c].
void normalize_forward_fixed(const NormShape& shape, const NormForward& args, const float* mean, const float* rstd);

struct NormBackward {
  const float *input, *weight, *mean, *rstd, *grad_output;
  bool fixed_statistics;  // they do not depend on the input
};
/// Unwanted ones are nullptr.
struct NormTargets {
  GradTarget input;
  float* weight;
  float weight_beta;
  float* bias;
  float bias_beta;
};
void normalize_backward(const NormShape& shape, const NormBackward& args, const NormTargets& targets);

}  // namespace minidl::cpu
