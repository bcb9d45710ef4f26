#pragma once
#include <minidl/layers/codec/mat_file.h>

#include <array>

namespace minidl::detail {

/// Walks the elements of one top-level variable.
class MatParser {
 public:
  /// `file` is for errors; `budget` is the number of bytes that the kept structure may still take, shared by all
  /// variables.
  MatParser(MatStream& stream, std::string file, size_t variable, int64_t& budget)
      : stream_(stream), file_(std::move(file)), variable_(variable), budget_(budget) {}

  /// The variable, which ends at `limit` of the stream at the latest; without its content when it is not called as in
  /// `wanted`.
  MatArray parse(int64_t limit, std::span<const std::string_view> wanted);

 private:
  struct Tag {
    MatType type;
    int64_t bytes;
    bool is_inline;                 // up to 4 bytes of data stand in the tag itself
    std::array<uint8_t, 4> data{};  // then
  };
  /// What every array begins with.
  struct Head {
    MatArray array;
    std::string name;
    int64_t end = 0;  // of the array, in the stream
    bool empty = false;
  };

  template <typename... Values>
  [[noreturn]] void fail_at(const std::string& path, std::string_view format, const Values&... values) const;

  Tag read_tag(int64_t end, const std::string& path);
  void skip_padding(const Tag& tag, int64_t end);
  /// Data of an element of at most `max_bytes` bytes.
  std::vector<uint8_t> read_element(int64_t end, int64_t max_bytes, const std::string& path);
  Head read_head(int64_t end, std::string path);
  MatArray read_array(int64_t end, std::string path, int depth);
  void read_content(Head& head, int depth);
  void read_cell(MatArray& array, int64_t end, int depth);
  void read_structure(MatArray& array, int64_t end, int depth);
  void read_text(MatArray& array, int64_t end);
  void read_numbers(MatArray& array, int64_t end);
  void keep(int64_t bytes);

  MatStream& stream_;
  std::string file_;
  size_t variable_;
  int64_t& budget_;
};

/// `count` numbers stored as `type`.
template <typename Number>
void convert_numbers(MatType type, const uint8_t* stored, int64_t count, Number* output);
extern template void convert_numbers(MatType type, const uint8_t* stored, int64_t count, float* output);
extern template void convert_numbers(MatType type, const uint8_t* stored, int64_t count, double* output);

}  // namespace minidl::detail
