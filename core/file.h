#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace minidl {

/// A regular file opened for reading at any position, by several threads at once. Throws Error naming the file
/// (missing, directory, not a regular file, unreadable).
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Bytes, when it was opened.
  int64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  /// Fills `data` with the bytes [offset, offset + bytes); throws Error when the file ends before.
  void read(int64_t offset, void* data, int64_t bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

/// Whole contents of a regular file of at most `max_bytes`. Throws Error (missing, directory, unreadable, too large)
/// naming the file.
std::vector<uint8_t> read_file(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 40);

/// Writes a file that is there whole or not at all: `write` gets the path of a temporary file in the same folder, which
/// is then flushed to disk and renamed to `path`. On any exception the temporary file is removed and an existing `path`
/// stays as it was. A symbolic link stays one: the file behind it is replaced. Throws Error naming `path` when the
/// folder does not exist or cannot be written, the disk is full, or `path` is a directory or device.
void write_atomically(const std::filesystem::path& path,
                      const std::function<void(const std::filesystem::path& temporary)>& write);
/// The same for bytes in memory.
void write_file_atomically(const std::filesystem::path& path, const void* data, size_t bytes);
/// The same for pieces of memory, one after the other in the file.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);

/// Throws the Error that write_atomically would give for `path` now, without writing: checked before hours of work.
void check_can_write(const std::filesystem::path& path);

/// Extension in lower case, with its point: ".png" of "Photo.PNG"; empty when there is none.
std::string lower_extension(const std::filesystem::path& path);
/// Absolute, without links and dots, whether the file exists or not: two names of one file become equal, but for hard
/// links.
std::filesystem::path plain_path(const std::filesystem::path& path);
/// Whether two names stand for one file, which need not exist.
bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b);

/// Lower-case hexadecimal SHA-256 of a file, read in pieces.
std::string sha256_of_file(const std::filesystem::path& path);
/// The same of pieces of memory, one after the other.
std::string sha256_of_bytes(std::span<const std::span<const std::byte>> pieces);

}  // namespace minidl
