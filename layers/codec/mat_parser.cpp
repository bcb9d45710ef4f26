#include <minidl/core/error.h>
#include <minidl/layers/codec/mat_parser.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>

namespace minidl::detail {
namespace {

constexpr int kMaxDepth = 16;           // arrays in arrays; a network file has 5
constexpr int64_t kMaxDimensions = 8;   // a filter has 4
constexpr int64_t kMaxFields = 256;     // of a structure
constexpr int64_t kMaxNameLength = 64;  // of variables and fields, as in MATLAB, with the final zero
constexpr uint32_t kComplexFlag = 0x800;

uint32_t load_u32(const uint8_t* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <typename Stored, typename Number>
void convert_from(const uint8_t* stored, int64_t count, Number* output) {
  for (int64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, stored + i * sizeof value, sizeof value);
    output[i] = static_cast<Number>(value);
  }
}

void append_utf8(uint32_t code, std::string& text) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  } else {
    text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
             static_cast<char>(0x80 | (code & 0x3F))};
  }
}

/// Bytes of UTF-8 stay; every other unit becomes one character (Latin-1, or UTF-16 within its first plane).
std::string decode_text(MatType type, const std::vector<uint8_t>& bytes) {
  std::string text;
  const int64_t unit = size_of(type);
  for (size_t i = 0; i + unit <= bytes.size(); i += unit) {
    if (type == MatType::utf8) {
      text += static_cast<char>(bytes[i]);
    } else if (unit == 1) {
      append_utf8(bytes[i], text);
    } else {
      const uint32_t code = unit == 2 ? bytes[i] | bytes[i + 1] << 8 : load_u32(&bytes[i]);
      append_utf8(code <= 0xFFFF && (code < 0xD800 || code > 0xDFFF) ? code : '?', text);
    }
  }
  return text;
}

/// The name in a field of fixed length, up to the first zero. Other characters than those of MATLAB's names become '?',
/// so that a name can be printed.
std::string identifier(const uint8_t* begin, size_t length) {
  std::string name(begin, std::find(begin, begin + length, uint8_t{0}));
  const auto is_foreign = [](unsigned char c) { return c > 127 || (!std::isalnum(c) && c != '_'); };
  std::replace_if(name.begin(), name.end(), is_foreign, '?');
  return name;
}

}  // namespace

template <typename Number>
void convert_numbers(MatType type, const uint8_t* stored, int64_t count, Number* output) {
  switch (type) {
    case MatType::i8:
      return convert_from<int8_t>(stored, count, output);
    case MatType::u8:
      return convert_from<uint8_t>(stored, count, output);
    case MatType::i16:
      return convert_from<int16_t>(stored, count, output);
    case MatType::u16:
      return convert_from<uint16_t>(stored, count, output);
    case MatType::i32:
      return convert_from<int32_t>(stored, count, output);
    case MatType::u32:
      return convert_from<uint32_t>(stored, count, output);
    case MatType::f32:
      return convert_from<float>(stored, count, output);
    case MatType::f64:
      return convert_from<double>(stored, count, output);
    case MatType::i64:
      return convert_from<int64_t>(stored, count, output);
    case MatType::u64:
      return convert_from<uint64_t>(stored, count, output);
    default:
      fail("[mat] element type {} is no number", static_cast<int>(type));
  }
}
template void convert_numbers(MatType type, const uint8_t* stored, int64_t count, float* output);
template void convert_numbers(MatType type, const uint8_t* stored, int64_t count, double* output);

template <typename... Values>
void MatParser::fail_at(const std::string& path, std::string_view format, const Values&... values) const {
  fail("[mat] '{}' is damaged at {}: {}", file_, path.empty() ? "its variable " + std::to_string(variable_ + 1) : path,
       format_message(format, {detail::text(values)...}));
}

void MatParser::keep(int64_t bytes) {
  budget_ -= bytes;
  MINIDL_CHECK(budget_ >= 0, "[mat] '{}' has far more parts than any network: it is damaged or no network", file_);
}

MatParser::Tag MatParser::read_tag(int64_t end, const std::string& path) {
  uint8_t bytes[8];
  if (end - stream_.position() < 8) fail_at(path, "an element is missing");
  stream_.read(bytes, 8);
  const uint32_t first = load_u32(bytes), second = load_u32(bytes + 4);
  if (first >> 16) {
    Tag tag{.type = static_cast<MatType>(first & 0xFF), .bytes = first >> 16, .is_inline = true};
    if (tag.bytes > 4 || (first & 0xFF00))
      fail_at(path, "a short element has type {} and {} bytes", first & 0xFFFF, tag.bytes);
    std::copy_n(bytes + 4, 4, tag.data.begin());
    return tag;
  }
  if (first > 0xFF) fail_at(path, "element type {} does not exist", first);
  if (second > end - stream_.position()) {
    fail_at(path, "an element says it has {} bytes where {} are left", second, end - stream_.position());
  }
  return {.type = static_cast<MatType>(first), .bytes = second, .is_inline = false};
}

void MatParser::skip_padding(const Tag& tag, int64_t end) {
  if (!tag.is_inline) stream_.skip(std::min(-tag.bytes & 7, end - stream_.position()));
}

std::vector<uint8_t> MatParser::read_element(int64_t end, int64_t max_bytes, const std::string& path) {
  const Tag tag = read_tag(end, path);
  if (tag.bytes > max_bytes)
    fail_at(path, "an element of its head has {} bytes, at most {} can be", tag.bytes, max_bytes);
  if (tag.is_inline) return {tag.data.begin(), tag.data.begin() + tag.bytes};
  std::vector<uint8_t> data(static_cast<size_t>(tag.bytes));
  stream_.read(data.data(), tag.bytes);
  skip_padding(tag, end);
  return data;
}

MatParser::Head MatParser::read_head(int64_t end, std::string path) {
  Head head;
  MatArray& array = head.array;
  array.path = std::move(path);
  keep(static_cast<int64_t>(sizeof(MatArray) + array.path.size()));
  const Tag tag = read_tag(end, array.path);
  if (tag.type != MatType::matrix)
    fail_at(array.path, "element type is {}, expected an array", static_cast<int>(tag.type));
  head.end = stream_.position() + (tag.is_inline ? 0 : tag.bytes);
  head.empty = tag.bytes == 0;
  array.dims = {0, 0};
  if (head.empty) return head;

  const std::vector<uint8_t> flags = read_element(head.end, 8, array.path);
  if (flags.size() != 8) fail_at(array.path, "its flags have {} bytes instead of 8", flags.size());
  array.type = static_cast<MatClass>(flags[0]);
  if (load_u32(flags.data()) & kComplexFlag) fail_at(array.path, "complex numbers are not supported");

  const std::vector<uint8_t> dims = read_element(head.end, 4 * kMaxDimensions, array.path);
  if (dims.size() < 8 || dims.size() % 4) fail_at(array.path, "its dimensions have {} bytes", dims.size());
  array.dims.clear();
  int64_t count = 1;
  for (size_t i = 0; i < dims.size(); i += 4) {
    const int64_t extent = load_u32(&dims[i]);
    if (extent > std::numeric_limits<int32_t>::max() || (extent && count > (int64_t{1} << 40) / extent)) {
      fail_at(array.path, "its dimensions are too large");
    }
    count *= extent;
    array.dims.push_back(extent);
  }
  const std::vector<uint8_t> name = read_element(head.end, kMaxNameLength, array.path);
  head.name = identifier(name.data(), name.size());
  return head;
}

MatArray MatParser::parse(int64_t limit, std::span<const std::string_view> wanted) {
  Head head = read_head(limit, "");
  head.array.path = head.name;
  if (std::find(wanted.begin(), wanted.end(), head.name) == wanted.end()) return std::move(head.array);
  read_content(head, 0);
  stream_.finish();
  return std::move(head.array);
}

MatArray MatParser::read_array(int64_t end, std::string path, int depth) {
  if (depth > kMaxDepth) fail_at(path, "arrays are nested more than {} deep", kMaxDepth);
  Head head = read_head(end, std::move(path));
  read_content(head, depth);
  return std::move(head.array);
}

void MatParser::read_content(Head& head, int depth) {
  MatArray& array = head.array;
  if (head.empty) return;
  if (array.type == MatClass::cell) {
    read_cell(array, head.end, depth);
  } else if (array.type == MatClass::structure) {
    read_structure(array, head.end, depth);
  } else if (array.type == MatClass::text) {
    read_text(array, head.end);
  } else if (array.is_number()) {
    read_numbers(array, head.end);
  }
  stream_.skip(head.end - stream_.position());
}

void MatParser::read_cell(MatArray& array, int64_t end, int depth) {
  const int64_t count = array.count();
  if (count > (end - stream_.position()) / 8) fail_at(array.path, "{} cells do not fit into it", count);
  for (int64_t i = 0; i < count; ++i) {
    array.children.push_back(read_array(end, array.path + "{" + std::to_string(i + 1) + "}", depth + 1));
  }
}

void MatParser::read_structure(MatArray& array, int64_t end, int depth) {
  const std::vector<uint8_t> length = read_element(end, 4, array.path);
  if (length.size() != 4) fail_at(array.path, "the length of its field names has {} bytes", length.size());
  const int64_t name_length = load_u32(length.data());
  if (name_length < 1 || name_length > kMaxNameLength)
    fail_at(array.path, "its field names have {} bytes", name_length);
  const std::vector<uint8_t> names = read_element(end, kMaxFields * name_length, array.path);
  const int64_t fields = std::ssize(names) / name_length;
  for (int64_t i = 0; i < fields; ++i) {
    array.fields.push_back(identifier(&names[i * name_length], name_length));
    keep(sizeof(std::string) + name_length);
  }
  const int64_t count = fields == 0 ? 0 : array.count();
  if (fields > 0 && count > (end - stream_.position()) / 8 / fields) {
    fail_at(array.path, "{} elements with {} fields do not fit into it", count, fields);
  }
  for (int64_t i = 0; i < count; ++i) {
    const std::string element = count == 1 ? array.path : array.path + "(" + std::to_string(i + 1) + ")";
    for (int64_t f = 0; f < fields; ++f) {
      array.children.push_back(read_array(end, element + "." + array.fields[f], depth + 1));
    }
  }
}

void MatParser::read_text(MatArray& array, int64_t end) {
  const Tag tag = read_tag(end, array.path);
  if (size_of(tag.type) == 0 || tag.type == MatType::f32 || tag.type == MatType::f64) {
    fail_at(array.path, "text is stored as element type {}", static_cast<int>(tag.type));
  }
  if (tag.bytes > MatArray::kMaxTextLength * 4 || array.count() > MatArray::kMaxTextLength) return;
  std::vector<uint8_t> data(tag.data.begin(), tag.data.begin() + (tag.is_inline ? tag.bytes : 0));
  if (!tag.is_inline) {
    data.resize(static_cast<size_t>(tag.bytes));
    stream_.read(data.data(), tag.bytes);
  }
  array.text = decode_text(tag.type, data);
  keep(std::ssize(array.text));
}

void MatParser::read_numbers(MatArray& array, int64_t end) {
  const Tag tag = read_tag(end, array.path);
  const int64_t size = size_of(tag.type);
  if (size == 0 || tag.type >= MatType::utf8) {
    fail_at(array.path, "numbers are stored as element type {}", static_cast<int>(tag.type));
  }
  if (tag.bytes != array.count() * size) {
    fail_at(array.path, "{} needs {} bytes, it has {}", array.str(), array.count() * size, tag.bytes);
  }
  array.variable = variable_;
  array.stored_as = tag.type;
  array.offset = stream_.position() - (tag.is_inline ? 4 : 0);
  if (array.count() > MatArray::kMaxSmallCount) return;
  std::array<uint8_t, 8 * MatArray::kMaxSmallCount> data{};
  if (tag.is_inline) {
    std::copy_n(tag.data.begin(), 4, data.begin());
  } else {
    stream_.read(data.data(), tag.bytes);
  }
  array.values.resize(static_cast<size_t>(array.count()));
  convert_numbers(tag.type, data.data(), array.count(), array.values.data());
  keep(8 * array.count());
}

}  // namespace minidl::detail
