#pragma once
#include <minidl/core/file.h>
#include <minidl/layers/codec/mat_stream.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minidl::detail {

/// Numbers of the MAT v5 format ("MAT-File Format", The MathWorks).
enum class MatClass : uint8_t {
  cell = 1,
  structure = 2,
  object = 3,
  text = 4,
  sparse = 5,
  f64 = 6,
  f32 = 7,
  i8 = 8,
  u8 = 9,
  i16 = 10,
  u16 = 11,
  i32 = 12,
  u32 = 13,
  i64 = 14,
  u64 = 15
};
enum class MatType : uint8_t {
  i8 = 1,
  u8 = 2,
  i16 = 3,
  u16 = 4,
  i32 = 5,
  u32 = 6,
  f32 = 7,
  f64 = 9,
  i64 = 12,
  u64 = 13,
  matrix = 14,
  compressed = 15,
  utf8 = 16,
  utf16 = 17,
  utf32 = 18
};
/// Bytes of one number or character; 0 for what is neither.
int64_t size_of(MatType type);

/// An array of a MAT file: its structure, with the values when they are few.
struct MatArray {
  MatClass type = MatClass::f64;
  std::string path;                 // as MATLAB writes it: "layers{1}.weights{2}"
  std::vector<int64_t> dims;        // as in the file; the first index is the fastest
  std::vector<std::string> fields;  // structure: names
  std::vector<MatArray> children;   // cell: elements; structure: the fields of its first element, of its second, ...
  std::string text;                 // text (UTF-8), of at most kMaxTextLength characters
  std::vector<double> values;       // numbers, when there are at most kMaxSmallCount
  size_t variable = 0;              // numbers: where the data is
  MatType stored_as = MatType::f64;
  int64_t offset = 0;  // in the stream of its variable

  /// Number of elements.
  int64_t count() const;
  bool is_number() const { return type >= MatClass::f64 && type <= MatClass::u64; }
  /// Field of a structure with one element; nullptr when it is no such structure or has no field of that name.
  const MatArray* field(std::string_view name) const;
  /// "single 3 x 3 x 3 x 64", for messages.
  std::string str() const;

  static constexpr int64_t kMaxSmallCount = 64;
  static constexpr int64_t kMaxTextLength = 4096;
};

/// Reader of MAT v5 files, little-endian, compressed or not. The constructor walks every element of the wanted
/// variables once, checks each size against the element around it and each checksum, and keeps structure and small
/// values; the numbers of large arrays are read when asked for. Memory is bounded by fixed limits, never by a number
/// from the file. Throws Error naming file, variable and element.
class MatFile {
 public:
  /// Only top-level variables called as in `wanted` are kept.
  MatFile(const std::filesystem::path& path, std::span<const std::string_view> wanted);

  const std::filesystem::path& path() const { return file_->path(); }
  /// nullptr when there is none.
  const MatArray* variable(std::string_view name) const;
  /// Names of all variables of the file.
  const std::vector<std::string>& names() const { return names_; }

  /// Numbers [first, first + output.size()) of an array, converted to f32. Fast when called in the order of the file.
  void read(const MatArray& array, int64_t first, std::span<float> output);

 private:
  struct Segment {
    int64_t begin, bytes;  // in the file, after the tag
    bool compressed;
  };

  MatStream open(size_t variable) const;

  std::shared_ptr<const InputFile> file_;
  std::vector<Segment> segments_;
  std::vector<MatArray> variables_;  // one per segment
  std::vector<std::string> names_;
  std::optional<MatStream> stream_;  // of the last read
  size_t stream_variable_ = 0;
};

}  // namespace minidl::detail
