#pragma once
#include <minidl/core/file.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace minidl::detail {

/// Bytes of one top-level element of a MAT file, read forwards: as they are in the file, or inflated by zlib in pieces.
/// Needs a fixed amount of memory, whatever the file says.
class MatStream {
 public:
  /// The `bytes` bytes of `file` from `begin` on; the caller has checked that they lie inside the file.
  MatStream(std::shared_ptr<const InputFile> file, int64_t begin, int64_t bytes, bool compressed);
  ~MatStream();
  MatStream(MatStream&&) noexcept;

  /// Number of (inflated) bytes read or skipped so far.
  int64_t position() const { return position_; }
  /// Throws Error naming the file when the data ends before, or is not what zlib wrote.
  void read(void* data, int64_t bytes);
  void skip(int64_t bytes);
  /// To be called where the data should end: throws Error when there is more, or zlib's checksum of it all is wrong.
  void finish();

 private:
  struct Inflater;

  /// Both return the number of bytes there were, at most `bytes`.
  int64_t copy_into(void* data, int64_t bytes);
  int64_t inflate_into(void* data, int64_t bytes);

  std::shared_ptr<const InputFile> file_;
  int64_t next_, end_;  // bytes of the file not yet taken
  int64_t position_ = 0;
  std::unique_ptr<Inflater> inflater_;  // only when compressed
};

}  // namespace minidl::detail
