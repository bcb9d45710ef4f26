#pragma once
#include <minidl/kernels/conv2d.h>
#include <support/device.h>
#include <support/sanitizer.h>

#include <vector>

namespace minidl::test {

struct Conv2dCase {
  Shape input, weight;
  Window window;

  Conv2dDesc desc() const { return Conv2dDesc::make(input, weight, window); }
};

/// Kernels 1, 3, 5x2 and 9, strides 1, 2 and 3x1, pads of every kind, asymmetric ones and ones larger than the picture,
/// pictures of one pixel, 1, 3, 4 and 33 channels, batches of 1 and 3.
inline std::vector<Conv2dCase> conv2d_cases() {
  using enum Padding::Mode;
  return {
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
      {{1, 5, 7, 3}, {4, 1, 1, 3}, {}},
      {{3, 6, 5, 33}, {7, 1, 1, 33}, {2, 2, {}}},
      {{1, 7, 6, 1}, {1, 3, 3, 1}, {1, 1, Padding::zero(1)}},
      {{1, 9, 11, 3}, {33, 3, 3, 3}, {1, 1, Padding::zero(1)}},
      {{3, 5, 6, 4}, {3, 3, 3, 4}, {1, 1, Padding::reflect(1)}},
      {{1, 8, 5, 33}, {40, 3, 3, 33}, {1, 1, Padding::replicate(1)}},
      {{1, 9, 8, 4}, {5, 3, 3, 4}, {2, 2, Padding::zero(1)}},
      {{3, 7, 9, 3}, {4, 3, 3, 3}, {2, 2, Padding::reflect(1)}},
      {{1, 10, 7, 4}, {3, 5, 2, 4}, {3, 1, {zero, 2, 1, 0, 3}}},
      {{1, 10, 7, 4}, {3, 5, 2, 4}, {3, 1, {reflect, 2, 1, 0, 3}}},
      {{1, 6, 8, 3}, {4, 5, 2, 3}, {1, 1, {replicate, 0, 4, 3, 1}}},
      {{1, 12, 10, 3}, {4, 9, 9, 3}, {1, 1, Padding::reflect(4)}},
      {{1, 12, 10, 4}, {3, 9, 9, 4}, {1, 1, {}}},
      {{1, 3, 2, 4}, {3, 9, 9, 4}, {1, 1, Padding::reflect(4)}},
      {{1, 2, 3, 4}, {3, 3, 3, 4}, {1, 2, Padding::reflect(7)}},
      {{1, 1, 1, 3}, {4, 3, 3, 3}, {1, 1, Padding::reflect(1)}},
      {{1, 1, 4, 3}, {4, 3, 3, 3}, {2, 1, Padding::replicate(5)}},
      {{1, 2, 2, 3}, {4, 3, 3, 3}, {1, 1, Padding::zero(4)}},
      {{1, 7, 7, 3}, {4, 1, 1, 3}, {3, 3, {}}},  // pixels that no window reads
      {{1, 8, 8, 2}, {4, 2, 2, 2}, {3, 3, Padding::zero(1)}},
      {{1, 8, 9, 2}, {4, 3, 3, 2}, {2, 2, {}}},  // a last column beyond every window
      // 3x3 with stride 1 and enough channels for tiles of 4 x 4 outputs, whole and ragged.
      {{1, 8, 12, 16}, {16, 3, 3, 16}, {1, 1, Padding::zero(1)}},
      {{2, 7, 10, 20}, {24, 3, 3, 20}, {1, 1, Padding::reflect(1)}},
      {{1, 6, 9, 35}, {70, 3, 3, 35}, {1, 1, {}}},
      {{1, 5, 6, 17}, {19, 3, 3, 17}, {1, 1, {zero, 0, 2, 3, 1}}},
      {{1, 4, 3, 64}, {130, 3, 3, 64}, {1, 1, Padding::zero(5)}},
      {{3, 2, 1, 16}, {33, 3, 3, 16}, {1, 1, Padding::reflect(3)}},
      {{1, 9, 2, 18}, {16, 3, 3, 18}, {1, 1, {replicate, 2, 0, 1, 4}}},
      // Few channels on one side: one to four outputs, groups of pixels whole and ragged, windows of whole vectors.
      {{1, 7, 31, 1}, {5, 5, 5, 1}, {1, 1, Padding::reflect(2)}},
      {{2, 9, 26, 2}, {70, 3, 5, 2}, {2, 2, {zero, 1, 2, 3, 0}}},
      {{1, 11, 29, 3}, {20, 9, 9, 3}, {2, 1, Padding::replicate(4)}},
      {{1, 6, 25, 4}, {64, 3, 3, 4}, {1, 2, Padding::zero(1)}},
      {{1, 5, 27, 16}, {1, 3, 3, 16}, {1, 1, Padding::zero(1)}},
      {{1, 6, 19, 32}, {2, 5, 2, 32}, {1, 1, {reflect, 2, 1, 0, 3}}},
      {{2, 8, 23, 16}, {3, 3, 3, 16}, {2, 3, Padding::replicate(2)}},
      {{1, 10, 21, 16}, {4, 9, 9, 16}, {1, 1, Padding::reflect(4)}},
      {{1, 5, 9, 20}, {3, 3, 3, 20}, {1, 1, Padding::zero(1)}},
      {{1, 4, 6, 64}, {3, 9, 9, 64}, {1, 1, Padding::zero(4)}},
      {{2, 3, 17, 4}, {2, 1, 14, 4}, {}},  // as many taps as pairs may have, and more
      {{2, 3, 18, 4}, {2, 1, 15, 4}, {}},
      // Beside blocks of 32 channels.
      {{1, 5, 9, 31}, {32, 3, 3, 31}, {1, 1, Padding::zero(1)}},
      {{1, 6, 5, 48}, {31, 3, 3, 48}, {1, 1, Padding::reflect(1)}},
      {{2, 4, 6, 32}, {65, 3, 3, 32}, {1, 1, Padding::replicate(1)}},
  };
}

/// Larger shapes, where work is cut into several blocks and tasks along every axis: less of each under a sanitizer and
/// on an emulated device, whose tiles have a test of their own.
inline std::vector<Conv2dCase> large_conv2d_cases() {
  if (on_emulated_device() || kUnderSanitizer)
    return {{{2, 11, 9, 68}, {72, 3, 3, 68}, {1, 1, Padding::reflect(1)}},
            {{1, 13, 15, 3}, {64, 3, 3, 3}, {1, 1, Padding::zero(1)}},
            {{2, 13, 11, 20}, {24, 3, 3, 20}, {2, 2, Padding::reflect(1)}},
            {{1, 10, 12, 32}, {3, 9, 9, 32}, {1, 1, Padding::reflect(4)}}};
  return {{{1, 40, 37, 64}, {64, 3, 3, 64}, {1, 1, Padding::zero(1)}},
          {{2, 30, 43, 96}, {80, 3, 3, 96}, {1, 1, Padding::reflect(1)}},
          {{1, 6, 5, 240}, {5, 3, 3, 240}, {1, 1, Padding::zero(1)}},
          {{1, 33, 35, 3}, {64, 3, 3, 3}, {1, 1, Padding::zero(1)}},
          {{1, 10, 12, 200}, {130, 3, 3, 200}, {1, 1, Padding::reflect(1)}},
          {{2, 31, 29, 20}, {24, 3, 3, 20}, {2, 2, Padding::reflect(1)}},
          {{1, 30, 32, 32}, {3, 9, 9, 32}, {1, 1, Padding::reflect(4)}},
          {{2, 37, 50, 64}, {3, 3, 3, 64}, {1, 1, Padding::zero(1)}}};
}

}  // namespace minidl::test
