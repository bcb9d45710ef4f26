#pragma once
#include <minidl/core/image.h>
#include <minidl/layers/vgg_weights.h>
#include <support/process.h>
#include <support/small_gatys.h>
#include <support/tiny_network.h>

namespace minidl::test {

/// A folder with small pictures and a small network, in which nst_gatys runs.
class GatysFolder {
 public:
  GatysFolder() {
    layers::write_network(path("weights.safetensors"), tiny_network());
    save_image(path("content.png"), wavy_picture(24, 32, 1));
    save_image(path("style.png"), wavy_picture(28, 28, 3));
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string bytes(const std::string& name) const { return read_bytes(path(name)); }
  bool has(const std::string& name) const { return std::filesystem::exists(path(name)); }
  int entries() const { return folder_.entries(); }

  /// The command line with `flags`, which replace the usual ones. A name in braces is a file of the folder:
  /// "{out.png}".
  std::vector<std::string> command(const std::vector<std::string>& flags) const {
    std::vector<std::string> words{program("nst_gatys"),
                                   "--content",
                                   "{content.png}",
                                   "--style",
                                   "{style.png}",
                                   "--weights",
                                   "{weights.safetensors}",
                                   "--iterations",
                                   "2",
                                   "--size",
                                   "32"};
    const auto defaults = static_cast<ptrdiff_t>(words.size());
    for (size_t i = 0; i < flags.size(); ++i) {
      const auto end = words.begin() + defaults, replaced = std::find(words.begin(), end, flags[i]);
      if (replaced != end && flags[i].starts_with("--")) {
        *(replaced + 1) = flags[++i];
      } else {
        words.push_back(flags[i]);
      }
    }
    for (std::string& word : words) {
      const size_t open = word.find('{'), close = word.find('}');
      if (open == std::string::npos) continue;
      word = word.substr(0, open) + path(word.substr(open + 1, close - open - 1)) + word.substr(close + 1);
    }
    return words;
  }
  ProcessResult run(const std::vector<std::string>& flags) const { return run_process(command(flags)); }
  /// The picture that a successful run gives.
  Tensor picture(std::vector<std::string> flags) const {
    flags.insert(flags.end(), {"--quiet", "-o", "{picture.png}"});
    const ProcessResult result = run(flags);
    EXPECT_EQ(result.code, 0) << result.errors;
    return result.code == 0 ? load_image(path("picture.png")) : Tensor();
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace minidl::test
