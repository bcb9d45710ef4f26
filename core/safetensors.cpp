#include <minidl/core/codec/safetensors_header.h>
#include <minidl/core/file.h>
#include <minidl/core/parallel.h>
#include <minidl/core/safetensors.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

namespace minidl {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian and are read without conversion");

using detail::printable;

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = 100'000'000;

/// The part of the file before the data: length, then JSON padded with spaces so that the data starts 8-byte aligned.
std::string make_header(const std::string& file, const SafetensorsContent& content) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!content.metadata.empty()) header[detail::kSafetensorsMetadata] = content.metadata;
  int64_t position = 0;
  for (const auto& [name, tensor] : content.tensors) {
    MINIDL_CHECK(name != detail::kSafetensorsMetadata, "[safetensors] '{}': no tensor may be called {}", file,
                 printable(name));
    MINIDL_CHECK(!header.contains(name), "[safetensors] '{}': the name {} occurs twice", file, printable(name));
    MINIDL_CHECK(tensor, "[safetensors] '{}': tensor {} is undefined", file, printable(name));
    const auto* type = std::find_if(std::begin(detail::kSafetensorsDtypes), std::end(detail::kSafetensorsDtypes),
                                    [dtype = tensor.dtype()](const auto& pair) { return dtype == pair.second; });
    header[name] = {{"dtype", type->first},
                    {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                    {"data_offsets", {position, position + tensor.bytes()}}};
    position += tensor.bytes();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    fail("[safetensors] '{}': a name or the metadata is not valid UTF-8", file);
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  MINIDL_CHECK(text.size() <= kMaxHeaderBytes,
               "[safetensors] '{}': the header would have {} bytes, at most {} are allowed", file, text.size(),
               kMaxHeaderBytes);
  const uint64_t length = text.size();
  std::string prefix(kLengthBytes, '\0');
  std::memcpy(prefix.data(), &length, kLengthBytes);
  return prefix + text;
}

/// [a, rows, columns] to [a, columns, rows] for f32.
void swap_last_axes(const float* source, float* target, int64_t a, int64_t rows, int64_t columns) {
  parallel_for(0, a, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const float* from = source + i * rows * columns;
      float* to = target + i * rows * columns;
      for (int64_t column = 0; column < columns; ++column) {
        for (int64_t row = 0; row < rows; ++row) *to++ = from[row * columns + column];
      }
    }
  });
}

void check_rank_4(const Tensor& x, const char* op) {
  MINIDL_CHECK(x && x.shape().rank() == 4 && x.dtype() == Dtype::f32,
               "[{}] needs an f32 tensor with 4 dimensions, got {} {}", op, to_string(x.dtype()), x.shape());
}

}  // namespace

struct SafetensorsReader::State {
  explicit State(const std::filesystem::path& file_path) : file(std::in_place, file_path), path(file_path) {}
  State(std::span<const std::byte> bytes, const std::string& name) : memory(bytes), path(name) {}

  int64_t size() const { return file ? file->size() : std::ssize(memory); }
  /// The bytes [offset, offset + bytes), which lie within the size.
  void read(int64_t offset, void* data, int64_t bytes) const {
    if (file) {
      file->read(offset, data, bytes);
    } else {
      std::copy_n(memory.data() + offset, bytes, static_cast<std::byte*>(data));
    }
  }

  std::optional<InputFile> file;  // or
  std::span<const std::byte> memory;
  std::filesystem::path path;
  int64_t data_begin = 0;
  detail::SafetensorsHeader header;
  std::map<std::string, size_t, std::less<>> index;
};

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path)
    : SafetensorsReader(std::make_unique<State>(path)) {}

SafetensorsReader::SafetensorsReader(std::span<const std::byte> bytes, const std::string& name)
    : SafetensorsReader(std::make_unique<State>(bytes, name)) {}

SafetensorsReader::SafetensorsReader(std::unique_ptr<State> state) : state_(std::move(state)) {
  const std::string name = path().string();
  const int64_t size = state_->size();
  MINIDL_CHECK(size >= kLengthBytes, "[safetensors] '{}' has {} bytes, too few for a safetensors file", name, size);
  uint64_t length = 0;
  state_->read(0, &length, kLengthBytes);
  const auto most = static_cast<uint64_t>(std::min(kMaxHeaderBytes, size - kLengthBytes));
  MINIDL_CHECK(length <= most,
               "[safetensors] '{}': the header length {} is larger than {}; it is truncated or not a safetensors file",
               name, length, most);
  std::string text(length, '\0');
  state_->read(kLengthBytes, text.data(), static_cast<int64_t>(length));
  MINIDL_CHECK(text.starts_with('{'),
               "[safetensors] '{}': the header does not start with '{'; it is not a safetensors file", name);

  state_->data_begin = kLengthBytes + static_cast<int64_t>(length);
  state_->header = detail::parse_safetensors_header(name, text, size - state_->data_begin);
  for (size_t i = 0; i < tensors().size(); ++i) state_->index.emplace(tensors()[i].first, i);
}

SafetensorsReader::~SafetensorsReader() = default;
SafetensorsReader::SafetensorsReader(SafetensorsReader&&) noexcept = default;

const std::vector<std::pair<std::string, SafetensorsReader::Info>>& SafetensorsReader::tensors() const {
  return state_->header.tensors;
}
bool SafetensorsReader::contains(std::string_view name) const {
  return state_->index.contains(name);
}
const std::map<std::string, std::string>& SafetensorsReader::metadata() const {
  return state_->header.metadata;
}
const std::filesystem::path& SafetensorsReader::path() const {
  return state_->path;
}

const SafetensorsReader::Info& SafetensorsReader::info(std::string_view name) const {
  const auto found = state_->index.find(name);
  if (found != state_->index.end()) return tensors()[found->second].second;
  const std::string first = tensors().empty() ? "" : ", the first is " + printable(tensors().front().first);
  fail("[safetensors] '{}' has no tensor {}; it has {} tensors{}", path().string(), printable(name), tensors().size(),
       first);
}

Tensor SafetensorsReader::read(std::string_view name) const {
  const Info& wanted = info(name);
  Tensor tensor = Tensor::empty(wanted.shape, wanted.dtype);
  try {
    state_->read(state_->data_begin + wanted.begin, tensor.raw(), wanted.end - wanted.begin);
  } catch (const Error& error) {
    fail("[safetensors] tensor {}: {}", printable(name), error.what());
  }
  return tensor;
}

void write_safetensors(const std::filesystem::path& path, const SafetensorsContent& content) {
  const std::string header = make_header(path.string(), content);
  std::vector<Tensor> on_cpu;
  std::vector<std::span<const std::byte>> pieces{std::as_bytes(std::span(header))};
  for (const auto& [name, tensor] : content.tensors) {
    const Tensor& source = on_cpu.emplace_back(tensor.to(Device::cpu()));
    pieces.emplace_back(static_cast<const std::byte*>(source.raw()), static_cast<size_t>(source.bytes()));
  }
  write_file_atomically(path, pieces);
}

Tensor to_channels_first(const Tensor& x) {
  check_rank_4(x, "to_channels_first");
  const Shape& shape = x.shape();
  Tensor result = Tensor::empty({shape[0], shape[3], shape[1], shape[2]});
  swap_last_axes(x.data<float>(), result.data<float>(), shape[0], shape[1] * shape[2], shape[3]);
  return result;
}

Tensor to_channels_last(const Tensor& x) {
  check_rank_4(x, "to_channels_last");
  const Shape& shape = x.shape();
  Tensor result = Tensor::empty({shape[0], shape[2], shape[3], shape[1]});
  swap_last_axes(x.data<float>(), result.data<float>(), shape[0], shape[1], shape[2] * shape[3]);
  return result;
}

}  // namespace minidl
