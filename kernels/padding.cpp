#include <minidl/core/error.h>
#include <minidl/kernels/padding.h>

#include <algorithm>

namespace minidl {

std::string Padding::str() const {
  const char* name = mode == Mode::zero ? "zero" : mode == Mode::reflect ? "reflect" : "replicate";
  return detail::format_message("{}({},{},{},{})", {name, std::to_string(top), std::to_string(bottom), std::to_string(left), std::to_string(right)});
}

int64_t padded_index(int64_t i, int64_t extent, Padding::Mode mode) {
  if (i >= 0 && i < extent) return i;
  switch (mode) {
    case Padding::Mode::zero: return -1;
    case Padding::Mode::replicate: return std::clamp<int64_t>(i, 0, extent - 1);
    case Padding::Mode::reflect: break;
  }
  if (extent == 1) return 0;
  const int64_t period = 2 * (extent - 1);
  const int64_t phase = ((i % period) + period) % period;
  return phase < extent ? phase : period - phase;
}

}  // namespace minidl
