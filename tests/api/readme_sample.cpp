#include <support/random_tensors.h>
#include <support/tiny_vgg.h>

#include <cstdio>
#include <fstream>
#include <iterator>

// What stands between the two marks is the sample of README.md, letter for letter.
// [sample]
#include <minidl/minidl.h>
using namespace minidl;

/// Trains a small network that paints one photo in the style of one picture.
void stylise(const std::string& vgg_file, const std::string& photo_file, const std::string& style_file, int steps) {
  const Device device = Device::best();  // Device::parse("cuda") names a GPU
  layers::Sequential net;
  net.add<layers::Conv2d>(3, 32, layers::Conv2dOptions{.kernel = 9, .padding = Padding::reflect(4)})
      .add<layers::InstanceNorm>(32)
      .add<layers::Relu>()
      .add<layers::ResidualBlock>(32)
      .add<layers::Conv2d>(32, 3, layers::Conv2dOptions{.kernel = 9, .padding = Padding::reflect(4)});
  net.to(device);

  auto vgg = layers::Vgg::load(vgg_file);  // imagenet-vgg-verydeep-19.mat, or .safetensors
  vgg.to(device).freeze();                 // never given a gradient

  const Variable photo(load_image(photo_file, {.max_side = 256}).to(device));  // [1, h, w, 3] in [0, 255]
  const Tensor content = vgg(photo, {"relu4_2"}).at("relu4_2").value();        // no tape: nothing is recorded
  const StyleTargets targets(vgg, load_image(style_file).to(device), {"relu1_1", "relu2_1", "relu3_1"});

  optim::Adam adam(net.parameters(), {.lr = 1e-3f});
  Tape tape;
  for (int step = 0; step < steps; ++step) {
    TapeScope recording(tape);
    const Variable image = net(photo);
    const auto features = vgg(image, targets.taps({"relu4_2"}));
    const Variable loss = ops::content_loss(features.at("relu4_2"), content) + 1e3f * targets.loss(features) +
                          1e-6f * ops::total_variation(image);
    tape.backward(loss);  // frees the step's graph as it goes
    adam.step();
    adam.zero_grad();
    if (step % 10 == 0) std::printf("step %d: loss %g\n", step, loss.value().item());
  }
  save_image("stylised.png", net(photo).value());
}
// [sample]

namespace {

namespace fs = std::filesystem;

/// The text between the two lines that end in [sample].
std::string sample_of(const fs::path& path) {
  std::ifstream stream(path);
  std::string text;
  bool inside = false;
  for (std::string line; std::getline(stream, line);) {
    if (line == "// [sample]") {
      inside = !inside;
    } else if (inside) {
      text += line + "\n";
    }
  }
  return text;
}

class ReadmeSample : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    const fs::path folder = fs::path(::testing::TempDir()) / "minidl_readme_sample";
    fs::create_directories(folder);
    fs::current_path(folder);
  }
  void TearDown() override {
    const fs::path folder = fs::current_path();
    fs::current_path(before_);
    fs::remove_all(folder);
  }
  fs::path before_;
};

TEST_F(ReadmeSample, RunsAndLearns) {
  layers::write_network("vgg.safetensors", test::tiny_vgg());
  save_image("photo.png", test::random_uniform({1, 24, 17, 3}, 2, 0.0f, 255.0f));
  save_image("style.png", test::random_uniform({1, 16, 32, 3}, 3, 0.0f, 255.0f));

  ::testing::internal::CaptureStdout();
  stylise("vgg.safetensors", "photo.png", "style.png", 21);
  const std::string printed = ::testing::internal::GetCapturedStdout();

  std::vector<double> losses;
  for (size_t at = printed.find("loss "); at != std::string::npos; at = printed.find("loss ", at + 1)) {
    losses.push_back(std::stod(printed.substr(at + 5)));
  }
  ASSERT_EQ(losses.size(), 3u) << printed;
  EXPECT_LT(losses[1], losses[0]);
  EXPECT_LT(losses[2], losses[1]);
  EXPECT_EQ(load_image("stylised.png").shape(), Shape({1, 24, 17, 3}));
}

TEST(Readme, ShowsThisSample) {
  const fs::path root = MINIDL_SOURCE_DIR;
  std::ifstream stream(root / "README.md");
  if (!stream) GTEST_SKIP() << "there is no README.md in " << root;
  const std::string readme{std::istreambuf_iterator<char>(stream), {}};
  const std::string sample = sample_of(root / "tests/api/readme_sample.cpp");
  ASSERT_GT(sample.size(), 500u);
  EXPECT_NE(readme.find(sample), std::string::npos) << "README.md must show:\n" << sample;
}

}  // namespace
