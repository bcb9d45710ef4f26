#include <minidl/core/safetensors.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/temporary_folder.h>

#include <cstring>
#include <random>

namespace minidl {
namespace {

namespace fs = std::filesystem;
using test::equals;
using test::read_bytes;
using test::same_bytes;
using test::TemporaryFolder;
using test::throws_error;
using test::write_bytes;

/// A safetensors file as text: header length, header, data.
std::string file_of(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

Tensor bytes_tensor(const Shape& shape, Dtype dtype, uint64_t seed) {
  std::mt19937_64 bits(seed);
  Tensor x = Tensor::empty(shape, dtype);
  auto* target = static_cast<uint8_t*>(x.raw());
  for (int64_t i = 0; i < x.bytes(); ++i) target[i] = static_cast<uint8_t>(bits());
  return x;
}

SafetensorsContent every_kind() {
  SafetensorsContent content;
  content.metadata = {{"format", "pt"}, {"quote", "a \"b\"\n\xc3\xa9"}, {"empty", ""}};
  uint64_t seed = 0;
  for (const Dtype dtype :
       {Dtype::u8, Dtype::f32, Dtype::f16, Dtype::i8, Dtype::f64, Dtype::bf16, Dtype::i64, Dtype::i32}) {
    content.tensors.push_back({"layer." + to_string(dtype), bytes_tensor({3, 1, 5}, dtype, ++seed)});
  }
  content.tensors.push_back({"scalar", bytes_tensor({}, Dtype::f32, ++seed)});
  content.tensors.push_back({"nothing", Tensor::empty({4, 0, 2})});
  content.tensors.push_back({"rank 4", bytes_tensor({2, 3, 4, 5}, Dtype::f32, ++seed)});
  return content;
}

TEST(Safetensors, RoundTripOfEveryTypeAndRank) {
  const TemporaryFolder folder;
  const SafetensorsContent content = every_kind();
  write_safetensors(folder / "a.safetensors", content);
  const SafetensorsReader reader(folder / "a.safetensors");
  EXPECT_EQ(reader.metadata(), content.metadata);
  EXPECT_EQ(reader.path(), folder / "a.safetensors");
  ASSERT_EQ(reader.tensors().size(), content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) {
    ASSERT_TRUE(reader.contains(name)) << name;
    EXPECT_EQ(reader.info(name).shape, tensor.shape()) << name;
    EXPECT_EQ(reader.info(name).dtype, tensor.dtype()) << name;
    EXPECT_TRUE(same_bytes(reader.read(name), tensor)) << name;
  }
  EXPECT_FALSE(reader.contains("__metadata__"));
  EXPECT_EQ(folder.entries(), 1);
}

TEST(Safetensors, ReadsAFileInMemory) {
  const TemporaryFolder folder;
  const SafetensorsContent content = every_kind();
  write_safetensors(folder / "a", content);
  const std::string bytes = read_bytes(folder / "a");
  const SafetensorsReader reader(std::as_bytes(std::span(bytes)), "built-in a");
  EXPECT_EQ(reader.path(), "built-in a");
  EXPECT_EQ(reader.metadata(), content.metadata);
  ASSERT_EQ(reader.tensors().size(), content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) EXPECT_TRUE(same_bytes(reader.read(name), tensor)) << name;
}

TEST(Safetensors, NothingInIt) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", {});
  EXPECT_EQ(read_bytes(folder / "a"), file_of("{}      "));
  EXPECT_TRUE(SafetensorsReader(folder / "a").tensors().empty());
}

TEST(Safetensors, WritesTheSameBytesEveryTime) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", every_kind());
  write_safetensors(folder / "b", every_kind());
  EXPECT_EQ(read_bytes(folder / "a"), read_bytes(folder / "b"));
}

TEST(Safetensors, WritesTheDocumentedBytes) {
  const TemporaryFolder folder;
  const std::vector<float> values{1.0f, -2.0f};
  write_safetensors(folder / "a", {.tensors = {{"z", Tensor::from(values, {2})}, {"b", Tensor::from(values, {1, 2})}},
                                   .metadata = {{"y", "2"}, {"x", "1"}}});
  std::string header = R"({"__metadata__":{"x":"1","y":"2"},"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                       R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string data(reinterpret_cast<const char*>(values.data()), 8);
  EXPECT_EQ(read_bytes(folder / "a"), file_of(header, data + data));
}

TEST(Safetensors, ReadsFilesWithoutAlignmentAndInAnyOrder) {
  const TemporaryFolder folder;
  const std::string header = R"( {"f":{"data_offsets":[1,5],"shape":[1],"dtype":"F32"},)"
                             R"("__metadata__":{},"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}} )";
  const float value = 3.25f;
  std::string data = "\x07    ";
  std::memcpy(data.data() + 1, &value, 4);
  const SafetensorsReader reader(write_bytes(folder / "a", file_of(header.substr(1), data)));
  EXPECT_EQ(reader.read("f").item(), 3.25f);
  EXPECT_EQ(reader.read("u").data<uint8_t>()[0], 7);
  EXPECT_EQ(reader.tensors()[0].first, "u");
  EXPECT_EQ(reader.tensors()[1].first, "f");
  EXPECT_EQ(reader.info("f").begin, 1);
  EXPECT_EQ(reader.info("f").end, 5);
}

TEST(Safetensors, MissingTensorIsNamed) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", {.tensors = {{"conv.weight", Tensor::zeros({1})}}, .metadata = {}});
  SafetensorsReader reader(folder / "a");
  EXPECT_TRUE(throws_error([&] { reader.read("bias"); },
                           "has no tensor \"bias\"; it has 1 tensors, the first is \"conv.weight\""));
  const SafetensorsReader moved(std::move(reader));
  EXPECT_TRUE(moved.contains("conv.weight"));
}

TEST(Safetensors, FileCutWhileOpenIsReported) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", {.tensors = {{"w", Tensor::zeros({100})}}, .metadata = {}});
  const SafetensorsReader reader(folder / "a");
  fs::resize_file(folder / "a", fs::file_size(folder / "a") - 1);
  EXPECT_TRUE(throws_error([&] { reader.read("w"); }, "tensor \"w\""));
}

TEST(Safetensors, WriterRefusesWhatItCannotWrite) {
  const TemporaryFolder folder;
  const fs::path path = write_bytes(folder / "a", "old");
  const Tensor one = Tensor::zeros({1});
  const auto writing = [&](SafetensorsContent content) {
    return [&path, content = std::move(content)] { write_safetensors(path, content); };
  };
  EXPECT_TRUE(
      throws_error(writing({.tensors = {{"x", one}, {"x", one}}, .metadata = {}}), "the name \"x\" occurs twice"));
  EXPECT_TRUE(throws_error(writing({.tensors = {{"x", Tensor()}}, .metadata = {}}), "\"x\" is undefined"));
  EXPECT_TRUE(throws_error(writing({.tensors = {{"__metadata__", one}}, .metadata = {}}), "no tensor may be called"));
  EXPECT_TRUE(throws_error(writing({.tensors = {{"\xff", one}}, .metadata = {}}), "not valid UTF-8"));
  EXPECT_TRUE(throws_error(writing({.tensors = {}, .metadata = {{"a", "\xc3"}}}), "not valid UTF-8"));
  EXPECT_EQ(read_bytes(path), "old");
  EXPECT_TRUE(throws_error([&] { write_safetensors(folder / "none/a", {}); }, "none/a': No such file"));
  EXPECT_EQ(folder.entries(), 1);
}

struct BadFile {
  const char* what;
  std::string bytes;
  const char* words;
};

/// An entry "w" with the given fields.
std::string entry(const std::string& fields) {
  return "{\"w\":{" + fields + "}}";
}
std::string fields(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets;
}

std::vector<BadFile> bad_files() {
  const std::string good = fields("\"F32\"", "[1]", "[0,4]");
  const std::string four(4, 'x');
  const std::string huge_length = "\xff\xff\xff\xff\xff\xff\xff\x7f";
  return {
      {"empty", "", "has 0 bytes"},
      {"short", "1234567", "has 7 bytes"},
      {"length beyond the file", file_of(entry(good)).substr(0, 30), "header length"},
      {"length beyond int64", std::string(8, '\xff') + "{}", "header length"},
      {"length near int64", huge_length + "{}", "header length"},
      {"no header", file_of(""), "does not start with '{'"},
      {"leading space", file_of(" {}"), "does not start with '{'"},
      {"list", file_of("[]"), "does not start with '{'"},
      {"not JSON", file_of("{\"w\":"), "not valid JSON"},
      {"text after the header", file_of("{}x"), "not valid JSON"},
      {"binary text", file_of(std::string("{\"\0\xff\":1}", 8)), "not valid JSON"},
      {"bad UTF-8", file_of("{\"\xff\":{}}"), "not valid JSON"},
      {"deep lists", file_of("{\"w\":" + std::string(100000, '[')), "must be an object"},
      {"deep objects", file_of("{\"w\":{\"dtype\":{\"a\":{}}}}"), "has an object in its field \"dtype\""},
      {"entry is a number", file_of("{\"w\":1}"), "entry \"w\" is a number"},
      {"entry is null", file_of("{\"w\":null}"), "entry \"w\" is null"},
      {"entry is a string", file_of("{\"w\":\"x\"}"), "entry \"w\" is a string"},
      {"name twice", file_of("{\"w\":{" + good + "},\"w\":{" + good + "}}", four), "the name \"w\" occurs twice"},
      {"field twice", file_of(entry(good + ",\"dtype\":\"F32\""), four), "field \"dtype\" twice"},
      {"unknown field", file_of(entry(good + ",\"extra\":1"), four), "unknown field \"extra\""},
      {"no dtype", file_of(entry("\"shape\":[1],\"data_offsets\":[0,4]"), four), "lacks the field \"dtype\""},
      {"no shape", file_of(entry("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), four), "lacks the field \"shape\""},
      {"no offsets", file_of(entry("\"dtype\":\"F32\",\"shape\":[1]"), four), "lacks the field \"data_offsets\""},
      {"unknown dtype", file_of(entry(fields("\"F8_E4M3\"", "[4]", "[0,4]")), four), "has dtype \"F8_E4M3\""},
      {"dtype is a number", file_of(entry(fields("4", "[1]", "[0,4]")), four), "a number in its field \"dtype\""},
      {"negative extent", file_of(entry(fields("\"F32\"", "[-1]", "[0,4]")), four), "a negative number"},
      {"fractional extent", file_of(entry(fields("\"F32\"", "[1.0]", "[0,4]")), four), "not an integer"},
      {"extent beyond int64", file_of(entry(fields("\"F32\"", "[9223372036854775808]", "[0,4]")), four),
       "beyond int64"},
      {"extent beyond uint64", file_of(entry(fields("\"F32\"", "[99999999999999999999]", "[0,4]")), four),
       "not an integer"},
      {"extent is text", file_of(entry(fields("\"F32\"", "[\"1\"]", "[0,4]")), four),
       "a string in its field \"shape\""},
      {"extent is a list", file_of(entry(fields("\"F32\"", "[[1]]", "[0,4]")), four), "a list in its field \"shape\""},
      {"extent is a boolean", file_of(entry(fields("\"F32\"", "[true]", "[0,4]")), four), "a boolean"},
      {"shape is a number", file_of(entry(fields("\"F32\"", "1", "[0,4]")), four), "a number in its field \"shape\""},
      {"rank 5", file_of(entry(fields("\"F32\"", "[1,1,1,1,1]", "[0,4]")), four),
       "tensor \"w\" has more than 4 numbers"},
      {"product overflows", file_of(entry(fields("\"U8\"", "[4294967296,4294967296]", "[0,4]")), four), "overflows"},
      {"bytes overflow", file_of(entry(fields("\"F64\"", "[2305843009213693952]", "[0,4]")), four), "overflows"},
      {"overflow hidden by a zero", file_of(entry(fields("\"U8\"", "[4294967296,4294967296,0]", "[0,0]"))),
       "overflows"},
      {"one offset", file_of(entry(fields("\"F32\"", "[1]", "[0]")), four), "needs two numbers"},
      {"three offsets", file_of(entry(fields("\"F32\"", "[1]", "[0,4,8]")), four), "more than 2 numbers"},
      {"negative offset", file_of(entry(fields("\"F32\"", "[1]", "[-4,0]")), four), "a negative number"},
      {"backward offsets", file_of(entry(fields("\"F32\"", "[1]", "[4,0]")), four), "end before they begin"},
      {"size and shape disagree", file_of(entry(fields("\"F32\"", "[2]", "[0,4]")), four), "need 8"},
      {"data beyond the file", file_of(entry(fields("\"F32\"", "[2]", "[0,8]")), four),
       "ends at byte 8 of the data, of which the file has 4"},
      {"terabytes", file_of(entry(fields("\"F32\"", "[1099511627776]", "[0,4398046511104]")), four),
       "truncated or damaged"},
      {"overlap", file_of("{\"v\":{" + good + "},\"w\":{" + fields("\"U8\"", "[2]", "[2,4]") + "}}", four), "overlaps"},
      {"same data twice", file_of("{\"v\":{" + good + "},\"w\":{" + good + "}}", four), "overlaps"},
      {"gap", file_of("{\"v\":{" + good + "},\"w\":{" + fields("\"U8\"", "[2]", "[6,8]") + "}}", four + four),
       "belong to no tensor"},
      {"bytes left over", file_of(entry(good), four + "x"), "the last 1 bytes"},
      {"metadata is text", file_of("{\"__metadata__\":\"x\"}"), "entry \"__metadata__\" is a string"},
      {"metadata of a number", file_of("{\"__metadata__\":{\"a\":1}}"), "metadata of \"a\" is a number"},
      {"metadata of an object", file_of("{\"__metadata__\":{\"a\":{}}}"), "metadata of \"a\" is an object"},
      {"metadata key twice", file_of("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}"), "metadata key \"a\" occurs twice"},
      {"metadata twice", file_of("{\"__metadata__\":{},\"__metadata__\":{}}"), "occurs twice"},
  };
}

TEST(Safetensors, MalformedFilesAreRefusedWithTheReason) {
  const TemporaryFolder folder;
  for (const BadFile& bad : bad_files()) {
    const fs::path path = write_bytes(folder / "bad.safetensors", bad.bytes);
    EXPECT_TRUE(throws_error([&] { SafetensorsReader reader(path); }, bad.words)) << bad.what;
    EXPECT_TRUE(throws_error([&] { SafetensorsReader reader(path); }, path.string())) << bad.what;
    const auto memory = std::as_bytes(std::span(bad.bytes));
    EXPECT_TRUE(throws_error([&] { SafetensorsReader reader(memory, "memory"); }, bad.words)) << bad.what;
  }
  EXPECT_TRUE(throws_error([&] { SafetensorsReader reader(folder / "missing"); }, "missing': No such file"));
  EXPECT_TRUE(throws_error([&] { SafetensorsReader reader(folder.path()); }, "it is a directory"));
}

TEST(Safetensors, AHugeHeaderLengthAllocatesNothing) {
  const TemporaryFolder folder;
  const uint64_t length = 100'000'001;
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  const fs::path path = write_bytes(folder / "a", bytes);
  fs::resize_file(path, uintmax_t{1} << 40);  // takes no space on disk
  EXPECT_TRUE(throws_error([&] { SafetensorsReader reader(path); }, "larger than 100000000"));
}

TEST(Safetensors, ErrorsAreOneShortLineWhateverTheNames) {
  const TemporaryFolder folder;
  const std::string header = "{\"" + std::string(5000, 'n') + "\\n\":1}";
  const fs::path path = write_bytes(folder / "a", file_of(header));
  try {
    SafetensorsReader reader(path);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_LT(message.size(), 400u);
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(Safetensors, DamagedFilesLoadOrThrow) {
  const TemporaryFolder folder;
  write_safetensors(folder / "good", every_kind());
  const std::string good = read_bytes(folder / "good");
  std::mt19937_64 bits(7);
  int loaded = 0, refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bytes = good;
    for (uint64_t flips = 1 + bits() % 3; flips > 0; --flips)
      bytes[bits() % bytes.size()] ^= static_cast<char>(1 << bits() % 8);
    if (bits() % 4 == 0) bytes.resize(bits() % bytes.size());
    try {
      const SafetensorsReader reader(write_bytes(folder / "damaged", bytes));
      for (const auto& [name, info] : reader.tensors()) EXPECT_EQ(reader.read(name).bytes(), info.end - info.begin);
      ++loaded;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(loaded, 100);
  EXPECT_GT(refused, 500);
}

TEST(ChannelOrder, MovesEveryElementToItsPlace) {
  const Tensor x = test::random_integers({3, 2, 5, 4}, 1);
  const Tensor first = to_channels_first(x);
  ASSERT_EQ(first.shape(), Shape({3, 4, 2, 5}));
  for (int64_t n = 0; n < 3; ++n) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t w = 0; w < 5; ++w) {
        for (int64_t c = 0; c < 4; ++c) {
          EXPECT_EQ(first.data<float>()[((n * 4 + c) * 2 + h) * 5 + w], x.data<float>()[((n * 2 + h) * 5 + w) * 4 + c]);
        }
      }
    }
  }
  EXPECT_TRUE(same_bytes(to_channels_last(first), x));
}

TEST(ChannelOrder, RefusesOtherRanksAndTypes) {
  EXPECT_TRUE(throws_error([] { to_channels_first(Tensor::zeros({2, 2})); }, "4 dimensions"));
  EXPECT_TRUE(throws_error([] { to_channels_last(Tensor::zeros({1, 1, 1, 1}, Dtype::u8)); }, "f32"));
  EXPECT_TRUE(throws_error([] { to_channels_last(Tensor()); }, "4 dimensions"));
}

}  // namespace
}  // namespace minidl
