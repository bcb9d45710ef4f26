#include <minidl/core/error.h>
#include <minidl/layers/codec/mat_writer.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <numeric>

namespace fs = std::filesystem;

namespace minidl::detail {
namespace {

constexpr int64_t kFieldNameBytes = 32;
constexpr int kCompressionLevel = 3;  // twice as fast as zlib's default, files 8 % larger
constexpr uint32_t kLogicalFlag = 0x200;

int64_t padded(int64_t bytes) {
  return (bytes + 7) & ~int64_t{7};
}

int64_t element_bytes(int64_t data_bytes) {
  return 8 + padded(data_bytes);
}

/// Bytes of an array after its tag.
int64_t content_bytes(const MatValue& value, const std::string& name) {
  int64_t bytes = element_bytes(8) + element_bytes(4 * std::ssize(value.dims)) + element_bytes(std::ssize(name));
  if (value.type == MatClass::structure) bytes += 8 + element_bytes(kFieldNameBytes * std::ssize(value.fields));
  if (value.type != MatClass::structure && value.type != MatClass::cell) return bytes + element_bytes(value.bytes);
  for (const MatValue& child : value.children) bytes += 8 + content_bytes(child, "");
  return bytes;
}

/// Appends to a file, as it is or through zlib.
class Output {
 public:
  Output(const fs::path& temporary, const fs::path& path) : stream_(temporary, std::ios::binary), path_(path) {
    check();
  }

  void write_raw(const void* data, int64_t bytes) {
    stream_.write(static_cast<const char*>(data), bytes);
    check();
  }

  /// One compressed element with what `produce` writes to its sink.
  void write_compressed(const std::function<void(const MatValue::Sink&)>& produce) {
    const std::streampos tag_position = stream_.tellp();
    uint32_t tag[2] = {static_cast<uint32_t>(MatType::compressed), 0};
    write_raw(tag, sizeof tag);
    z_stream zlib{};
    MINIDL_CHECK(deflateInit(&zlib, kCompressionLevel) == Z_OK, "[mat] zlib cannot start: out of memory");
    const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&zlib, deflateEnd);
    produce([&](const void* data, int64_t bytes) { deflate_some(zlib, data, bytes, Z_NO_FLUSH); });
    deflate_some(zlib, nullptr, 0, Z_FINISH);
    const std::streamoff bytes = stream_.tellp() - tag_position - std::streamoff{sizeof tag};
    MINIDL_CHECK(bytes <= std::numeric_limits<uint32_t>::max(), "[mat] '{}': a variable needs more than 4 GiB",
                 path_.string());
    tag[1] = static_cast<uint32_t>(bytes);
    stream_.seekp(tag_position);
    write_raw(tag, sizeof tag);
    stream_.seekp(0, std::ios::end);
  }

  void close() {
    stream_.close();
    check();
  }

 private:
  void check() { MINIDL_CHECK(stream_.good(), "[mat] cannot write '{}': disk full or not writable", path_.string()); }

  void deflate_some(z_stream& zlib, const void* data, int64_t bytes, int flush) {
    auto* next = static_cast<const Bytef*>(data);
    do {
      const auto piece = static_cast<uInt>(std::min<int64_t>(bytes, 1 << 30));
      zlib.next_in = const_cast<Bytef*>(next);
      zlib.avail_in = piece;
      do {
        zlib.next_out = buffer_.data();
        zlib.avail_out = static_cast<uInt>(buffer_.size());
        deflate(&zlib, flush);
        write_raw(buffer_.data(), std::ssize(buffer_) - zlib.avail_out);
      } while (zlib.avail_out == 0);
      next += piece;
      bytes -= piece;
    } while (bytes > 0);
  }

  std::ofstream stream_;
  fs::path path_;
  std::array<Bytef, 64 << 10> buffer_;
};

void write_padding(int64_t bytes, const MatValue::Sink& sink) {
  constexpr uint8_t kZeros[8] = {};
  sink(kZeros, padded(bytes) - bytes);
}

void write_element(MatType type, const void* data, int64_t bytes, const MatValue::Sink& sink) {
  const uint32_t tag[2] = {static_cast<uint32_t>(type), static_cast<uint32_t>(bytes)};
  sink(tag, sizeof tag);
  sink(data, bytes);
  write_padding(bytes, sink);
}

void write_array(const MatValue& value, const std::string& name, const MatValue::Sink& sink) {
  const uint32_t tag[2] = {static_cast<uint32_t>(MatType::matrix), static_cast<uint32_t>(content_bytes(value, name))};
  sink(tag, sizeof tag);
  const uint32_t flags[2] = {static_cast<uint32_t>(value.type) | (value.logical ? kLogicalFlag : 0), 0};
  write_element(MatType::u32, flags, sizeof flags, sink);
  const std::vector<int32_t> dims(value.dims.begin(), value.dims.end());
  write_element(MatType::i32, dims.data(), 4 * std::ssize(dims), sink);
  write_element(MatType::i8, name.data(), std::ssize(name), sink);
  if (value.type == MatClass::structure) {
    // The length of a field name is a short element: the data stands in the tag.
    const uint32_t length[2] = {static_cast<uint32_t>(MatType::i32) | 4u << 16, kFieldNameBytes};
    sink(length, sizeof length);
    std::string names(static_cast<size_t>(kFieldNameBytes) * value.fields.size(), '\0');
    for (size_t i = 0; i < value.fields.size(); ++i)
      value.fields[i].copy(&names[kFieldNameBytes * i], kFieldNameBytes - 1);
    write_element(MatType::i8, names.data(), std::ssize(names), sink);
  }
  if (value.type == MatClass::structure || value.type == MatClass::cell) {
    for (const MatValue& child : value.children) write_array(child, "", sink);
    return;
  }
  const uint32_t data[2] = {static_cast<uint32_t>(value.stored_as), static_cast<uint32_t>(value.bytes)};
  sink(data, sizeof data);
  value.write(sink);
  write_padding(value.bytes, sink);
}

}  // namespace

MatValue MatValue::text(const std::string& utf8) {
  const auto characters = std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return {.type = MatClass::text,
          .dims = {utf8.empty() ? 0 : 1, characters},
          .stored_as = MatType::utf8,
          .bytes = std::ssize(utf8),
          .write = [utf8](const Sink& sink) { sink(utf8.data(), std::ssize(utf8)); }};
}

MatValue MatValue::row(const std::vector<double>& numbers) {
  return {.type = MatClass::f64,
          .dims = {1, std::ssize(numbers)},
          .stored_as = MatType::f64,
          .bytes = 8 * std::ssize(numbers),
          .write = [numbers](const Sink& sink) { sink(numbers.data(), 8 * std::ssize(numbers)); }};
}

MatValue MatValue::boolean(bool value) {
  return {.type = MatClass::u8,
          .dims = {1, 1},
          .stored_as = MatType::u8,
          .bytes = 1,
          .write = [value](const Sink& sink) { sink(&value, 1); },
          .logical = true};
}

MatValue MatValue::cell(std::vector<MatValue> elements) {
  MatValue result;  // 0 x 0
  if (!elements.empty()) result.dims = {1, std::ssize(elements)};
  result.children = std::move(elements);
  return result;
}

MatValue MatValue::structure(const std::vector<std::pair<std::string, MatValue>>& fields) {
  MatValue result{.type = MatClass::structure, .dims = {1, 1}};
  for (const auto& [name, value] : fields) {
    result.fields.push_back(name);
    result.children.push_back(value);
  }
  return result;
}

MatValue MatValue::singles(std::vector<int64_t> dims, std::function<void(const Sink&)> write) {
  const int64_t count = std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
  return {.type = MatClass::f32,
          .dims = std::move(dims),
          .stored_as = MatType::f32,
          .bytes = 4 * count,
          .write = std::move(write)};
}

void write_mat(const fs::path& path, const std::vector<std::pair<std::string, MatValue>>& variables) {
  for (const auto& [name, value] : variables) {
    MINIDL_CHECK(content_bytes(value, name) <= std::numeric_limits<uint32_t>::max(),
                 "[mat] cannot write '{}': variable '{}' needs more than the 4 GiB of the format", path.string(), name);
  }
  write_atomically(path, [&](const fs::path& temporary) {
    Output output(temporary, path);
    std::string header = "MATLAB 5.0 MAT-file, written by libminidl";
    header.resize(116, ' ');
    header += std::string(8, '\0') + std::string("\x00\x01IM", 4);
    output.write_raw(header.data(), std::ssize(header));
    for (const auto& variable : variables) {
      output.write_compressed([&](const MatValue::Sink& sink) { write_array(variable.second, variable.first, sink); });
    }
    output.close();
  });
}

}  // namespace minidl::detail
