#pragma once
#include <minidl/core/tensor.h>

#include <cstdint>
#include <span>

namespace minidl::apps {

struct ContactSheetOptions {
  int64_t columns = 0;        // 0: about as many as rows
  int64_t margin = 8;         // pixels around and between the pictures, >= 0
  float background = 255.0f;  // level of all channels
};

/// One picture [1, H, W, 3] with all given ones in rows, each in the middle of its cell; all cells have the size of the
/// largest height and width. Each tensor is [n, h, w, 3] f32, n pictures in order, of any size. Throws Error for none,
/// other shapes and types, and negative options.
Tensor contact_sheet(std::span<const Tensor> pictures, const ContactSheetOptions& options = {});

}  // namespace minidl::apps
