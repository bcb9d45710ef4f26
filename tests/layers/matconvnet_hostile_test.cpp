#include <minidl/layers/vgg_weights.h>
#include <support/child_process.h>
#include <support/matconvnet_bytes.h>
#include <support/temporary_folder.h>

#include <random>

namespace minidl::layers {
namespace {

namespace mat = test::mat;

constexpr int64_t kMemoryLimit = 1 << 30;  // address space, bytes

class MatConvNetHostile : public ::testing::Test {
 protected:
  ::testing::AssertionResult rejects(const std::string& bytes, const std::string& words) {
    const auto path = test::write_bytes(folder_ / "network.mat", bytes);
    return test::throws_error([&] { read_network(path); }, words);
  }

  test::TemporaryFolder folder_;
};

/// A variable called `layers` whose first and only array is `body`, of class `type`.
std::string variable(int type, const std::vector<int32_t>& dims, const std::string& body) {
  return mat::array(type, dims, body, "layers");
}

/// A variable `layers` of cells in cells in cells.
std::string nested_cells(int depth) {
  const size_t head_bytes = mat::array_head(mat::kCell, {1, 1}, 0).size();
  std::string bytes;
  for (int i = depth; i-- > 0;) bytes += mat::array_head(mat::kCell, {1, 1}, i * head_bytes);
  return variable(mat::kCell, {1, 1}, bytes);
}

/// A network of one convolution with 10 x 10 x 3 x `count` zeros, in a file a thousandth of that size.
std::string huge_filters(int32_t count) {
  const size_t bytes = size_t{1200} * static_cast<size_t>(count);
  const std::string filters = mat::array_head(mat::kSingle, {10, 10, 3, count}, 8 + bytes) + mat::tag(mat::kF32, bytes);
  const std::string fields = mat::short_element(mat::kI32, mat::bytes_of<int32_t>({8})) +
                             mat::element(mat::kI8, std::string("type\0\0\0\0filters\0", 16)) + mat::text("conv");
  const size_t layer_bytes = fields.size() + filters.size() + bytes;
  const std::string layer = mat::array_head(mat::kStructure, {1, 1}, layer_bytes) + fields + filters;
  return mat::header() +
         mat::compressed(mat::array_head(mat::kCell, {1, 1}, layer.size() + bytes, "layers") + layer, bytes);
}

TEST_F(MatConvNetHostile, DamagedElementsAreNamed) {
  const std::string number = mat::element(mat::kF64, mat::bytes_of<double>({1.0}));
  const std::string flags = mat::element(mat::kU32, mat::bytes_of<uint32_t>({mat::kCell, 0}));
  const std::string dims = mat::element(mat::kI32, mat::bytes_of<int32_t>({1, 1}));
  const std::string name = mat::element(mat::kI8, "layers");
  const std::string text = mat::text("abc");
  const struct {
    std::string bytes, words;
  } variables[] = {
      {mat::element(mat::kMatrix, ""), "without a variable 'layers'"},
      {mat::element(mat::kMatrix, std::string(4, '\0')), "an element is missing"},
      {mat::element(mat::kMatrix, mat::tag(mat::kU32, 1 << 30)), "says it has 1073741824 bytes where 0 are left"},
      {mat::element(mat::kMatrix, mat::element(mat::kU32, std::string(16, '\0'))), "of its head has 16 bytes"},
      {mat::element(mat::kMatrix, mat::element(mat::kU32, std::string(4, '\0'))), "flags have 4 bytes"},
      {mat::element(mat::kMatrix, flags), "an element is missing"},
      {mat::element(mat::kMatrix, flags + mat::short_element(mat::kI32, std::string(4, '\1'))),
       "dimensions have 4 bytes"},
      {mat::element(mat::kMatrix, flags + mat::element(mat::kI32, std::string(40, '\1'))), "of its head has 40 bytes"},
      {mat::element(mat::kMatrix, flags + dims), "an element is missing"},
      {mat::element(mat::kMatrix, flags + dims + mat::element(mat::kI8, std::string(65, 'x'))), "head has 65 bytes"},
      {mat::element(mat::kMatrix, flags + dims + name + mat::tag(999, 0)), "element type 999 does not exist"},
      {mat::element(mat::kMatrix, flags + dims + name + number), "element type is 9, expected an array"},
      {mat::element(mat::kMatrix, flags + dims + name + mat::short_element(mat::kI8, "abcd") + std::string(4, '\0')),
       "expected an array"},
      {variable(mat::kCell, {1, 3}, text + text), "an element is missing"},
      {variable(mat::kCell, {2000000000, 2000000000}, ""), "dimensions are too large"},
      {variable(mat::kCell, {-1, 1}, ""), "dimensions are too large"},
      {variable(mat::kCell, {1, 2000000000}, text), "2000000000 cells do not fit into it"},
      {variable(mat::kCell, {1, 1}, mat::array(mat::kDouble, {1, 2}, number)), "double 1 x 2 needs 16 bytes, it has 8"},
      {variable(mat::kCell, {1, 1}, mat::array(mat::kSingle, {40000, 40000}, number)), "needs 12800000000 bytes"},
      {variable(mat::kCell, {1, 1}, mat::array(mat::kDouble, {1, 1}, text)), "numbers are stored as element type 14"},
      {variable(mat::kCell, {1, 1}, mat::array(mat::kText, {1, 1}, number)), "text is stored as element type 9"},
      {variable(mat::kStructure, {1, 1}, mat::element(mat::kI32, mat::bytes_of<int32_t>({1 << 30, 0}))), "8 bytes"},
      {variable(mat::kStructure, {1, 1}, mat::short_element(mat::kI32, mat::bytes_of<int32_t>({1 << 30}))),
       "field names have 1073741824 bytes"},
      {variable(mat::kStructure, {1, 1}, mat::short_element(mat::kI32, std::string(4, '\0'))), "names have 0 bytes"},
      {variable(mat::kStructure, {1000000, 1000000},
                mat::short_element(mat::kI32, mat::bytes_of<int32_t>({8})) + mat::element(mat::kI8, "abcdefgh")),
       "1000000000000 elements with 1 fields do not fit"},
      {nested_cells(20), "arrays are nested more than 16 deep"},
  };
  for (const auto& [bytes, words] : variables) {
    for (const bool compress : {false, true}) {
      EXPECT_TRUE(rejects(mat::file({bytes}, compress), words)) << words << (compress ? ", compressed" : "");
    }
  }
  EXPECT_TRUE(
      rejects(mat::file({mat::cell({}, "layers"), mat::cell({}, "layers")}, true), "two variables called 'layers'"));
}

TEST_F(MatConvNetHostile, DamagedFilesAreNamed) {
  const std::string good = test::matconvnet_bytes(test::small_network(), {.compress = true});
  EXPECT_TRUE(rejects(good.substr(0, 60), "MAT"));
  EXPECT_TRUE(rejects(good.substr(0, 128), "without a variable 'layers', so no MatConvNet network; it has: nothing"));
  EXPECT_TRUE(rejects(good.substr(0, 132), "is cut off: its variable 1"));
  EXPECT_TRUE(rejects(good.substr(0, 300), "is cut off: its variable 1"));
  EXPECT_TRUE(rejects(good + "x", "is cut off: its variable 3"));
  EXPECT_TRUE(rejects(good + mat::tag(99, 0), "variable 3 has element type 99"));
  EXPECT_TRUE(rejects(good + good.substr(128), "has two variables called 'layers'"));
  std::string many = mat::header();
  for (int i = 0; i < 1001; ++i) many += mat::cell({}, std::string("x").append(std::to_string(i)));
  EXPECT_TRUE(rejects(many, "more than 1000 variables"));

  const std::string layers = mat::cell({}, "layers");
  std::string packed = mat::compressed(layers);
  EXPECT_TRUE(rejects(mat::header() + mat::compressed(layers + "more"), "more data than it says"));
  EXPECT_TRUE(rejects(mat::header() + mat::compressed(layers.substr(0, 30)), "ends"));
  EXPECT_TRUE(rejects(mat::header() + mat::tag(mat::kCompressed, 0), "too early"));
  EXPECT_TRUE(
      rejects(mat::header() + mat::tag(mat::kCompressed, 12) + "no zlib data", "compressed data cannot be read"));
  const std::string without_checksum(packed.begin() + 8, packed.end() - 4);
  EXPECT_TRUE(rejects(mat::header() + mat::tag(mat::kCompressed, without_checksum.size()) + without_checksum,
                      "ends too early"));
  packed.back() ^= 1;
  EXPECT_TRUE(rejects(mat::header() + packed, "incorrect data check"));
}

TEST_F(MatConvNetHostile, NoCrashAndNoLargeAllocationUnderAMemoryLimit) {
  if (test::kUnderSanitizer) GTEST_SKIP() << "sanitizers need more address space than the limit";
  const std::string number = mat::element(mat::kF64, mat::bytes_of<double>({1.0}));
  std::string many_cells;
  for (int i = 0; i < 400000; ++i) many_cells += mat::array(mat::kDouble, {1, 1}, number);
  std::string long_texts;
  const std::string letters(4000, 'a');
  for (int i = 0; i < 40000; ++i) long_texts += mat::array(mat::kText, {1, 4000}, mat::element(mat::kU8, letters));
  const struct {
    const char* what;
    std::string bytes, words;
  } files[] = {
      {"100,000 cells in each other", mat::file({nested_cells(100000)}, true), "nested more than 16 deep"},
      {"400,000 cells", mat::file({variable(mat::kCell, {1, 400000}, many_cells)}, true),
       "far more parts than any network"},
      {"40,000 long texts", mat::file({variable(mat::kCell, {1, 40000}, long_texts)}, true),
       "far more parts than any network"},
      {"1.2 GB of zeros in 1.2 MB", huge_filters(1000000), "memory"},
  };
  for (const auto& [what, bytes, words] : files) {
    const auto path = test::write_bytes(folder_ / "network.mat", bytes);
    const std::string message = test::message_under_memory_limit(kMemoryLimit, [&] { read_network(path); });
    EXPECT_NE(message.find(words), std::string::npos) << what << ": " << message;
  }
}

/// Any byte may be wrong: the reader either says so or gives a network whose numbers are all finite.
TEST_F(MatConvNetHostile, FlippedBytesGiveAnErrorOrANetwork) {
  std::mt19937 random(20240607);
  for (const bool compress : {false, true}) {
    for (const char fields : {'a', 'd'}) {
      const std::string good =
          test::matconvnet_bytes(test::small_network(), {.fields = fields, .compress = compress, .byte_numbers = true});
      int errors = 0;
      for (int round = 0; round < 500; ++round) {
        std::string bytes = good;
        const int flips = 1 + static_cast<int>(random() % 4);
        for (int i = 0; i < flips; ++i)
          bytes[128 + random() % (bytes.size() - 128)] ^= static_cast<char>(1 << random() % 8);
        if (random() % 8 == 0) bytes.resize(128 + random() % (bytes.size() - 128));
        const auto path = test::write_bytes(folder_ / "network.mat", bytes);
        try {
          for (const LayerDescription& layer : read_network(path).layers) {
            if (!layer.weight) continue;
            for (const float value : std::as_const(layer.weight).span<float>()) ASSERT_TRUE(std::isfinite(value));
          }
        } catch (const Error& error) {
          ++errors;
          ASSERT_NE(std::string(error.what()).find("network.mat"), std::string::npos) << error.what();
        }
      }
      // Compressed data has a checksum, so nearly every flip is noticed there.
      EXPECT_GT(errors, compress ? 490 : 150) << fields;
    }
  }
}

}  // namespace
}  // namespace minidl::layers
