#include <minidl/apps/common/photo_list.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/temporary_folder.h>

#include <sys/stat.h>

#include <fstream>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using test::throws_error;
using test::write_bytes;
using Names = std::vector<std::string>;

TEST(ListPhotos, FindsNestedOnesInTheOrderOfTheirNames) {
  const Names names = {"B.JPG", "a/1.png", "a/b/c/d/2.jpeg", "a/b.bmp", "a10.tga", "a9.ppm", "\xc3\xa4.gif", "z z.psd"};
  Names reversed(names.rbegin(), names.rend());
  std::string fingerprint;
  for (const Names& order : {names, reversed}) {
    const TemporaryFolder folder;
    for (const std::string& name : order) {
      fs::create_directories((folder / name).parent_path());
      write_bytes(folder / name, "");
    }
    fs::create_directories(folder / "empty");
    const PhotoList list = list_photos(folder.path());
    Names expected = names;
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(list.names, expected);
    EXPECT_EQ(list.count(), static_cast<int64_t>(names.size()));
    EXPECT_EQ(list.path(0), folder / "B.JPG");
    EXPECT_EQ(list.other_files, 0);
    EXPECT_TRUE(list.unreadable.empty());
    EXPECT_TRUE(fingerprint.empty() || fingerprint == list.fingerprint());
    fingerprint = list.fingerprint();
  }
  PhotoList other{.folder = "x", .names = {"ab", "c"}};
  const std::string before = other.fingerprint();
  other.names = {"a", "bc"};
  EXPECT_NE(other.fingerprint(), before);
}

TEST(ListPhotos, OfFilesWithOtherNamesTheContentDecides) {
  const TemporaryFolder folder;
  write_bytes(folder / "plain", "\x89PNG\r\n\x1a\n...");
  write_bytes(folder / "scan.dat", "\xff\xd8\xff\xe0");
  write_bytes(folder / "notes.txt", "a list of photos");
  write_bytes(folder / "BMW.csv", "BMW,Audi");
  write_bytes(folder / "empty", "");
  write_bytes(folder / "damaged.jpg", "text");
  write_bytes(folder / "._damaged.jpg", "left by some file managers");
  fs::create_directory(folder / ".thumbnails");
  write_bytes(folder / ".thumbnails/1.jpg", "");
  const PhotoList list = list_photos(folder.path());
  EXPECT_EQ(list.names, (Names{"damaged.jpg", "plain", "scan.dat"}));
  EXPECT_EQ(list.other_files, 3);
}

TEST(ListPhotos, FollowsLinksAndSurvivesLoops) {
  const TemporaryFolder folder, elsewhere;
  fs::create_directory(folder / "sub");
  write_bytes(folder / "sub/1.jpg", "");
  write_bytes(elsewhere / "2.jpg", "");
  fs::create_directory_symlink(folder.path(), folder / "sub/loop");
  fs::create_directory_symlink("sub", folder / "again");  // comes before sub, and counts instead of it
  fs::create_directory_symlink(elsewhere.path(), folder / "there");
  fs::create_symlink(elsewhere / "2.jpg", folder / "one.jpg");
  fs::create_symlink("nothing", folder / "broken.jpg");
  fs::create_symlink("self", folder / "self");
  ASSERT_EQ(::mkfifo((folder / "pipe.jpg").c_str(), 0600), 0);
  const PhotoList list = list_photos(folder.path());
  EXPECT_EQ(list.names, (Names{"again/1.jpg", "broken.jpg", "one.jpg", "there/2.jpg"}));
}

TEST(ListPhotos, ThousandsOfFiles) {
  const TemporaryFolder folder;
  for (int i = 0; i < 3000; ++i) std::ofstream(folder / (std::to_string(i * 7919 % 3000) + ".jpg"));
  const PhotoList list = list_photos(folder.path());
  EXPECT_EQ(list.count(), 3000);
  EXPECT_TRUE(std::is_sorted(list.names.begin(), list.names.end()));
}

TEST(ListPhotos, SaysWhatIsWrongWithTheFolder) {
  const TemporaryFolder folder;
  EXPECT_TRUE(throws_error([&] { list_photos(folder / "none"); }, "there is no folder '" + (folder / "none").string()));
  EXPECT_TRUE(throws_error([&] { list_photos(folder.path()); }, "there are no photos in"));
  const fs::path file = write_bytes(folder / "a.txt", "x");
  EXPECT_TRUE(throws_error([&] { list_photos(file); }, "a.txt' is not a folder"));
  EXPECT_TRUE(throws_error([&] { list_photos(file / "b"); }, "there is no folder"));
  EXPECT_TRUE(throws_error([&] { list_photos(folder.path()); }, "(1 other files)"));
}

}  // namespace
}  // namespace minidl::apps
