#pragma once
#include <cstdlib>
#include <filesystem>

namespace minidl::test {

/// A file or folder of the test data that is kept outside the tree, or an empty path when there is none:
///   const auto file = test_data("data/vgg/..."); if (file.empty()) GTEST_SKIP() << kNoTestData;
inline std::filesystem::path test_data(const std::filesystem::path& relative) {
  const char* root = std::getenv("MINIDL_TEST_DATA");
  if (!root || !*root) return {};
  const std::filesystem::path path = std::filesystem::path(root) / relative;
  return std::filesystem::exists(path) ? path : std::filesystem::path();
}
constexpr const char* kNoTestData = "needs the data that MINIDL_TEST_DATA points to";
constexpr const char* kVggFile = "data/vgg/imagenet-vgg-verydeep-19-conv.mat";

}  // namespace minidl::test
