#include <glob.h>
#include <minidl/apps/common/photo_list.h>
#include <minidl/apps/common/result_files.h>
#include <minidl/core/error.h>
#include <minidl/core/file.h>
#include <minidl/core/image.h>

#include <map>
#include <set>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> matches_of(const std::string& pattern) {
  glob_t found{};
  const int result = ::glob(pattern.c_str(), 0, nullptr, &found);
  const std::vector<fs::path> paths(found.gl_pathv, found.gl_pathv + (result == 0 ? found.gl_pathc : 0));
  ::globfree(&found);
  MINIDL_CHECK(!paths.empty(), "no file fits the pattern '{}'", pattern);
  return paths;
}

/// Of plain paths.
bool is_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && relative != "." && *relative.begin() != "..";
}

class Collector {
 public:
  explicit Collector(const fs::path& folder) : folder_(folder) {}

  void add(const std::string& input) {
    if (fs::is_directory(input)) {
      add_photos(list_photos(input));
    } else if (input.find_first_of("*?[") != std::string::npos && !fs::exists(input)) {
      for (const fs::path& match : matches_of(input)) {
        if (!fs::is_directory(match)) {
          add_file(match, match.filename());
        } else if (plain_path(match) != plain_path(folder_) && !is_inside(plain_path(match), plain_path(folder_))) {
          add_photos(search_photos(match));  // a pattern may fit folders without pictures, too
        }
      }
    } else {
      add_file(input, fs::path(input).filename());
    }
  }
  std::vector<ResultFile> take() { return std::move(files_); }

 private:
  void add_photos(const PhotoList& list) {
    const fs::path& folder = list.folder;
    const bool holds_results = is_inside(plain_path(folder_), plain_path(folder));
    for (const std::string& name : list.names) {
      if (!holds_results || !is_inside(plain_path(folder / name), plain_path(folder_))) add_file(folder / name, name);
    }
    // They fail when they are read, and are reported so.
    for (const SkippedPhoto& skipped : list.unreadable) add_file(skipped.file, skipped.file.lexically_relative(folder));
  }
  void add_file(const fs::path& picture, fs::path name) {
    if (!seen_.insert(plain_path(picture)).second) return;
    if (!is_image_output(name)) name.replace_extension(".png");
    files_.push_back({picture, folder_ / name});
  }

  fs::path folder_;
  std::set<fs::path> seen_;
  std::vector<ResultFile> files_;
};

}  // namespace

void check_result_files(const std::vector<ResultFile>& files) {
  std::map<fs::path, const ResultFile*> inputs, outputs;
  for (const ResultFile& file : files) inputs.emplace(plain_path(file.input), &file);
  for (const ResultFile& file : files) {
    const fs::path output = plain_path(file.output);
    const auto input = inputs.find(output);
    MINIDL_CHECK(input == inputs.end() && !is_same_file(file.input, file.output),
                 "the result '{}' would replace the picture '{}'; choose another name or folder", file.output.string(),
                 input == inputs.end() ? file.input.string() : input->second->input.string());
    const auto [other, is_new] = outputs.emplace(output, &file);
    MINIDL_CHECK(is_new, "'{}' and '{}' would both become '{}'; give one of them another name or run them apart",
                 other->second->input.string(), file.input.string(), file.output.string());
  }
}

std::vector<ResultFile> find_result_files(const std::vector<std::string>& inputs, const fs::path& folder) {
  Collector collector(folder);
  for (const std::string& input : inputs) collector.add(input);
  std::vector<ResultFile> files = collector.take();
  MINIDL_CHECK(!files.empty(), "there are no pictures beside the results in '{}'", folder.string());
  check_result_files(files);
  return files;
}

}  // namespace minidl::apps
