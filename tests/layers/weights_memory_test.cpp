#include <minidl/layers/vgg_weights.h>
#include <support/child_process.h>
#include <support/temporary_folder.h>

#include <cstdlib>

namespace minidl::layers {
namespace {

/// Peak resident memory, in KiB, of a process that reads the network up to a layer.
int64_t peak_while_reading(const std::filesystem::path& path, const std::string& until) {
  const std::string result = test::in_child_process([&] {
    const NetworkDescription network = read_network(path, {until});
    return network.layers.at(network.index_of(until) - 1).weight ? std::to_string(test::peak_resident_kib()) : "0";
  });
  return std::strtoll(result.c_str(), nullptr, 10);
}

/// VGG-19 with its fully connected layers has 575 MB of weights, 80 MB of which style transfer needs.
TEST(WeightsMemory, TheFullFileIsReadInLessThan300MB) {
  if (!std::getenv("MINIDL_LONG_TESTS")) GTEST_SKIP() << "writes files of 530 MB: set MINIDL_LONG_TESTS=1 to run it";
  const test::TemporaryFolder folder;
  for (const char* name : {"full.mat", "full.safetensors"}) {
    const std::string written = test::in_child_process([&]() -> std::string {
      NetworkDescription network = vgg_description(19, true);
      fill_random_weights(network, 1);
      write_network(folder / name, network);
      return "written";
    });
    ASSERT_EQ(written, "written");
    EXPECT_GT(std::filesystem::file_size(folder / name), 500'000'000u);
    const int64_t kib = peak_while_reading(folder / name, "relu5_4");
    std::printf("%s: peak resident memory %lld KiB\n", name, static_cast<long long>(kib));
    EXPECT_GT(kib, 80'000) << name;
    EXPECT_LT(kib, 300'000'000 / 1024) << name;
    std::filesystem::remove(folder / name);
  }
}

}  // namespace
}  // namespace minidl::layers
