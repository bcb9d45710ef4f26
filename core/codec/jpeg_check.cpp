#include <minidl/core/codec/jpeg_check.h>

#include <algorithm>
#include <cstddef>

namespace minidl::detail {
namespace {

enum Marker { kStuffing = 0x00, kSof2 = 0xC2, kDht = 0xC4, kRst0 = 0xD0, kSoi = 0xD8, kEoi = 0xD9, kSos = 0xDA };

/// Walks over the segments of a JPEG file (ITU-T T.81, annex B).
class JpegCheck {
 public:
  explicit JpegCheck(std::span<const uint8_t> file) : file_(file) {}

  std::string_view defect() {
    for (int marker = next_marker(); marker >= 0 && marker != kEoi; marker = next_marker()) {
      if (marker == kStuffing || (marker >= kRst0 && marker <= kSoi)) continue;  // these have no segment
      const size_t left = file_.size() - position_;
      const size_t length = left < 2 ? 0 : size_t{file_[position_]} << 8 | file_[position_ + 1];
      if (length < 2 || length > left) return "a segment runs past the end of the file";
      const std::span<const uint8_t> segment = file_.subspan(position_ + 2, length - 2);
      position_ += length;
      if (marker == kSof2) progressive_ = true;
      if (marker == kDht && !define_tables(segment)) return "a Huffman table has too many codes";
      if (marker == kSos && !tables_defined(segment)) return "a scan uses a Huffman table that is not defined";
    }
    return {};
  }

 private:
  /// Code of the next marker, after any bytes that belong to none; -1 at the end of the file.
  int next_marker() {
    const auto mark = std::find(file_.begin() + static_cast<ptrdiff_t>(position_), file_.end(), uint8_t{0xFF});
    const auto code = std::find_if(mark, file_.end(), [](uint8_t byte) { return byte != 0xFF; });
    if (code == file_.end()) return -1;
    position_ = static_cast<size_t>(code - file_.begin()) + 1;
    return *code;
  }

  /// Any number of tables: class and slot, how many codes have 1 to 16 bits, one byte for each code.
  bool define_tables(std::span<const uint8_t> segment) {
    constexpr size_t kHead = 17;
    while (segment.size() >= kHead) {
      size_t codes = 0;
      for (const uint8_t count : segment.subspan(1, kHead - 1)) codes += count;
      if (codes > 256 || codes > segment.size() - kHead) return false;
      (segment[0] >> 4 == 0 ? dc_tables_ : ac_tables_) |= 1u << (segment[0] & 15);
      segment = segment.subspan(kHead + codes);
    }
    return segment.empty();
  }

  /// n, then n times: component, tables (dc, ac); first and last coefficient, bits of the approximation (high, low).
  bool tables_defined(std::span<const uint8_t> segment) const {
    if (segment.size() < 4 || segment.size() != 4 + size_t{2} * segment[0]) return true;  // the decoder refuses it
    const std::span<const uint8_t> approximation = segment.last(3);
    const bool needs_dc = !progressive_ || (approximation[0] == 0 && approximation[2] >> 4 == 0);
    const bool needs_ac = !progressive_ || approximation[0] > 0;
    for (size_t i = 2; i < segment.size() - 3; i += 2) {
      if (needs_dc && !(dc_tables_ >> (segment[i] >> 4) & 1)) return false;
      if (needs_ac && !(ac_tables_ >> (segment[i] & 15) & 1)) return false;
    }
    return true;
  }

  std::span<const uint8_t> file_;
  size_t position_ = 0;
  bool progressive_ = false;
  unsigned dc_tables_ = 0, ac_tables_ = 0;  // bit i: slot i is defined
};

}  // namespace

std::string_view jpeg_defect(std::span<const uint8_t> file) {
  return JpegCheck(file).defect();
}

}  // namespace minidl::detail
