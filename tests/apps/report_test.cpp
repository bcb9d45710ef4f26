#include <minidl/apps/common/report.h>
#include <minidl/core/file.h>
#include <support/compare.h>

#include <limits>

namespace minidl::apps {
namespace {

class ReportTest : public ::testing::Test {
 protected:
  ReportTest() { std::filesystem::create_directories(folder_); }
  ~ReportTest() override { std::filesystem::remove_all(folder_); }

  static std::string text_of(const std::filesystem::path& path) {
    const std::vector<uint8_t> bytes = read_file(path);
    return {bytes.begin(), bytes.end()};
  }

  const std::filesystem::path folder_ = ::testing::TempDir() + "minidl_report_test";
};

TEST_F(ReportTest, KeepsTheOrderAndWritesNumbersInFull) {
  Json report;
  report["version"] = "1.2";
  report["losses"]["total"] = 0.1;
  report["a"] = {1, 2};
  write_json(folder_ / "r.json", report);
  EXPECT_EQ(
      text_of(folder_ / "r.json"),
      "{\n  \"version\": \"1.2\",\n  \"losses\": {\n    \"total\": 0.1\n  },\n  \"a\": [\n    1,\n    2\n  ]\n}\n");
  EXPECT_EQ(Json::parse(text_of(folder_ / "r.json")), report);
}

TEST_F(ReportTest, NumbersThatAreNotFiniteBecomeNull) {
  Json report;
  for (const double value : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN(), 1e308})
    report.push_back(value);
  write_json(folder_ / "r.json", report);
  const Json read = Json::parse(text_of(folder_ / "r.json"));
  EXPECT_TRUE(read[0].is_null() && read[1].is_null() && read[2].is_null());
  EXPECT_EQ(read[3].get<double>(), 1e308);
}

TEST_F(ReportTest, BytesThatAreNotTextAreReplaced) {
  Json report;
  report["file"] = "a\xff.png";
  write_json(folder_ / "r.json", report);
  EXPECT_EQ(Json::parse(text_of(folder_ / "r.json"))["file"], "a\xef\xbf\xbd.png");
}

TEST_F(ReportTest, ReplacesWholeFilesAndLeavesNothingElse) {
  write_json(folder_ / "r.json", Json(1));
  write_json(folder_ / "r.json", Json(2));
  EXPECT_EQ(text_of(folder_ / "r.json"), "2\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(ReportTest, AMissingFolderIsNamed) {
  const std::filesystem::path path = folder_ / "missing" / "r.json";
  EXPECT_TRUE(test::throws_error([&] { write_json(path, Json(1)); }, "missing"));
}

}  // namespace
}  // namespace minidl::apps
