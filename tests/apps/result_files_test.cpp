#include <minidl/apps/common/result_files.h>
#include <support/compare.h>
#include <support/temporary_folder.h>

namespace minidl::apps {
namespace {

using test::throws_error;

/// Names of empty files do.
class ResultFiles : public ::testing::Test {
 protected:
  ResultFiles() : before_(std::filesystem::current_path()) {
    for (const char* name : {"a.png", "b.jpg", "c.txt", "photos/x.png", "photos/y.gif", "photos/deep/x.png",
                             "photos/.hidden.png", "photos/notes.md", "other/x.png"}) {
      std::filesystem::create_directories((folder_ / name).parent_path());
      test::write_bytes(folder_ / name, "");
    }
    std::filesystem::create_directory(folder_ / "empty");
    std::filesystem::current_path(folder_.path());
  }
  ~ResultFiles() override { std::filesystem::current_path(before_); }

  /// "input>output" of every file.
  static std::vector<std::string> found(const std::vector<std::string>& inputs, const std::string& output = "out") {
    std::vector<std::string> lines;
    for (const ResultFile& file : find_result_files(inputs, output))
      lines.push_back(file.input.string() + ">" + file.output.string());
    return lines;
  }
  using Lines = std::vector<std::string>;

  test::TemporaryFolder folder_;
  std::filesystem::path before_;
};

TEST_F(ResultFiles, AreNamedDirectlyInFoldersOrByPatterns) {
  EXPECT_EQ(found({"b.jpg", "a.png"}), (Lines{"b.jpg>out/b.jpg", "a.png>out/a.png"}));
  EXPECT_EQ(found({"photos"}),
            (Lines{"photos/deep/x.png>out/deep/x.png", "photos/x.png>out/x.png", "photos/y.gif>out/y.png"}));
  EXPECT_EQ(found({"*.[jp]*g"}), (Lines{"a.png>out/a.png", "b.jpg>out/b.jpg"}));
  EXPECT_EQ(found({"?.png", "a.png", "./a.png"}), (Lines{"a.png>out/a.png"})) << "each once";
  EXPECT_EQ(found({"missing.png"}), (Lines{"missing.png>out/missing.png"})) << "it may be reported when it is its turn";
  EXPECT_EQ(found({"a.png", "e*", "other/*"}).size(), 2u) << "a folder without pictures fits the pattern";
  test::write_bytes("[1].png", "");
  EXPECT_EQ(found({"[1].png"}), (Lines{"[1].png>out/[1].png"})) << "a name that looks like a pattern";
}

TEST_F(ResultFiles, ResultsOfAnEarlierRunAreNoPictures) {
  std::filesystem::create_directory("photos/out");
  test::write_bytes("photos/out/x.png", "");
  EXPECT_EQ(found({"photos"}, "photos/out"), (Lines{"photos/deep/x.png>photos/out/deep/x.png",
                                                    "photos/x.png>photos/out/x.png", "photos/y.gif>photos/out/y.png"}));
  EXPECT_EQ(found({"photos/[do]*"}, "photos/out"), (Lines{"photos/deep/x.png>photos/out/x.png"}));
  EXPECT_EQ(found({"ph*"}, "photos/out").size(), 3u);
}

TEST_F(ResultFiles, CollisionsAreRefusedWithBothNames) {
  EXPECT_TRUE(throws_error([] { found({"photos", "other"}); }, "'photos/x.png' and 'other/x.png' would both become"));
  EXPECT_TRUE(throws_error([] { found({"a.png"}, "."); }, "the result './a.png' would replace the picture 'a.png'"));
  EXPECT_TRUE(throws_error([] { found({"photos"}, "photos"); }, "would replace the picture 'photos/"));
  EXPECT_TRUE(throws_error([] { found({"photos/x.png", "other/x.png"}, "other"); }, "'other/x.png'"));
  std::filesystem::create_symlink("a.png", "link.png");
  EXPECT_TRUE(throws_error([] { check_result_files({{"a.png", "link.png"}}); }, "would replace"));
}

TEST_F(ResultFiles, InputsWithoutPicturesAreNamed) {
  EXPECT_TRUE(throws_error([] { found({"empty"}); }, "no photos in 'empty'"));
  EXPECT_TRUE(throws_error([] { found({"*.tif"}); }, "no file fits the pattern '*.tif'"));
}

}  // namespace
}  // namespace minidl::apps
