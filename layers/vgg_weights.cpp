#include <minidl/core/codec/safetensors_header.h>
#include <minidl/core/error.h>
#include <minidl/core/file.h>
#include <minidl/layers/codec/matconvnet.h>
#include <minidl/layers/codec/network_checks.h>
#include <minidl/layers/codec/network_safetensors.h>
#include <minidl/layers/vgg_weights.h>

#include <algorithm>
#include <cstring>

namespace fs = std::filesystem;

namespace minidl::layers {
namespace {

/// The published VGG-19, to which most damaged downloads turn out to belong.
constexpr const char* kKnownStem = "imagenet-vgg-verydeep-19";
constexpr int64_t kKnownBytes = 534'904'783;
constexpr const char* kKnownSha256 = "abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695";

constexpr size_t kMagicBytes = 512;

bool has(std::string_view magic, size_t at, std::string_view text) {
  return magic.substr(at).starts_with(text);
}

/// What a foreign file is and what to do about it; empty when it is not recognised.
std::string describe_foreign(std::string_view magic) {
  using namespace std::literals;
  if (has(magic, 0, "MATLAB 7.3"sv) || has(magic, 0, "\x89HDF"sv)) {
    return "a MATLAB 7.3 (HDF5) file; save it again in MATLAB with save(..., '-v7')";
  }
  if (has(magic, 0, "PK\x03\x04"sv) || has(magic, 0, "\x80\x02"sv)) {
    return "a PyTorch (.pth) or zip file; save its state_dict as .safetensors in Python";
  }
  if (has(magic, 0, "\x1f\x8b"sv)) return "packed with gzip; unpack it first";
  if (has(magic, 0, "version https://git-lfs"sv)) return "a Git LFS pointer; fetch the file itself with git lfs pull";
  if (has(magic, 0, "\x89PNG"sv) || has(magic, 0, "\xff\xd8\xff"sv)) return "a picture";
  const size_t text = magic.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (text != std::string_view::npos && magic[text] == '<')
    return "a web page, not the download itself; download again";
  return "";
}

/// For a file that is or calls itself the published VGG-19 and could not be read.
std::string known_file_hint(const fs::path& path) {
  std::error_code error;
  const auto bytes = static_cast<int64_t>(fs::file_size(path, error));
  const std::string name = path.filename().string();
  const size_t after = std::strlen(kKnownStem);
  const bool same_name = name.starts_with(kKnownStem) && (name.size() == after || name[after] != '-');
  if (error || (!same_name && bytes != kKnownBytes)) return "";
  const std::string hash = sha256_of_file(path);
  if (bytes == kKnownBytes && hash == kKnownSha256) return "";
  return detail::format_message(
      "; the published imagenet-vgg-verydeep-19.mat has {} bytes and SHA-256 {}, this file has {} and {}: download it "
      "again "
      "from the MatConvNet pretrained models page, https://www.vlfeat.org/matconvnet/pretrained",
      {std::to_string(kKnownBytes), kKnownSha256, std::to_string(bytes), hash});
}

NetworkDescription read_by_content(const fs::path& path, const std::vector<std::string>& until) {
  const InputFile file(path);
  std::string magic(static_cast<size_t>(std::min<int64_t>(file.size(), kMagicBytes)), '\0');
  file.read(0, magic.data(), std::ssize(magic));
  MINIDL_CHECK(!magic.empty(), "[network] '{}' is empty", path.string());
  const std::string_view endian = std::string_view(magic).substr(std::min<size_t>(magic.size(), 126), 2);
  if (magic.starts_with("MATLAB 5.0") || ((endian == "IM" || endian == "MI") && magic[124] == 0 && magic[125] == 1)) {
    return read_matconvnet(path, until);
  }
  if (magic.size() > 8 && magic[8] == '{') return read_network_safetensors(SafetensorsReader(path), until);
  const std::string foreign = describe_foreign(magic);
  MINIDL_CHECK(foreign.empty(), "[network] '{}' is {}; expected a MatConvNet .mat or a .safetensors file",
               path.string(), foreign);
  fail("[network] '{}' is neither a MatConvNet .mat nor a .safetensors file; it begins with {}", path.string(),
       detail::printable(magic.substr(0, 16)));
}

}  // namespace

NetworkDescription read_network(const fs::path& path, const std::vector<std::string>& until) {
  try {
    return read_by_content(path, until);
  } catch (const Error& error) {
    const std::string hint = known_file_hint(path);
    if (hint.empty()) throw;
    throw Error(error.what() + hint);
  }
}

NetworkDescription read_network(const SafetensorsReader& reader, const std::vector<std::string>& until) {
  return read_network_safetensors(reader, until);
}

void write_network(const fs::path& path, const NetworkDescription& network, Dtype storage) {
  const std::string extension = lower_extension(path);
  MINIDL_CHECK(extension == ".mat" || extension == ".safetensors",
               "[network] cannot write '{}': the extension is '{}', expected .mat or .safetensors", path.string(),
               extension);
  check_network(network);
  for (const LayerDescription& layer : network.layers) {
    MINIDL_CHECK(layer.kind != LayerDescription::Kind::conv || (layer.weight && layer.bias),
                 "[network] cannot write '{}': the weights of layer '{}' were not loaded", path.string(), layer.name);
  }
  if (extension == ".safetensors") return write_network_safetensors(path, network, storage);
  MINIDL_CHECK(!network.is_student(),
               "[network] cannot write '{}': MatConvNet has no place for a student's projections", path.string());
  write_matconvnet(path, network);
}

}  // namespace minidl::layers
