#include <minidl/core/codec/safetensors_header.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

namespace minidl::detail {
namespace {

using Entry = std::pair<std::string, SafetensorsReader::Info>;

/// Takes the header apart as it is parsed. Everything that is not as the format says throws at once, so memory stays in
/// proportion to the entries that are good, and a name that occurs twice is seen (a parsed object would keep the last).
class HeaderParser : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderParser(const std::string& file) : file_(file) {}

  SafetensorsHeader header;

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::start:
        place_ = Place::names;
        return true;
      case Place::entry:
        place_ = name_ == kSafetensorsMetadata ? Place::metadata_key : Place::field;
        return true;
      default:
        wrong("an object");
    }
  }

  bool key(std::string& text) override {
    switch (place_) {
      case Place::names:
        name_ = text;
        entry_ = {};
        MINIDL_CHECK(names_.insert(text).second, "[safetensors] '{}': the name {} occurs twice", file_,
                     printable(text));
        place_ = Place::entry;
        return true;
      case Place::metadata_key:
        field_ = text;
        MINIDL_CHECK(!header.metadata.contains(text), "[safetensors] '{}': the metadata key {} occurs twice", file_,
                     printable(text));
        place_ = Place::metadata_value;
        return true;
      default:
        start_field(text);
        return true;
    }
  }

  bool string(std::string& text) override {
    if (place_ == Place::metadata_value) {
      header.metadata[field_] = text;
      place_ = Place::metadata_key;
      return true;
    }
    if (place_ != Place::dtype) wrong("a string");
    const auto* known = std::find_if(std::begin(kSafetensorsDtypes), std::end(kSafetensorsDtypes),
                                     [&](const auto& pair) { return text == pair.first; });
    if (known == std::end(kSafetensorsDtypes))
      reject("has dtype " + printable(text) + "; F32, F16, BF16, F64, I64, I32, I8 and U8 are supported");
    entry_.dtype = known->second;
    place_ = Place::field;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::shape) {
      place_ = Place::extents;
    } else if (place_ == Place::offsets) {
      place_ = Place::bounds;
    } else {
      wrong("a list");
    }
    numbers_.clear();
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::extents && place_ != Place::bounds) wrong("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) wrong("a number beyond int64");
    const size_t most = place_ == Place::extents ? Shape::kMaxRank : 2;
    if (numbers_.size() == most) reject("has more than " + std::to_string(most) + " numbers in its " + field_);
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool end_array() override {
    if (place_ == Place::bounds) {
      if (numbers_.size() != 2) reject("needs two numbers in its data_offsets");
      entry_.begin = numbers_[0];
      entry_.end = numbers_[1];
    } else {
      entry_.extents = numbers_;
    }
    place_ = Place::field;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::names) {
      place_ = Place::end;
    } else {
      if (place_ == Place::field) finish_entry();
      place_ = Place::names;
    }
    return true;
  }

  bool null() override { wrong("null"); }
  bool boolean(bool) override { wrong("a boolean"); }
  bool number_integer(number_integer_t) override { wrong("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { wrong("a number that is not an integer of 64 bits"); }
  bool binary(binary_t&) override { wrong("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail("[safetensors] '{}': the header is not valid JSON at byte {}", file_, position);
  }

 private:
  /// What the next token belongs to: `start { names: entry { field: dtype | shape [extents] | offsets [bounds] } }
  /// end`.
  enum class Place {
    start,
    names,
    entry,
    metadata_key,
    metadata_value,
    field,
    dtype,
    shape,
    extents,
    offsets,
    bounds,
    end
  };
  struct RawEntry {
    std::set<std::string> fields;
    Dtype dtype = Dtype::f32;
    std::vector<int64_t> extents;
    int64_t begin = 0, end = 0;
  };

  [[noreturn]] void reject(const std::string& what) const {
    fail("[safetensors] '{}': tensor {} {}", file_, printable(name_), what);
  }

  [[noreturn]] void wrong(const char* found) const {
    switch (place_) {
      case Place::start:
        fail("[safetensors] '{}': the header is {}, it must be an object", file_, found);
      case Place::entry:
        fail("[safetensors] '{}': the entry {} is {}, it must be an object", file_, printable(name_), found);
      case Place::metadata_value:
        fail("[safetensors] '{}': the metadata of {} is {}, it must be a string", file_, printable(field_), found);
      default:
        reject("has " + std::string(found) + " in its field " + printable(field_));
    }
  }

  void start_field(const std::string& text) {
    field_ = text;
    if (!entry_.fields.insert(text).second) reject("has the field " + printable(text) + " twice");
    if (text == "dtype") {
      place_ = Place::dtype;
    } else if (text == "shape") {
      place_ = Place::shape;
    } else if (text == "data_offsets") {
      place_ = Place::offsets;
    } else {
      reject("has an unknown field " + printable(text));
    }
  }

  void finish_entry() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!entry_.fields.contains(field)) reject("lacks the field " + printable(field));
    }
    auto bytes = static_cast<int64_t>(size_of(entry_.dtype));
    for (const int64_t extent : entry_.extents) {
      if (extent > 0 && bytes > std::numeric_limits<int64_t>::max() / extent)
        reject("has a shape whose size overflows");
      bytes *= extent;
    }
    if (entry_.begin > entry_.end) reject("has data_offsets that end before they begin");
    if (entry_.end - entry_.begin != bytes) {
      reject("has " + std::to_string(entry_.end - entry_.begin) + " bytes of data, its shape and dtype need " +
             std::to_string(bytes));
    }
    const Shape shape{std::span<const int64_t>(entry_.extents)};
    header.tensors.push_back({name_, {entry_.dtype, shape, entry_.begin, entry_.end}});
  }

  const std::string& file_;
  Place place_ = Place::start;
  std::set<std::string> names_;
  std::string name_, field_;
  RawEntry entry_;
  std::vector<int64_t> numbers_;
};

/// Sorts by position and checks that the tensors cover the `data_bytes` after the header without gap or overlap, as the
/// format demands.
void order_by_position(std::vector<Entry>& tensors, int64_t data_bytes, const std::string& file) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.second.begin, a.second.end) < std::pair(b.second.begin, b.second.end);
  });
  int64_t covered = 0;
  for (const auto& [name, info] : tensors) {
    MINIDL_CHECK(info.end <= data_bytes,
                 "[safetensors] '{}': tensor {} ends at byte {} of the data, of which the file has {}; it is truncated "
                 "or damaged",
                 file, printable(name), info.end, data_bytes);
    MINIDL_CHECK(info.begin >= covered,
                 "[safetensors] '{}': tensor {} overlaps the one before it (it begins at {}, that one ends at {})",
                 file, printable(name), info.begin, covered);
    MINIDL_CHECK(info.begin == covered, "[safetensors] '{}': {} bytes before tensor {} belong to no tensor", file,
                 info.begin - covered, printable(name));
    covered = info.end;
  }
  MINIDL_CHECK(covered == data_bytes, "[safetensors] '{}': the last {} bytes belong to no tensor", file,
               data_bytes - covered);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& file, const std::string& json, int64_t data_bytes) {
  HeaderParser parser(file);
  nlohmann::json::sax_parse(json, &parser);
  order_by_position(parser.header.tensors, data_bytes, file);
  return std::move(parser.header);
}

std::string printable(std::string_view text) {
  constexpr size_t kMaxShown = 100;
  std::string shown(text.substr(0, kMaxShown));
  if (text.size() > kMaxShown) shown += "...";
  return nlohmann::json(shown).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace minidl::detail
