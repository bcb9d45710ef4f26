#pragma once
#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// Bytes of MAT v5 files, put together from the format's definition and without the library's own writer, so that the
/// two can be tested against each other and damaged files can be made.
namespace minidl::test::mat {

enum Class { kCell = 1, kStructure = 2, kText = 4, kDouble = 6, kSingle = 7, kUint8 = 9, kInt32 = 12 };
enum Type {
  kI8 = 1,
  kU8 = 2,
  kI16 = 3,
  kU16 = 4,
  kI32 = 5,
  kU32 = 6,
  kF32 = 7,
  kF64 = 9,
  kMatrix = 14,
  kCompressed = 15
};

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

inline std::string tag(uint32_t type, size_t bytes) {
  return bytes_of<uint32_t>({type, static_cast<uint32_t>(bytes)});
}

inline std::string element(uint32_t type, const std::string& data) {
  return tag(type, data.size()) + data + std::string((8 - data.size() % 8) % 8, '\0');
}

/// At most four bytes, kept in the tag.
inline std::string short_element(uint32_t type, std::string data) {
  const auto first = type | static_cast<uint32_t>(data.size()) << 16;
  data.resize(4, '\0');
  return bytes_of<uint32_t>({first}) + data;
}

/// An array up to its body, which is to have `body_bytes` bytes.
inline std::string array_head(int type, const std::vector<int32_t>& dims, size_t body_bytes,
                              const std::string& name = "") {
  const std::string head = element(kU32, bytes_of<uint32_t>({static_cast<uint32_t>(type), 0})) +
                           element(kI32, bytes_of(dims)) + element(kI8, name);
  return tag(kMatrix, head.size() + body_bytes) + head;
}
inline std::string array(int type, const std::vector<int32_t>& dims, const std::string& body,
                         const std::string& name = "") {
  return array_head(type, dims, body.size(), name) + body;
}

/// As doubles; MATLAB itself stores small whole numbers as bytes.
inline std::string doubles(const std::vector<int32_t>& dims, const std::vector<double>& values) {
  return array(kDouble, dims, element(kF64, bytes_of(values)));
}
inline std::string doubles_as_bytes(const std::vector<int32_t>& dims, const std::vector<double>& values) {
  const std::string data = bytes_of(std::vector<uint8_t>(values.begin(), values.end()));
  return array(kDouble, dims, data.size() <= 4 ? short_element(kU8, data) : element(kU8, data));
}
inline std::string singles(const std::vector<int32_t>& dims, const std::vector<float>& values) {
  return array(kSingle, dims, element(kF32, bytes_of(values)));
}

/// In 16-bit characters, as MATLAB writes.
inline std::string text(const std::string& ascii) {
  return array(kText, {1, static_cast<int32_t>(ascii.size())},
               element(kU16, bytes_of(std::vector<uint16_t>(ascii.begin(), ascii.end()))));
}

inline std::string cell(const std::vector<std::string>& elements, const std::string& name = "") {
  std::string body;
  for (const std::string& one : elements) body += one;
  return array(kCell, {1, static_cast<int32_t>(elements.size())}, body, name);
}

using Fields = std::vector<std::pair<std::string, std::string>>;
inline std::string structure(const Fields& fields, const std::string& name = "") {
  std::string names, values;
  for (const auto& [field, value] : fields) {
    std::string fixed = field;
    fixed.resize(32, '\0');
    names += fixed;
    values += value;
  }
  const std::string length = short_element(kI32, bytes_of<int32_t>({32}));
  return array(kStructure, {1, 1}, length + element(kI8, names) + values, name);
}

/// `data` and then `zeros` zero bytes, as a compressed element.
inline std::string compressed(const std::string& data, int64_t zeros = 0) {
  z_stream zlib{};
  if (deflateInit(&zlib, 6) != Z_OK) throw std::runtime_error("zlib cannot start");
  std::string packed, piece(64 << 10, '\0');
  const auto deflate_some = [&](const std::string& input, size_t bytes, int flush) {
    zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    zlib.avail_in = static_cast<uInt>(bytes);
    do {
      zlib.next_out = reinterpret_cast<Bytef*>(piece.data());
      zlib.avail_out = static_cast<uInt>(piece.size());
      deflate(&zlib, flush);
      packed.append(piece, 0, piece.size() - zlib.avail_out);
    } while (zlib.avail_out == 0);
  };
  deflate_some(data, data.size(), Z_NO_FLUSH);
  const std::string zero_piece(1 << 20, '\0');
  for (int64_t left = zeros; left > 0; left -= std::ssize(zero_piece)) {
    deflate_some(zero_piece, static_cast<size_t>(std::min(left, std::ssize(zero_piece))), Z_NO_FLUSH);
  }
  deflate_some("", 0, Z_FINISH);
  deflateEnd(&zlib);
  return tag(kCompressed, packed.size()) + packed;
}

inline std::string header() {
  std::string text = "MATLAB 5.0 MAT-file, Platform: GLNXA64, Created by a test";
  text.resize(116, ' ');
  return text + std::string(8, '\0') + std::string("\x00\x01IM", 4);
}

inline std::string file(const std::vector<std::string>& variables, bool compress) {
  std::string result = header();
  for (const std::string& variable : variables) result += compress ? compressed(variable) : variable;
  return result;
}

}  // namespace minidl::test::mat
