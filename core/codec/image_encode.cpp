#include <minidl/core/codec/image_encode.h>
#include <minidl/core/error.h>
#include <png.h>
#include <stb_image_write.h>

#include <csetjmp>
#include <cstdio>
#include <limits>
#include <memory>
#include <new>

namespace minidl::detail {
namespace {

/// Where the encoders, which are C, put bytes: exceptions must not pass through them.
struct Sink {
  std::vector<uint8_t> bytes;
  bool out_of_memory = false;
  char message[160] = "";  // libpng's reason

  void append(const void* data, size_t size) noexcept {
    const auto* source = static_cast<const uint8_t*>(data);
    try {
      if (!out_of_memory) bytes.insert(bytes.end(), source, source + size);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  }
};

void png_append(png_structp png, png_bytep data, size_t size) {
  auto& sink = *static_cast<Sink*>(png_get_io_ptr(png));
  sink.append(data, size);
  if (sink.out_of_memory) png_error(png, "out of memory");
}
void png_flush_nothing(png_structp) {}
void png_ignore_warning(png_structp, png_const_charp) {}
[[noreturn]] void png_note_error(png_structp png, png_const_charp message) {
  auto& sink = *static_cast<Sink*>(png_get_error_ptr(png));
  std::snprintf(sink.message, sizeof sink.message, "%s", message);
  png_longjmp(png, 1);
}

/// libpng comes back here by longjmp when something fails: nothing in this function may need a destructor.
bool write_png(png_structp png, png_infop info, const EncodableImage& image) {
  if (setjmp(png_jmpbuf(png))) return false;
  const int colour = image.channels == 4 ? PNG_COLOR_TYPE_RGB_ALPHA : PNG_COLOR_TYPE_RGB;
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
               image.bit_depth, colour, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const int64_t row_bytes = image.width * image.channels * (image.bit_depth / 8);
  for (int64_t y = 0; y < image.height; ++y) png_write_row(png, image.samples.data() + y * row_bytes);
  png_write_end(png, info);
  return true;
}

void encode_png(const std::string& file, const EncodableImage& image, Sink& sink) {
  struct Handles {
    png_structp png = nullptr;
    png_infop info = nullptr;
    ~Handles() { png_destroy_write_struct(&png, &info); }
  } handles;
  handles.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink, &png_note_error, &png_ignore_warning);
  if (handles.png) handles.info = png_create_info_struct(handles.png);
  MINIDL_CHECK(handles.info,
               "[image] cannot write '{}': libpng could not start (out of memory, or a different version)", file);
  png_set_write_fn(handles.png, &sink, &png_append, &png_flush_nothing);
  MINIDL_CHECK(write_png(handles.png, handles.info, image), "[image] cannot write '{}': {} ({} x {} pixels)", file,
               sink.message, image.width, image.height);
}

void encode_with_stb(const std::string& file, const EncodableImage& image, ImageFormat format, int jpeg_quality,
                     Sink& sink) {
  constexpr int64_t kMaxSide = 65535;  // 16 bits in the headers of JPEG and TGA
  constexpr int64_t kMaxBytes =
      std::numeric_limits<int>::max() / 2;  // stb_image_write counts them in int, headers and padding too
  MINIDL_CHECK(
      image.width <= kMaxSide && image.height <= kMaxSide && image.width * image.height * image.channels <= kMaxBytes,
      "[image] cannot write '{}': {} x {} pixels are too many for this format; PNG holds them", file, image.width,
      image.height);
  const int width = static_cast<int>(image.width), height = static_cast<int>(image.height);
  const auto append = [](void* context, void* data, int size) {
    static_cast<Sink*>(context)->append(data, static_cast<size_t>(size));
  };
  const void* samples = image.samples.data();
  int good = 0;
  if (format == ImageFormat::jpeg)
    good = stbi_write_jpg_to_func(append, &sink, width, height, image.channels, samples, jpeg_quality);
  if (format == ImageFormat::bmp) good = stbi_write_bmp_to_func(append, &sink, width, height, image.channels, samples);
  if (format == ImageFormat::tga) good = stbi_write_tga_to_func(append, &sink, width, height, image.channels, samples);
  MINIDL_CHECK(good != 0 && !sink.out_of_memory,
               "[image] cannot write '{}': not enough memory to encode {} x {} pixels", file, width, height);
}

}  // namespace

std::vector<uint8_t> encode_image(const std::string& file, const EncodableImage& image, ImageFormat format,
                                  int jpeg_quality) {
  Sink sink;
  if (format == ImageFormat::png) {
    encode_png(file, image, sink);
  } else {
    encode_with_stb(file, image, format, jpeg_quality, sink);
  }
  return std::move(sink.bytes);
}

}  // namespace minidl::detail
