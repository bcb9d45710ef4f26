#include <minidl/core/codec/image_decode.h>
#include <minidl/core/codec/jpeg_check.h>
#include <minidl/core/error.h>
#include <stb_image.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

namespace minidl::detail {
namespace {

/// stb_image refuses more: its buffers have sizes of type int.
constexpr int64_t kMostPixels = int64_t{1} << 28;

constexpr std::string_view kUnmarked = "TGA";
/// How files of each kind begin; a JPEG's first marker may follow any number of FF. No kind: what stb_image would read,
/// too, but has values beyond [0, 255] (Radiance) or a reader that checks too little (Softimage).
constexpr std::pair<std::string_view, std::string_view> kMarks[] = {{"\x89PNG\r\n\x1a\n", "PNG"},
                                                                    {"\xff", "JPEG"},
                                                                    {"BM", "BMP"},
                                                                    {"GIF8", "GIF"},
                                                                    {"8BPS", "PSD"},
                                                                    {"P5", "PNM"},
                                                                    {"P6", "PNM"},
                                                                    {"#?", ""},
                                                                    {"\x53\x80\xf6\x34", ""}};

std::string_view kind_of(std::string_view bytes) {
  for (const auto& [mark, kind] : kMarks) {
    if (bytes.starts_with(mark)) return kind;
  }
  return kUnmarked;
}

/// Where stb_image reads from. It takes bytes after the end of its input for zeros and decodes on without a word, so
/// the source notes when they are asked for: the file was cut off.
struct Source {
  std::span<const uint8_t> bytes;
  size_t position = 0;
  bool past_end = false;

  static int read(void* user, char* data, int wanted) {
    constexpr int kRefill = 128;  // bytes that stb_image reads ahead; the other requests are for exactly what is needed
    auto& source = *static_cast<Source*>(user);
    const size_t count = std::min(static_cast<size_t>(wanted), source.bytes.size() - source.position);
    if (count == 0 || (count < static_cast<size_t>(wanted) && wanted != kRefill)) source.past_end = true;
    std::memcpy(data, source.bytes.data() + source.position, count);
    source.position += count;
    return static_cast<int>(count);
  }
  static void skip(void* user, int count) {
    auto& source = *static_cast<Source*>(user);
    source.position = std::min(source.bytes.size(), source.position + static_cast<size_t>(std::max(count, 0)));
  }
  static int eof(void* user) {
    const auto& source = *static_cast<Source*>(user);
    return source.position == source.bytes.size();
  }
};

struct Size {
  int64_t height = 0, width = 0;
};

uint32_t big_endian_32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | uint32_t{bytes[3]};
}

/// Height and width by the header alone, nothing where it cannot be read. stb_image keeps the size of a PNG that is too
/// large for it to itself: there it is read at its fixed place.
std::optional<Size> size_in_header(std::span<const uint8_t> bytes, std::string_view kind) {
  constexpr size_t kPngWidth = 16, kPngHeight = 20;
  if (kind == "PNG" && bytes.size() >= kPngHeight + 4) {
    return Size{big_endian_32(bytes.data() + kPngHeight), big_endian_32(bytes.data() + kPngWidth)};
  }
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height, &channels)) return {};
  return Size{height, width};
}

/// Checks all that can be known before the samples are decoded.
void check_header(const std::string& file, std::span<const uint8_t> bytes, std::string_view kind, int64_t max_pixels) {
  MINIDL_CHECK(!bytes.empty(), "[image] cannot read '{}': the file is empty", file);
  MINIDL_CHECK(bytes.size() <= static_cast<size_t>(std::numeric_limits<int>::max()),
               "[image] cannot read '{}': {} bytes are more than any picture that is read", file, bytes.size());
  if (kind == "JPEG") {  // before stb_image sees any of it
    const std::string_view defect = jpeg_defect(bytes);
    MINIDL_CHECK(defect.empty(), "[image] cannot read '{}': the JPEG is truncated or damaged: {}", file, defect);
  }
  const std::optional<Size> size = kind.empty() ? std::nullopt : size_in_header(bytes, kind);
  MINIDL_CHECK(
      size || !(kind.empty() || kind == kUnmarked),
      "[image] cannot read '{}': it is not a picture of a kind that is read (PNG, JPEG, BMP, TGA, PSD, GIF, PNM)",
      file);
  MINIDL_CHECK(size, "[image] cannot read '{}': the {} is truncated or damaged", file, kind);
  MINIDL_CHECK(size->width > 0 && size->height > 0, "[image] cannot read '{}': it has no pixels ({} x {})", file,
               size->width, size->height);
  const int64_t most = std::min(max_pixels, kMostPixels);
  MINIDL_CHECK(size->height <= most / size->width,
               "[image] '{}' is too large: {} x {} pixels, at most {} in all are read", file, size->width, size->height,
               most);
}

/// The 16-bit samples of PNM files are big-endian; whether stb_image knows depends on its version.
bool swaps_pnm_samples() {
  constexpr std::string_view kPixel("P5 1 1 65535\n\x01\x02", 15);
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_us, void (*)(void*)> pixel(
      stbi_load_16_from_memory(reinterpret_cast<const stbi_uc*>(kPixel.data()), static_cast<int>(kPixel.size()), &width,
                               &height, &channels, 0),
      &stbi_image_free);
  return pixel && *pixel == 0x0201;
}

void swap_bytes(DecodedImage& image) {
  auto* samples = static_cast<uint16_t*>(image.samples.get());
  const int64_t count = image.height * image.width * image.channels;
  std::transform(samples, samples + count, samples,
                 [](uint16_t sample) { return static_cast<uint16_t>(sample << 8 | sample >> 8); });
}

}  // namespace

DecodedImage decode_image(const std::string& file, std::span<const uint8_t> bytes, int64_t max_pixels) {
  const std::string_view kind = kind_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  check_header(file, bytes, kind, max_pixels);
  const bool deep = stbi_is_16_bit_from_memory(bytes.data(), static_cast<int>(bytes.size())) != 0;
  const stbi_io_callbacks callbacks{&Source::read, &Source::skip, &Source::eof};
  Source source{bytes};
  int width = 0, height = 0, channels = 0;
  void* samples =
      deep ? static_cast<void*>(stbi_load_16_from_callbacks(&callbacks, &source, &width, &height, &channels, 0))
           : stbi_load_from_callbacks(&callbacks, &source, &width, &height, &channels, 0);
  DecodedImage image{height, width, channels, deep ? 16 : 8, {samples, &stbi_image_free}};
  MINIDL_CHECK(!source.past_end, "[image] cannot read '{}': the file is truncated", file);
  const char* reason = samples ? nullptr : stbi_failure_reason();
  MINIDL_CHECK(samples, "[image] cannot read '{}': the file is damaged or of an unsupported variant ({})", file,
               reason ? reason : "stb_image gives no reason");
  MINIDL_CHECK(width > 0 && height > 0 && channels >= 1 && channels <= 4,
               "[image] cannot read '{}': it decodes to {} x {} with {} channels", file, width, height, channels);
  static const bool swaps = swaps_pnm_samples();
  if (deep && kind == "PNM" && swaps) swap_bytes(image);
  return image;
}

}  // namespace minidl::detail
