#pragma once
#include <minidl/layers/codec/mat_file.h>

#include <functional>
#include <utility>

namespace minidl::detail {

/// An array to be written to a MAT file. Large data is produced when it is written, never held.
struct MatValue {
  using Sink = std::function<void(const void* data, int64_t bytes)>;

  MatClass type = MatClass::cell;
  std::vector<int64_t> dims = {0, 0};
  std::vector<std::string> fields = {};         // structure: names, shorter than 32 characters
  std::vector<MatValue> children = {};          // cell: elements; structure with one element: its fields
  MatType stored_as = MatType::f64;             // numbers and text
  int64_t bytes = 0;                            // of them
  std::function<void(const Sink&)> write = {};  // hands over exactly that many bytes
  bool logical = false;

  static MatValue text(const std::string& utf8);
  static MatValue row(const std::vector<double>& numbers);  // 1 x n
  static MatValue boolean(bool value);
  static MatValue cell(std::vector<MatValue> elements);  // 1 x n
  static MatValue structure(const std::vector<std::pair<std::string, MatValue>>& fields);
  static MatValue singles(std::vector<int64_t> dims, std::function<void(const Sink&)> write);
};

/// Writes a MAT v5 file with these variables, each compressed, atomically. The bytes depend on nothing but the values.
/// Throws Error naming the file; a variable is limited to 4 GiB by the format.
void write_mat(const std::filesystem::path& path, const std::vector<std::pair<std::string, MatValue>>& variables);

}  // namespace minidl::detail
