#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace minidl::apps {

/// A picture and where its result goes.
struct ResultFile {
  std::filesystem::path input, output;
};

/// What `inputs` name, each once and in their order: a picture itself, the pictures of a folder and its subfolders, or
/// what fits a pattern with *, ? or [...] that the shell has left as it is; sorted by name within one input. Results
/// lie under `folder` with the names of the pictures, below the subfolders that they have in an input folder; pictures
/// of a kind that is not written become .png. What lies in `folder` already is left out of a folder that it lies in,
/// and of a pattern that `folder` fits. Throws Error for an input that gives no picture, and for a result that would
/// replace another one or a picture, with both names. Files named directly need not exist.
std::vector<ResultFile> find_result_files(const std::vector<std::string>& inputs, const std::filesystem::path& folder);

/// Throws Error when a result would replace one of the pictures, or is another's, too.
void check_result_files(const std::vector<ResultFile>& files);

}  // namespace minidl::apps
