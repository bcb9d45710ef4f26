#include <minidl/apps/common/contact_sheet.h>
#include <minidl/core/error.h>

#include <algorithm>
#include <cmath>

namespace minidl::apps {

Tensor contact_sheet(std::span<const Tensor> pictures, const ContactSheetOptions& options) {
  MINIDL_CHECK(options.columns >= 0 && options.margin >= 0,
               "[contact_sheet] {} columns and a margin of {}: neither may be negative", options.columns,
               options.margin);
  int64_t count = 0, cell_height = 0, cell_width = 0;
  for (const Tensor& batch : pictures) {
    const Shape& shape = batch.shape();
    MINIDL_CHECK(batch && batch.dtype() == Dtype::f32 && shape.rank() == 4 && shape[3] == 3,
                 "[contact_sheet] needs f32 pictures [n, height, width, 3], got {} {}", to_string(batch.dtype()),
                 shape);
    count += shape[0];
    cell_height = std::max(cell_height, shape[1]);
    cell_width = std::max(cell_width, shape[2]);
  }
  MINIDL_CHECK(count > 0, "[contact_sheet] there are no pictures");
  const auto square = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const int64_t columns = std::min(count, options.columns > 0 ? options.columns : square);
  const int64_t rows = (count + columns - 1) / columns;
  const int64_t width = options.margin + columns * (cell_width + options.margin);
  Tensor sheet =
      Tensor::full({1, options.margin + rows * (cell_height + options.margin), width, 3}, options.background);
  float* target = sheet.data<float>();
  int64_t cell = 0;
  for (const Tensor& batch : pictures) {
    const Tensor host = batch.to(Device::cpu());
    const int64_t height = host.shape()[1], row = host.shape()[2] * 3;
    const float* source = host.data<float>();
    for (int64_t i = 0; i < host.shape()[0]; ++i, ++cell) {
      const int64_t top = options.margin + cell / columns * (cell_height + options.margin) + (cell_height - height) / 2;
      const int64_t left =
          options.margin + cell % columns * (cell_width + options.margin) + (cell_width - host.shape()[2]) / 2;
      for (int64_t y = 0; y < height; ++y, source += row)
        std::copy_n(source, row, target + ((top + y) * width + left) * 3);
    }
  }
  return sheet;
}

}  // namespace minidl::apps
