#pragma once
#include <minidl/kernels/arguments.h>
#include <minidl/kernels/cpu/amx_product.h>

#include <cstdint>

namespace minidl::cpu {

/// Gram matrices and their gradients on tiles, numbers in two parts (amx_product.h): 16 of their bits count.

/// As gram_products, for all rows. Beyond c the values do not matter.
void gram_products_amx(const AmxBody& body, const float* features, int64_t positions, int64_t c, float* sums);

/// target += features [positions, c] * s for a symmetric s [c, c].
void gram_gradient_amx(const AmxBody& body, int64_t positions, int64_t c, const float* features, const float* s,
                       const GradTarget& target);

}  // namespace minidl::cpu
