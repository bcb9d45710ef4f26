#include <minidl/core/image.h>
#include <minidl/layers/vgg_weights.h>
#include <support/compare.h>
#include <support/process.h>
#include <support/temporary_folder.h>

namespace minidl {
namespace {

test::ProcessResult make_pictures(const std::filesystem::path& folder, const std::string& size) {
  return test::run_process({test::program("minidl_demo_pictures"), folder, "--size", size});
}

TEST(DemoPictures, MakesTwoPicturesAndANetwork) {
  const test::TemporaryFolder folder;
  const test::ProcessResult result = make_pictures(folder / "a/b", "64");
  ASSERT_EQ(result.code, 0) << result.errors;
  for (const char* name : {"content.png", "style.png"}) {
    const Tensor picture = load_image(folder / "a/b" / name);
    EXPECT_EQ(picture.shape(), (Shape{1, 48, 64, 3}));
    const auto [low, high] = std::minmax_element(picture.span<float>().begin(), picture.span<float>().end());
    EXPECT_LT(*low, 40.0f) << name;
    EXPECT_GT(*high, 215.0f) << name;
  }
  const layers::NetworkDescription network = layers::read_network(folder / "a/b/demo_network.safetensors");
  EXPECT_EQ(network.layers.back().name, "relu5_1");
  EXPECT_EQ(network.layers[network.index_of("conv4_2")].weight.shape(), (Shape{48, 3, 3, 48}));
}

TEST(DemoPictures, AreTheSameEveryTime) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(make_pictures(folder / "a", "32").code, 0);
  ASSERT_EQ(make_pictures(folder / "b", "32").code, 0);
  for (const char* name : {"content.png", "style.png", "demo_network.safetensors"}) {
    EXPECT_EQ(test::read_bytes(folder / "a" / name), test::read_bytes(folder / "b" / name)) << name;
  }
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
