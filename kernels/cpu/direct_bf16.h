#pragma once
#include <minidl/kernels/cpu/amx_product.h>
#include <minidl/kernels/cpu/bf16_conv.h>

#include <vector>

namespace minidl::cpu {

/// How a convolution is cut, and where rounded pixels lie. Channels are cut into groups of `width`; the rows and
/// columns of the picture that the same taps read, those with the same remainder by the stride, lie together:
///   [row remainder, column remainder, group, row, pixel, width].
/// So windows side by side are `width` elements apart, those one above the other a row, whatever the stride.
struct Bf16Layout {
  int64_t width, groups;
  int64_t remainders_h, remainders_w;  // that taps read
  int64_t extra_h, extra_w;            // rows and pixels that the windows of a row or a pixel read beside one
  int64_t rows, columns;               // outputs of a region
  bool shared;                         // the whole picture is rounded before its regions are computed
  int64_t pitch, lines, plane;         // pixels of a row, rows of a plane, elements of a plane

  explicit Bf16Layout(const Bf16Conv& conv);
  int64_t planes() const { return remainders_h * remainders_w * groups; }
  int64_t count() const;       // elements
  int64_t sums_count() const;  // floats, of a region
};

/// The filters' values that a step multiplies: taps r and s, s + stride_w, ... of channels from c on, `first` values of
/// them left out.
struct Bf16Taps {
  int64_t r, s, c, first;
};

/// A Bf16Conv cut into WindowProducts. Sums of an output have the same order however it is cut.
class DirectBf16 {
 public:
  DirectBf16(const Bf16Conv& conv, const AmxBody& body);

  /// Elements of the packed filters, blocks of a WindowProduct [columns, depth].
  int64_t filters_count() const { return columns() * depth() * kAmxBlockCount; }
  void pack(uint16_t* filters) const;
  bool has_outputs() const { return conv_.has_outputs(); }
  void run(const uint16_t* filters) const;
  /// Most that `run` allocates.
  int64_t workspace_bytes() const;

 private:
  int64_t columns() const { return (conv_.out_c + kAmxBlock - 1) / kAmxBlock; }
  int64_t depth() const { return static_cast<int64_t>(steps_.size()); }
  int64_t plane(int64_t row_remainder, int64_t column_remainder, int64_t group) const;
  void add_steps(int64_t group, int64_t r, int64_t s);
  void pack_step(int64_t column, int64_t step, uint16_t* output) const;

  void run_apart(const uint16_t* filters) const;
  void run_shared(const uint16_t* filters) const;
  Bf16Region region(int64_t n, int64_t index) const;
  int64_t regions() const;
  void multiply(const Bf16Region& part, const uint16_t* picture, const uint16_t* filters, int64_t begin,
                int64_t end) const;

  void round_rows(const Bf16Region& part, int64_t begin, int64_t end, uint16_t* output) const;
  void round_row(const float* line, int64_t first, uint16_t* output) const;
  void round_border(const float* line, int64_t x, uint16_t* output) const;
  void round_pixels(const float* values, int64_t pixels, uint16_t* output) const;

  const Bf16Conv conv_;
  const Bf16Layout layout_;
  const AmxBody& body_;
  std::vector<WindowStep> steps_;
  std::vector<Bf16Taps> taps_;
};

}  // namespace minidl::cpu
