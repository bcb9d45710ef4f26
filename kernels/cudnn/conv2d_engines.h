#pragma once
#include <minidl/kernels/conv2d.h>

namespace minidl::cudnn {

/// NVIDIA's library, where the machine has it: products in fp32, and products of numbers rounded to TF32.
extern const Conv2dEngine conv2d_cudnn, conv2d_cudnn_tf32;

/// "cuDNN 91900", or empty where it cannot be used.
std::string version_name();

}  // namespace minidl::cudnn
