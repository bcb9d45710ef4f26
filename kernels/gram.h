#pragma once
#include <minidl/kernels/accumulate.h>
#include <minidl/kernels/number.h>

#include <span>
#include <vector>

namespace minidl {

/// Gram matrices of feature maps (Gatys et al. 2015, eq. 3): gram[n,i,j] = scale * sum over h,w of features[n,h,w,i] * features[n,h,w,j].
/// features [n, h, w, c], gram [n, c, c], f32. Symmetric to the last bit. Products are accumulated in f32 over blocks of positions of a fixed
/// size, the blocks in f64, in a fixed order. Below Precision::fp32 an engine may use 16 bits of each feature (AMX does).
/// All of these throw Error for other shapes, types and devices, on a CUDA device for more than 2^31 - 1 positions, and
/// gram_backward() for more than 65535 pictures.
void gram_forward(const Tensor& features, float scale, Tensor& gram);

/// grad_features[n,h,w,i] = scale * sum over j of (grad_gram[n,i,j] + grad_gram[n,j,i]) * features[n,h,w,j]; any grad_gram [n, c, c], symmetric or not.
void gram_backward(const Tensor& features, const Tensor& grad_gram, float scale, const Accumulate& how, Tensor& grad_features);

/// difference[n,i,j] = factor * (gram[n,i,j] - target[n,i,j]), with gram as gram_forward() computes it; target [n, c, c],
/// or [1, c, c] for all pictures, another tensor. The sum of squares of gram - target.
Number gram_difference(const Tensor& features, float scale, const Tensor& target, float factor, Tensor& difference);
/// The same of several layers; on a device what follows the products is one launch for 32 pictures of layers. Nothing that is written shares storage
/// with another term's tensors.
struct GramDifference {
  const Tensor& features;
  float scale;
  const Tensor& target;
  float factor;
  Tensor& difference;
};
std::vector<Number> gram_differences(std::span<const GramDifference> terms);

/// grad_features[n,h,w,i] = scale * sum over j of matrix[n,i,j] * features[n,h,w,j], of a symmetric matrix [n, c, c]: half of
/// what gram_backward() gives for it.
void gram_backward_symmetric(const Tensor& features, const Tensor& matrix, float scale, const Accumulate& how,
                             Tensor& grad_features);

}  // namespace minidl
