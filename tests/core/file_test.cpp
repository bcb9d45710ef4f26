#include <minidl/core/error.h>
#include <minidl/core/file.h>
#include <support/compare.h>
#include <support/file_size_limit.h>
#include <support/temporary_folder.h>
#include <sys/stat.h>

#include <numeric>

namespace minidl {
namespace {

namespace fs = std::filesystem;
using test::FileSizeLimit;
using test::read_bytes;
using test::TemporaryFolder;
using test::throws_error;
using test::write_bytes;

std::string as_text(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}
void write_text(const fs::path& path, const std::string& text) {
  write_file_atomically(path, text.data(), text.size());
}

TEST(ReadFile, GivesTheWholeContents) {
  const TemporaryFolder folder;
  std::string all(100000, '\0');
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i * 31 % 256);
  EXPECT_EQ(as_text(read_file(write_bytes(folder / "a", all))), all);
  EXPECT_TRUE(read_file(write_bytes(folder / "empty", "")).empty());
}

TEST(ReadFile, NamesTheFileAndTheReason) {
  const TemporaryFolder folder;
  const fs::path missing = folder / "missing.bin";
  EXPECT_TRUE(throws_error([&] { read_file(missing); }, "'" + missing.string() + "': No such file or directory"));
  EXPECT_TRUE(throws_error([&] { read_file(folder.path()); }, "it is a directory"));
  EXPECT_TRUE(throws_error([&] { read_file("/dev/null"); }, "not a regular file"));
  EXPECT_TRUE(throws_error([&] { read_file(write_bytes(folder / "a", "x") / "b"); }, "Not a directory"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(throws_error([&] { read_file(folder / "pipe"); }, "not a regular file"));
}

TEST(ReadFile, ChecksTheSizeBeforeItAllocates) {
  const TemporaryFolder folder;
  const fs::path path = write_bytes(folder / "a", "12345");
  EXPECT_EQ(read_file(path, 5).size(), 5u);
  EXPECT_TRUE(throws_error([&] { read_file(path, 4); }, "5 bytes, at most 4"));
  fs::resize_file(path, uintmax_t{1} << 42);  // takes no space on disk
  EXPECT_TRUE(throws_error([&] { read_file(path); }, "too large"));
}

TEST(InputFile, ReadsAnywhereAndReportsAShortFile) {
  const TemporaryFolder folder;
  const fs::path path = write_bytes(folder / "a", "0123456789");
  const InputFile file(path);
  EXPECT_EQ(file.size(), 10);
  EXPECT_EQ(file.path(), path);
  char three[3];
  file.read(7, three, 3);
  EXPECT_EQ(std::string(three, 3), "789");
  EXPECT_TRUE(throws_error([&] { file.read(8, three, 3); }, "ends at byte 10, 1 more were expected"));
  fs::resize_file(path, 4);
  EXPECT_TRUE(throws_error([&] { file.read(7, three, 3); }, "ends at byte 7"));
}

TEST(WriteAtomically, CreatesAndReplaces) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.txt";
  write_text(path, "first");
  EXPECT_EQ(read_bytes(path), "first");
  write_text(path, "2");
  EXPECT_EQ(read_bytes(path), "2");
  write_text(path, "");
  EXPECT_EQ(fs::file_size(path), 0u);
  EXPECT_EQ(folder.entries(), 1);
}

TEST(WriteAtomically, JoinsPieces) {
  const TemporaryFolder folder;
  const std::string a = "head", b, c = "tail";
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(a)), std::as_bytes(std::span(b)),
                                               std::as_bytes(std::span(c))};
  write_file_atomically(folder / "a", pieces);
  EXPECT_EQ(read_bytes(folder / "a"), "headtail");
}

TEST(WriteAtomically, TemporaryIsHiddenAndInTheSameFolder) {
  const TemporaryFolder folder;
  write_atomically(folder / "a.txt", [&](const fs::path& temporary) {
    EXPECT_EQ(temporary.parent_path(), folder.path());
    EXPECT_TRUE(temporary.filename().string().starts_with(".a.txt."));
    EXPECT_TRUE(fs::exists(temporary));
    EXPECT_FALSE(fs::exists(folder / "a.txt"));
    write_bytes(temporary, "x");
  });
  EXPECT_EQ(read_bytes(folder / "a.txt"), "x");
}

TEST(WriteAtomically, RelativeNameWithoutFolder) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_text("plain.txt", "here");
  fs::current_path(before);
  EXPECT_EQ(read_bytes(folder / "plain.txt"), "here");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(WriteAtomically, LongestName) {
  const TemporaryFolder folder;
  const std::string name(255, 'n');
  write_text(folder / name, "x");
  EXPECT_EQ(read_bytes(folder / name), "x");
  EXPECT_TRUE(throws_error([&] { write_text(folder / (name + "n"), "x"); }, "File name too long"));
  EXPECT_EQ(folder.entries(), 1);
}

TEST(WriteAtomically, KeepsASymbolicLink) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "real");
  write_bytes(folder / "real/a", "old");
  fs::create_symlink("real/a", folder / "link");
  write_text(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_bytes(folder / "real/a"), "new");
}

TEST(WriteAtomically, ExistingFileSurvivesAnException) {
  const TemporaryFolder folder;
  const fs::path path = write_bytes(folder / "a", "precious");
  EXPECT_THROW(write_atomically(path,
                                [](const fs::path& temporary) {
                                  write_bytes(temporary, "half");
                                  throw std::runtime_error("stop");
                                }),
               std::runtime_error);
  EXPECT_EQ(read_bytes(path), "precious");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(WriteAtomically, ExistingFileSurvivesAFullDisk) {
  const TemporaryFolder folder;
  const fs::path path = write_bytes(folder / "a", "precious");
  {
    const FileSizeLimit limit(1000);
    EXPECT_TRUE(throws_error([&] { write_text(path, std::string(5000, 'x')); },
                             "cannot write '" + path.string() + "': File too large"));
  }
  EXPECT_EQ(read_bytes(path), "precious");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(WriteAtomically, AVanishedTemporaryIsAnError) {
  const TemporaryFolder folder;
  EXPECT_TRUE(throws_error([&] { write_atomically(folder / "a", [](const fs::path& t) { fs::remove(t); }); },
                           (folder / "a").string()));
  EXPECT_EQ(folder.entries(), 0);
}

TEST(WriteAtomically, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "sub");
  const fs::path file = write_bytes(folder / "file", "x");
  const std::pair<fs::path, const char*> cases[] = {
      {folder / "none/a", "No such file or directory"},
      {file / "a", "Not a directory"},
      {folder / "sub", "it is a directory"},
      {folder / "sub/", "does not name a file"},
      {"", "does not name a file"},
      {"..", "does not name a file"},
      {"/dev/full", "not a regular file"},
  };
  for (const auto& [path, words] : cases) {
    EXPECT_TRUE(throws_error([&] { write_text(path, "y"); }, words)) << path;
    EXPECT_TRUE(throws_error([&] { check_can_write(path); }, words)) << path;
  }
  EXPECT_EQ(folder.entries(), 2);
  check_can_write(file);
  check_can_write(folder / "new");
  EXPECT_EQ(folder.entries(), 2);
}

TEST(Sha256OfBytes, IsThatOfAllPiecesInARow) {
  const std::string_view a = "a", empty = "", bc = "bc";
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(a)), std::as_bytes(std::span(empty)),
                                               std::as_bytes(std::span(bc))};
  EXPECT_EQ(sha256_of_bytes(pieces), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256OfFile, KnownValues) {  // FIPS 180-4 examples
  const TemporaryFolder folder;
  EXPECT_EQ(sha256_of_file(write_bytes(folder / "empty", "")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of_file(write_bytes(folder / "abc", "abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_of_file(write_bytes(folder / "million", std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha256_of_file(write_bytes(folder / "pieces", std::string(3 << 20, 'a'))).size(), 64u);
  EXPECT_TRUE(throws_error([&] { sha256_of_file(folder / "missing"); }, "missing"));
}

TEST(FileNames, ExtensionsAreLowered) {
  EXPECT_EQ(lower_extension("a/b.PNG"), ".png");
  EXPECT_EQ(lower_extension("Net.1.SafeTensors"), ".safetensors");
  EXPECT_EQ(lower_extension("name"), "");
}

TEST(FileNames, OfOneFileAreEqual) {
  const TemporaryFolder folder;
  const fs::path file = write_bytes(folder / "a", "a");
  fs::create_hard_link(file, folder / "hard");
  fs::create_symlink(file, folder / "soft");
  for (const char* name : {"a", "./a", "none/../a", "hard", "soft"}) {
    EXPECT_TRUE(is_same_file(file, folder / name)) << name;
  }
  EXPECT_TRUE(is_same_file(folder / "none/b", folder / "none/./c/../b"));
  EXPECT_TRUE(is_same_file("none/b", fs::current_path() / "none" / "b"));
  EXPECT_FALSE(is_same_file(file, write_bytes(folder / "other", "a")));
  EXPECT_FALSE(is_same_file(file, folder / "none"));
  EXPECT_EQ(plain_path(folder / "soft"), plain_path(file));
}

}  // namespace
}  // namespace minidl
