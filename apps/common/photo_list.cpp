#include <minidl/apps/common/photo_list.h>
#include <minidl/core/error.h>
#include <minidl/core/file.h>

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

namespace minidl::apps {
namespace {

constexpr std::string_view kExtensions[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp",
                                            ".tga", ".psd",  ".gif", ".pgm",  ".ppm", ".pnm"};
/// Only marks that no text begins with by chance.
constexpr std::string_view kMarks[] = {"\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "GIF8", "8BPS"};

bool has_picture_extension(const fs::path& path) {
  return std::find(std::begin(kExtensions), std::end(kExtensions), lower_extension(path)) != std::end(kExtensions);
}

bool begins_like_a_picture(const fs::path& path) {
  std::array<char, 8> head{};
  try {
    const InputFile file(path);
    file.read(0, head.data(), std::min<int64_t>(file.size(), head.size()));
  } catch (const Error&) {
    return false;  // nothing says that it is a picture
  }
  return std::any_of(std::begin(kMarks), std::end(kMarks), [&](std::string_view mark) {
    return std::string_view(head.data(), head.size()).starts_with(mark);
  });
}

class Search {
 public:
  explicit Search(PhotoList& list) : list_(list) {}

  /// `relative` is the folder's name below the list's folder, with a '/' at the end, or empty.
  void look_into(const fs::path& folder, const std::string& relative) {
    if (!first_visit(folder)) return;
    std::error_code error;
    std::vector<std::string> names;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error))
      names.push_back(entry->path().filename().string());
    if (error) list_.unreadable.push_back({folder, "the folder cannot be read: " + error.message()});
    std::sort(names.begin(), names.end());  // which of two ways to the same folder comes first must not be chance
    for (const std::string& name : names) {
      if (!name.starts_with('.')) add(folder / name, relative + name);
    }
  }

 private:
  void add(const fs::path& path, const std::string& relative) {
    std::error_code ignored;
    const fs::file_type type = fs::status(path, ignored).type();
    if (type == fs::file_type::directory) return look_into(path, relative + "/");
    const bool may_be_photo = type == fs::file_type::regular || type == fs::file_type::not_found;  // a link to nothing
    if (may_be_photo && (has_picture_extension(path) || begins_like_a_picture(path))) {
      list_.names.push_back(relative);
    } else {
      ++list_.other_files;
    }
  }

  bool first_visit(const fs::path& folder) {
    struct stat status {};
    return ::stat(folder.c_str(), &status) != 0 || visited_.emplace(status.st_dev, status.st_ino).second;
  }

  PhotoList& list_;
  std::set<std::pair<dev_t, ino_t>> visited_;
};

}  // namespace

std::string PhotoList::fingerprint() const {
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(names.size());
  for (const std::string& name : names) pieces.push_back(std::as_bytes(std::span(name.c_str(), name.size() + 1)));
  return sha256_of_bytes(pieces);
}

PhotoList search_photos(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  MINIDL_CHECK(fs::exists(status), "[photos] there is no folder '{}'{}", folder.string(),
               error && status.type() == fs::file_type::none ? " to be seen: " + error.message() : std::string());
  MINIDL_CHECK(fs::is_directory(status), "[photos] '{}' is not a folder; give the folder with the photos",
               folder.string());
  PhotoList list{.folder = folder, .names = {}};
  Search(list).look_into(folder, "");
  std::sort(list.names.begin(), list.names.end());
  return list;
}

PhotoList list_photos(const fs::path& folder) {
  PhotoList list = search_photos(folder);
  if (!list.names.empty()) return list;
  MINIDL_CHECK(list.unreadable.empty(), "[photos] no photos found: '{}': {}", list.unreadable[0].file.string(),
               list.unreadable[0].reason);
  fail(
      "[photos] there are no photos in '{}' or below it ({} other files); JPEG, PNG, BMP, TGA, PSD, GIF and PNM are "
      "read",
      folder.string(), list.other_files);
}

}  // namespace minidl::apps
