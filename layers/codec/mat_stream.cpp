#include <minidl/core/error.h>
#include <minidl/layers/codec/mat_stream.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <utility>

namespace minidl::detail {

struct MatStream::Inflater {
  Inflater() { MINIDL_CHECK(inflateInit(&stream) == Z_OK, "[mat] zlib cannot start: out of memory"); }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream stream{};
  bool complete = false;  // the last byte was inflated and the checksum was right
  std::array<uint8_t, 64 << 10> compressed;
  std::array<uint8_t, 64 << 10> skipped;
};

MatStream::MatStream(std::shared_ptr<const InputFile> file, int64_t begin, int64_t bytes, bool compressed)
    : file_(std::move(file)), next_(begin), end_(begin + bytes) {
  if (compressed) inflater_ = std::make_unique<Inflater>();
}
MatStream::~MatStream() = default;
MatStream::MatStream(MatStream&&) noexcept = default;

void MatStream::read(void* data, int64_t bytes) {
  const int64_t missing = bytes - (inflater_ ? inflate_into(data, bytes) : copy_into(data, bytes));
  MINIDL_CHECK(missing == 0, "[mat] '{}' is damaged: an element ends {} bytes too early", file_->path().string(),
               missing);
}

void MatStream::skip(int64_t bytes) {
  if (inflater_) {
    for (int64_t piece; bytes > 0; bytes -= piece) {
      piece = std::min<int64_t>(bytes, std::ssize(inflater_->skipped));
      read(inflater_->skipped.data(), piece);
    }
    return;
  }
  MINIDL_CHECK(bytes <= end_ - next_, "[mat] '{}' is damaged: an element ends {} bytes too early",
               file_->path().string(), bytes - (end_ - next_));
  next_ += bytes;
  position_ += bytes;
}

void MatStream::finish() {
  uint8_t surplus = 0;
  const int64_t more = inflater_ ? inflate_into(&surplus, 1) : end_ - next_;
  MINIDL_CHECK(more == 0, "[mat] '{}' is damaged: an element has more data than it says", file_->path().string());
  MINIDL_CHECK(!inflater_ || inflater_->complete, "[mat] '{}' is damaged: compressed data ends too early",
               file_->path().string());
}

int64_t MatStream::copy_into(void* data, int64_t bytes) {
  const int64_t available = std::min(bytes, end_ - next_);
  file_->read(next_, data, available);
  next_ += available;
  position_ += available;
  return available;
}

int64_t MatStream::inflate_into(void* data, int64_t bytes) {
  z_stream& stream = inflater_->stream;
  auto* output = static_cast<uint8_t*>(data);
  int64_t done = 0;
  while (done < bytes && !inflater_->complete) {
    if (stream.avail_in == 0) {
      const int64_t piece = std::min<int64_t>(end_ - next_, std::ssize(inflater_->compressed));
      if (piece == 0) break;
      file_->read(next_, inflater_->compressed.data(), piece);
      next_ += piece;
      stream.next_in = inflater_->compressed.data();
      stream.avail_in = static_cast<uInt>(piece);
    }
    const auto wanted = static_cast<uInt>(std::min<int64_t>(bytes - done, 1 << 30));
    stream.next_out = output + done;
    stream.avail_out = wanted;
    const int status = inflate(&stream, Z_NO_FLUSH);
    // Z_BUF_ERROR: zlib wants more input.
    MINIDL_CHECK(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR,
                 "[mat] '{}' is damaged: its compressed data cannot be read near byte {} ({})", file_->path().string(),
                 next_ - stream.avail_in, stream.msg ? stream.msg : "zlib error");
    inflater_->complete = status == Z_STREAM_END;
    done += wanted - stream.avail_out;
  }
  position_ += done;
  return done;
}

}  // namespace minidl::detail
