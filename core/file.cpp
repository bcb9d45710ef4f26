#include <minidl/core/error.h>
#include <minidl/core/file.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

namespace minidl {
namespace {

constexpr int64_t kMaxTransfer = int64_t{1} << 30;  // bytes per system call; Linux stops short of 2 GiB anyway

[[noreturn]] void fail_with_errno(const char* action, const fs::path& path, int error) {
  fail("[file] cannot {} '{}': {}", action, path.string(), std::generic_category().message(error));
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return value_; }
  explicit operator bool() const { return value_ >= 0; }
  int release() { return std::exchange(value_, -1); }
  /// False, with errno set, when a delayed write failed.
  bool close() { return value_ < 0 || ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

/// `name` identifies the file in errors: the final path, not the temporary one.
void write_all(int descriptor, std::span<const std::byte> bytes, const fs::path& name) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::write(descriptor, bytes.data(), std::min(bytes.size(), static_cast<size_t>(kMaxTransfer)));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_with_errno("write", name, errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

/// The file that a write to `path` replaces: what a symbolic link points to, else `path`.
fs::path write_target(const fs::path& path) {
  MINIDL_CHECK(path.has_filename() && path.filename() != "." && path.filename() != "..",
               "[file] '{}' does not name a file to write", path.string());
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  MINIDL_CHECK(!fs::is_directory(status), "[file] cannot write '{}': it is a directory", path.string());
  MINIDL_CHECK(!fs::exists(status) || fs::is_regular_file(status), "[file] cannot write '{}': it is not a regular file",
               path.string());
  if (!fs::is_symlink(fs::symlink_status(path, error))) return path;
  const fs::path target = fs::weakly_canonical(path, error);
  return error ? path : target;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// A new, empty, hidden file beside `target`; removed at the end of the scope unless it was renamed.
class TemporaryFile {
 public:
  TemporaryFile(const fs::path& target, const fs::path& name) {
    static std::atomic<uint64_t> counter{0};
    const std::string stem = "." + target.filename().string().substr(0, 200);  // names are limited to 255 bytes
    while (true) {
      path_ = folder_of(target) / (stem + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp");
      const Descriptor file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (file) return;
      if (errno != EEXIST) fail_with_errno("write", name, errno);
    }
  }
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const fs::path& path() const { return path_; }
  void rename_to(const fs::path& target, const fs::path& name) {
    if (::rename(path_.c_str(), target.c_str()) != 0) fail_with_errno("write", name, errno);
    path_.clear();
  }

 private:
  fs::path path_;
};

void flush_to_disk(const fs::path& path, const fs::path& name) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0 || !file.close()) fail_with_errno("write", name, errno);
}

/// Makes a rename in `folder` permanent. Some file systems cannot flush a folder, and one without read permission
/// cannot be opened: the rename was done there all the same.
void flush_folder(const fs::path& folder, const fs::path& name) {
  const Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file && ::fsync(file.get()) != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT))
    fail_with_errno("write", name, errno);
}

class Sha256 {
 public:
  Sha256() { check(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1); }

  void add(std::span<const std::byte> bytes) {
    check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }

  std::string text() {
    std::array<uint8_t, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1);
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (unsigned i = 0; i < length; ++i) {
      text += kDigits[digest[i] >> 4];
      text += kDigits[digest[i] & 15];
    }
    return text;
  }

 private:
  static void check(bool good) { MINIDL_CHECK(good, "[file] SHA-256 failed in OpenSSL"); }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

}  // namespace

// O_NONBLOCK: opening a named pipe must not wait for its writer; regular files ignore the flag.
InputFile::InputFile(const fs::path& path) : path_(path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file) fail_with_errno("read", path_, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_with_errno("read", path_, errno);
  MINIDL_CHECK(!S_ISDIR(status.st_mode), "[file] cannot read '{}': it is a directory", path_.string());
  MINIDL_CHECK(S_ISREG(status.st_mode), "[file] cannot read '{}': it is not a regular file", path_.string());
  size_ = status.st_size;
  descriptor_ = file.release();
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

void InputFile::read(int64_t offset, void* data, int64_t bytes) const {
  auto* target = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, target, static_cast<size_t>(std::min(bytes, kMaxTransfer)), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with_errno("read", path_, errno);
    MINIDL_CHECK(got > 0, "[file] cannot read '{}': it ends at byte {}, {} more were expected", path_.string(), offset,
                 bytes);
    target += got;
    offset += got;
    bytes -= got;
  }
}

std::vector<uint8_t> read_file(const fs::path& path, int64_t max_bytes) {
  const InputFile file(path);
  MINIDL_CHECK(file.size() <= max_bytes, "[file] '{}' is too large: {} bytes, at most {} are allowed", path.string(),
               file.size(), max_bytes);
  try {
    std::vector<uint8_t> contents(static_cast<size_t>(file.size()));
    file.read(0, contents.data(), file.size());
    return contents;
  } catch (const std::bad_alloc&) {
    fail("[file] '{}' is too large for the memory: {} bytes", path.string(), file.size());
  }
}

void write_atomically(const fs::path& path, const std::function<void(const fs::path& temporary)>& write) {
  const fs::path target = write_target(path);
  TemporaryFile temporary(target, path);
  write(temporary.path());
  flush_to_disk(temporary.path(), path);
  temporary.rename_to(target, path);
  flush_folder(folder_of(target), path);
}

void write_file_atomically(const fs::path& path, std::span<const std::span<const std::byte>> pieces) {
  write_atomically(path, [&](const fs::path& temporary) {
    Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) fail_with_errno("write", path, errno);
    for (const auto& piece : pieces) write_all(file.get(), piece, path);
    if (!file.close()) fail_with_errno("write", path, errno);
  });
}

void write_file_atomically(const fs::path& path, const void* data, size_t bytes) {
  const std::span<const std::byte> piece(static_cast<const std::byte*>(data), bytes);
  write_file_atomically(path, {&piece, 1});
}

void check_can_write(const fs::path& path) {
  const fs::path folder = folder_of(write_target(path)) / ".";  // the dot makes anything but a folder an error
  if (::access(folder.c_str(), W_OK | X_OK) != 0) fail_with_errno("write", path, errno);
}

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& letter : extension) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return extension;
}

fs::path plain_path(const fs::path& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error), canonical = fs::weakly_canonical(absolute, error);
  return error ? absolute.lexically_normal() : canonical;
}

bool is_same_file(const fs::path& a, const fs::path& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) || plain_path(a) == plain_path(b);
}

std::string sha256_of_file(const fs::path& path) {
  const InputFile file(path);
  Sha256 hash;
  std::vector<std::byte> piece(static_cast<size_t>(std::min(file.size(), int64_t{1} << 20)));
  for (int64_t offset = 0; offset < file.size();) {
    const int64_t bytes = std::min(file.size() - offset, static_cast<int64_t>(piece.size()));
    file.read(offset, piece.data(), bytes);
    hash.add(std::span(piece).first(static_cast<size_t>(bytes)));
    offset += bytes;
  }
  return hash.text();
}

std::string sha256_of_bytes(std::span<const std::span<const std::byte>> pieces) {
  Sha256 hash;
  for (const std::span<const std::byte> piece : pieces) hash.add(piece);
  return hash.text();
}

}  // namespace minidl
