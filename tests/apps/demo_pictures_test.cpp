#include <minidl/core/image.h>
#include <support/compare.h>
#include <support/process.h>
#include <support/temporary_folder.h>

namespace minidl {
namespace {

constexpr const char* kPictures[] = {"content.png", "still_life.png", "style.png", "stained_glass.png", "woodcut.png"};

test::ProcessResult make_pictures(const std::filesystem::path& folder, const std::string& size,
                                  const std::vector<std::string>& flags = {}) {
  std::vector<std::string> words{test::program("minidl_demo_pictures"), folder, "--size", size};
  words.insert(words.end(), flags.begin(), flags.end());
  return test::run_process(words);
}

TEST(DemoPictures, MakesPictures) {
  const test::TemporaryFolder folder;
  const test::ProcessResult result = make_pictures(folder / "a/b", "64");
  ASSERT_EQ(result.code, 0) << result.errors;
  for (const char* name : kPictures) {
    const Tensor picture = load_image(folder / "a/b" / name);
    EXPECT_EQ(picture.shape(), (Shape{1, 48, 64, 3}));
    const auto [low, high] = std::minmax_element(picture.span<float>().begin(), picture.span<float>().end());
    EXPECT_LT(*low, 40.0f) << name;
    EXPECT_GT(*high, 215.0f) << name;
  }
}

TEST(DemoPictures, AreTheSameEveryTime) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(make_pictures(folder / "a", "32").code, 0);
  ASSERT_EQ(make_pictures(folder / "b", "32").code, 0);
  for (const char* name : kPictures)
    EXPECT_EQ(test::read_bytes(folder / "a" / name), test::read_bytes(folder / "b" / name)) << name;
}

TEST(DemoPictures, OnlyWhatIsAskedForAndAnotherSeedIsAnotherPicture) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(make_pictures(folder / "a", "32", {"--only", "style", "--only", "stained_glass"}).code, 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "a"), {}), 2);
  ASSERT_EQ(make_pictures(folder / "b", "32", {"--only", "stained_glass", "--seed", "8"}).code, 0);
  EXPECT_NE(test::read_bytes(folder / "a/stained_glass.png"), test::read_bytes(folder / "b/stained_glass.png"));
  const test::ProcessResult unknown = make_pictures(folder / "c", "32", {"--only", "portrait"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.errors.find("--only portrait: must be one of content, still_life"), std::string::npos);
}

TEST(DemoPictures, BadInputGetsOneLine) {
  const test::TemporaryFolder folder;
  test::write_bytes(folder / "file", "x");
  const test::ProcessResult file = make_pictures(folder / "file/below", "32");
  EXPECT_EQ(file.code, 1);
  EXPECT_EQ(file.error_lines(), 1);
  EXPECT_NE(file.errors.find("file/below"), std::string::npos);
  const test::ProcessResult size = make_pictures(folder / "out", "7");
  EXPECT_EQ(size.code, 2);
  EXPECT_NE(size.errors.find("--size 7: must be a whole number from 16 to 4096"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

}  // namespace
}  // namespace minidl
