#pragma once
#include <minidl/core/tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minidl {

/// Reader of the safetensors format: 8-byte little-endian header length, JSON header, raw data. Everything in the
/// header is checked against the file's size before it is used; data is read when a tensor is asked for. Throws Error
/// naming the file and the tensor.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);
  /// The same of a file's contents in memory, which must outlive the reader; `name` stands for the path.
  SafetensorsReader(std::span<const std::byte> bytes, const std::string& name);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;

  struct Info {
    Dtype dtype;         // of the tensor that read() gives
    Shape shape;         // at most 4 dimensions
    int64_t begin, end;  // bytes after the header
  };
  /// In the order of the data.
  const std::vector<std::pair<std::string, Info>>& tensors() const;
  bool contains(std::string_view name) const;
  const Info& info(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const;
  Tensor read(std::string_view name) const;
  const std::filesystem::path& path() const;

 private:
  struct State;
  explicit SafetensorsReader(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

/// Named tensors in the order in which they are written. Types f32, f16, bf16, f64, i64, i32, i8, u8.
struct SafetensorsContent {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::map<std::string, std::string> metadata;
};
/// Writes atomically (temporary file, flush, rename). Data starts 8-byte aligned. Throws Error for duplicate names.
void write_safetensors(const std::filesystem::path& path, const SafetensorsContent& content);

/// Filters between memory order [out, kh, kw, in] and file order [out, in, kh, kw] (PyTorch's), and feature maps
/// between NHWC and NCHW: the same permutation. Rank 4, f32.
Tensor to_channels_first(const Tensor& x);
Tensor to_channels_last(const Tensor& x);

}  // namespace minidl
