#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace minidl::apps {

/// A file that could not be used, and why.
struct SkippedPhoto {
  std::filesystem::path file;
  std::string reason;
};

/// The photos of a folder: their names alone, none of them opened.
struct PhotoList {
  std::filesystem::path folder;
  std::vector<std::string> names;          // relative to `folder`, with '/', in the order of their bytes
  std::vector<SkippedPhoto> unreadable{};  // folders that could not be looked into
  int64_t other_files = 0;                 // that are no pictures

  std::filesystem::path path(int64_t index) const { return folder / names[static_cast<size_t>(index)]; }
  int64_t count() const { return static_cast<int64_t>(names.size()); }
  /// SHA-256 of the names: two lists with the same one give every number the same name.
  std::string fingerprint() const;
};

/// Every photo in `folder` and the folders below it, in an order that does not depend on the file system. Files with
/// the extension of a picture format are listed unseen; of the others those are that begin like a JPEG, PNG, GIF or
/// PSD. Hidden files and folders (whose name begins with a dot) are left out. Links are followed; a folder that is
/// reached twice, for example by a link to one of its parents, is listed once. Throws Error naming the folder: missing,
/// not a folder, not readable, without photos.
PhotoList list_photos(const std::filesystem::path& folder);
/// The same; a folder without photos gives an empty list.
PhotoList search_photos(const std::filesystem::path& folder);

}  // namespace minidl::apps
