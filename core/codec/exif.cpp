#include <libexif/exif-data.h>
#include <minidl/core/codec/exif.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <vector>

namespace minidl::detail {
namespace {

std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Contents of a PNG's eXIf chunk as libexif wants them; empty where there is none. Chunk: length (big-endian), type,
/// data, check sum.
std::vector<uint8_t> exif_chunk(std::span<const uint8_t> png) {
  constexpr std::string_view kExifHeader("Exif\0\0", 6);
  constexpr size_t kSignature = 8, kAround = 12;
  for (size_t position = kSignature; png.size() >= kAround && position <= png.size() - kAround;) {
    const uint8_t* chunk = png.data() + position;
    const size_t length = size_t{chunk[0]} << 24 | size_t{chunk[1]} << 16 | size_t{chunk[2]} << 8 | size_t{chunk[3]};
    if (length > png.size() - kAround - position) break;
    if (text_of({chunk + 4, 4}) == "eXIf") {
      std::vector<uint8_t> exif(kExifHeader.begin(), kExifHeader.end());
      exif.insert(exif.end(), chunk + 8, chunk + 8 + length);
      return exif;
    }
    position += length + kAround;
  }
  return {};
}

int orientation_in(std::span<const uint8_t> jpeg_or_exif) {
  const std::unique_ptr<ExifData, decltype(&exif_data_unref)> data(
      exif_data_new_from_data(jpeg_or_exif.data(), static_cast<unsigned>(jpeg_or_exif.size())), &exif_data_unref);
  if (!data) return 1;
  const ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (!entry || entry->format != EXIF_FORMAT_SHORT || entry->components < 1 || entry->size < 2) return 1;
  const int orientation = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

}  // namespace

int exif_orientation(std::span<const uint8_t> file) {
  const std::string_view text = text_of(file);
  if (text.starts_with("\xff\xd8")) return orientation_in(file);
  if (!text.starts_with("\x89PNG\r\n\x1a\n")) return 1;
  const std::vector<uint8_t> exif = exif_chunk(file);
  return exif.empty() ? 1 : orientation_in(exif);
}

}  // namespace minidl::detail
