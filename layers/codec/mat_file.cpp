#include <minidl/core/error.h>
#include <minidl/layers/codec/mat_file.h>
#include <minidl/layers/codec/mat_parser.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace minidl::detail {
namespace {

constexpr int64_t kHeaderBytes = 128;
constexpr int64_t kTagBytes = 8;
constexpr size_t kMaxVariables = 1000;
constexpr int64_t kMaxStructureBytes = 64 << 20;  // a network with 1000 class names takes less than 1 MB
static_assert(std::endian::native == std::endian::little, "numbers of MAT files are taken as they are");

const char* name_of(MatClass type) {
  switch (type) {
    case MatClass::cell:
      return "cell";
    case MatClass::structure:
      return "struct";
    case MatClass::text:
      return "text";
    case MatClass::f64:
      return "double";
    case MatClass::f32:
      return "single";
    case MatClass::i8:
      return "int8";
    case MatClass::u8:
      return "uint8";
    case MatClass::i16:
      return "int16";
    case MatClass::u16:
      return "uint16";
    case MatClass::i32:
      return "int32";
    case MatClass::u32:
      return "uint32";
    case MatClass::i64:
      return "int64";
    case MatClass::u64:
      return "uint64";
    default:
      return "object";
  }
}

}  // namespace

int64_t size_of(MatType type) {
  switch (type) {
    case MatType::i8:
    case MatType::u8:
    case MatType::utf8:
      return 1;
    case MatType::i16:
    case MatType::u16:
    case MatType::utf16:
      return 2;
    case MatType::i32:
    case MatType::u32:
    case MatType::f32:
    case MatType::utf32:
      return 4;
    case MatType::f64:
    case MatType::i64:
    case MatType::u64:
      return 8;
    default:
      return 0;
  }
}

int64_t MatArray::count() const {
  int64_t count = 1;
  for (const int64_t extent : dims) count *= extent;
  return count;
}

const MatArray* MatArray::field(std::string_view name) const {
  if (type != MatClass::structure || children.size() != fields.size()) return nullptr;
  const auto found = std::find(fields.begin(), fields.end(), name);
  return found == fields.end() ? nullptr : &children[found - fields.begin()];
}

std::string MatArray::str() const {
  std::string result = name_of(type);
  for (size_t i = 0; i < dims.size(); ++i) result += (i ? " x " : " ") + std::to_string(dims[i]);
  return result;
}

MatFile::MatFile(const std::filesystem::path& path, std::span<const std::string_view> wanted)
    : file_(std::make_shared<InputFile>(path)) {
  const std::string file = path.string();
  char header[kHeaderBytes];
  MINIDL_CHECK(file_->size() >= kHeaderBytes, "[mat] '{}' has {} bytes: less than the header of a MAT file", file,
               file_->size());
  file_->read(0, header, kHeaderBytes);
  MINIDL_CHECK(std::memcmp(header + 126, "MI", 2) != 0,
               "[mat] '{}' is big-endian; save it again in MATLAB on a current machine", file);
  MINIDL_CHECK(std::memcmp(header + 124, "\x00\x01IM", 4) == 0, "[mat] '{}' is no MAT file of version 5", file);
  int64_t budget = kMaxStructureBytes;
  for (int64_t position = kHeaderBytes; position < file_->size();) {
    uint32_t tag[2] = {};
    const int64_t left = file_->size() - position - kTagBytes;
    if (left >= 0) file_->read(position, tag, kTagBytes);
    MINIDL_CHECK(left >= tag[1], "[mat] '{}' is cut off: its variable {} has {} bytes, {} are left", file,
                 segments_.size() + 1, tag[1], std::max<int64_t>(left, 0));
    MINIDL_CHECK(segments_.size() < kMaxVariables, "[mat] '{}' has more than {} variables: no network has", file,
                 kMaxVariables);
    const bool compressed = tag[0] == static_cast<uint32_t>(MatType::compressed);
    MINIDL_CHECK(compressed || tag[0] == static_cast<uint32_t>(MatType::matrix),
                 "[mat] '{}' is damaged: its variable {} has element type {}, expected 14 or 15", file,
                 segments_.size() + 1, tag[0]);
    // The array's own tag belongs to the stream: compressed data begins with it.
    const Segment segment =
        compressed ? Segment{position + kTagBytes, tag[1], true} : Segment{position, kTagBytes + tag[1], false};
    const int64_t limit = compressed ? kTagBytes + std::numeric_limits<uint32_t>::max() : segment.bytes;
    segments_.push_back(segment);
    position += kTagBytes + tag[1];
    MatStream stream = open(segments_.size() - 1);
    MatArray variable = MatParser(stream, file, segments_.size() - 1, budget).parse(limit, wanted);
    MINIDL_CHECK(std::find(wanted.begin(), wanted.end(), variable.path) == wanted.end() ||
                     std::find(names_.begin(), names_.end(), variable.path) == names_.end(),
                 "[mat] '{}' has two variables called '{}'", file, variable.path);
    names_.push_back(variable.path);
    variables_.push_back(std::move(variable));
  }
}

MatStream MatFile::open(size_t variable) const {
  const Segment& segment = segments_[variable];
  return MatStream(file_, segment.begin, segment.bytes, segment.compressed);
}

const MatArray* MatFile::variable(std::string_view name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  return found == names_.end() ? nullptr : &variables_[found - names_.begin()];
}

void MatFile::read(const MatArray& array, int64_t first, std::span<float> output) {
  const int64_t size = size_of(array.stored_as);
  const int64_t begin = array.offset + first * size;
  if (!stream_ || stream_variable_ != array.variable || stream_->position() > begin) {
    stream_.emplace(open(array.variable));
    stream_variable_ = array.variable;
  }
  stream_->skip(begin - stream_->position());
  if (array.stored_as == MatType::f32) {
    stream_->read(output.data(), std::ssize(output) * size);
    return;
  }
  std::array<uint8_t, 32 << 10> piece;
  while (!output.empty()) {
    const int64_t count = std::min<int64_t>(std::ssize(output), std::ssize(piece) / size);
    stream_->read(piece.data(), count * size);
    convert_numbers(array.stored_as, piece.data(), count, output.data());
    output = output.subspan(static_cast<size_t>(count));
  }
}

}  // namespace minidl::detail
