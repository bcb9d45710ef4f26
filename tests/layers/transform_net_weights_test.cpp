#include <minidl/layers/init.h>
#include <minidl/layers/transform_net_weights.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/temporary_folder.h>
#include <support/test_data.h>

#include <algorithm>
#include <limits>

namespace minidl::layers {
namespace {

using test::random_uniform;
using test::same_bytes;
using test::throws_error;

/// Small nets that differ in everything.
std::vector<TransformNetOptions> all_kinds() {
  return {{.width = 8, .residual_blocks = 1},
          {.width = 9, .residual_blocks = 0, .upsample = UpsampleKind::fractional, .padding = Padding::Mode::zero},
          {.width = 8, .residual_blocks = 2, .padding = Padding::Mode::replicate, .norm = NormKind::batch},
          {.width = 8, .residual_blocks = 1, .output_range = OutputRange::tanh, .styles = 3}};
}

/// No parameter is what a fresh net has.
TransformNet random_net(const TransformNetOptions& options) {
  TransformNet net(options);
  SafetensorsContent content = net.state();
  for (size_t i = 0; i < content.tensors.size(); ++i) {
    Tensor& tensor = content.tensors[i].second;
    tensor = random_uniform(tensor.shape(), i + 1, 0.01f, 0.5f);
  }
  net.load_state(content);
  return net;
}

class TransformNetWeights : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& name = "net.safetensors") const { return folder_.path() / name; }
  /// Writes what a net would, changed by `change`.
  std::filesystem::path changed(const std::function<void(SafetensorsContent&)>& change,
                                const TransformNetOptions& options = {.width = 8, .residual_blocks = 1}) const {
    SafetensorsContent content = random_net(options).state();
    change(content);
    write_safetensors(file(), content);
    return file();
  }
  static Tensor& tensor(SafetensorsContent& content, const std::string& name) {
    return std::find_if(content.tensors.begin(), content.tensors.end(), [&](auto& pair) { return pair.first == name; })
        ->second;
  }

  test::TemporaryFolder folder_;
};

TEST_F(TransformNetWeights, WhatWasSavedIsLoaded) {
  const Variable picture(random_uniform({2, 7, 9, 3}, 1, 0.0f, 255.0f));
  for (const TransformNetOptions& options : all_kinds()) {
    TransformNet net = random_net(options);
    net.save(file(), {{"style", "wave"}});
    EXPECT_EQ(SafetensorsReader(file()).metadata().at("style"), "wave");
    TransformNet loaded = TransformNet::load(file());
    EXPECT_EQ(loaded.options(), options);
    const auto before = net.state().tensors, after = loaded.state().tensors;
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_EQ(before[i].first, after[i].first);
      EXPECT_TRUE(same_bytes(before[i].second, after[i].second)) << before[i].first;
    }
    net.train(false), loaded.train(false);
    EXPECT_TRUE(same_bytes(net(picture).value(), loaded(picture).value()));
  }
}

TEST_F(TransformNetWeights, HalfTheSizeInHalfPrecision) {
  const TransformNet net = random_net({.width = 8});
  net.save(file("full"));
  net.save(file("half"), {}, Dtype::f16);
  EXPECT_NEAR(static_cast<double>(std::filesystem::file_size(file("half"))),
              0.5 * static_cast<double>(std::filesystem::file_size(file("full"))), 8192.0);
  const auto expected = net.state().tensors, loaded = TransformNet::load(file("half")).state().tensors;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(same_bytes(loaded[i].second, expected[i].second.to(Dtype::f16).to(Dtype::f32))) << expected[i].first;
  }
}

TEST_F(TransformNetWeights, FiltersAreInPytorchsOrder) {
  TransformNet(TransformNetOptions{.width = 8, .upsample = UpsampleKind::fractional}).save(file());
  const SafetensorsReader reader(file());
  EXPECT_EQ(reader.info("conv1.conv2d.weight").shape, Shape({8, 3, 9, 9}));
  EXPECT_EQ(reader.info("conv3.conv2d.weight").shape, Shape({32, 16, 3, 3}));
  EXPECT_EQ(reader.info("deconv1.conv2d.weight").shape, Shape({32, 16, 3, 3})) << "ConvTranspose2d: [in, out, kh, kw]";
  EXPECT_EQ(reader.info("deconv1.conv2d.bias").shape, Shape({16}));
}

TEST_F(TransformNetWeights, ShapesAloneTellTheKind) {
  for (TransformNetOptions options : all_kinds()) {
    TransformNet net = random_net(options);
    write_safetensors(file(), net.state());
    options.padding = Padding::Mode::reflect, options.output_range = OutputRange::linear;
    options.norm = NormKind::instance;  // running statistics may be those of old files with instance normalisation
    EXPECT_EQ(TransformNet::load(file()).options(), options);
  }
}

TEST_F(TransformNetWeights, MetadataOfOthersDoesNotDisturb) {
  const auto path = changed([](SafetensorsContent& content) {
    content.metadata = {{"format", "pt"}, {"format_version", "7"}, {"architecture", "a net"}, {"padding", "zero"}};
    content.tensors.emplace_back("in1.running_mean", Tensor::zeros({8}));
    content.tensors.emplace_back("in1.num_batches_tracked", Tensor::zeros({}));
  });
  EXPECT_EQ(TransformNet::load(path).options(),
            (TransformNetOptions{.width = 8, .residual_blocks = 1, .padding = Padding::Mode::zero}));
}

TEST_F(TransformNetWeights, LoadingDoesNotDrawRandomNumbers) {
  random_net({.width = 8}).save(file());
  seed(1);
  const uint64_t without = next_rng().below(1u << 30);
  seed(1);
  const TransformNet loaded = TransformNet::load(file());
  EXPECT_EQ(next_rng().below(1u << 30), without);
}

TEST_F(TransformNetWeights, ErrorsNameFileTensorAndShapes) {
  const auto rejects = [&](const std::function<void(SafetensorsContent&)>& change, const std::string& words) {
    const auto path = changed(change);
    EXPECT_TRUE(throws_error([&] { (void)TransformNet::load(path); }, "'" + path.string() + "'"));
    EXPECT_TRUE(throws_error([&] { (void)TransformNet::load(path); }, words));
  };
  rejects([](SafetensorsContent& c) { c.tensors.erase(c.tensors.begin()); },
          "no tensor 'conv1.conv2d.weight': it is not a transform net");
  rejects([](SafetensorsContent& c) { std::erase_if(c.tensors, [](auto& t) { return t.first == "in2.bias"; }); },
          "no tensor 'in2.bias', expected one of shape [16]");
  rejects(
      [](SafetensorsContent& c) {
        tensor(c, "conv2.conv2d.weight") = Tensor::zeros({16, 9, 3, 3});
      },
      "tensor 'conv2.conv2d.weight' has shape [16,9,3,3], expected [16,8,3,3]");
  rejects(
      [](SafetensorsContent& c) {
        tensor(c, "conv1.conv2d.weight") = Tensor::zeros({8, 3, 81});
      },
      "tensor 'conv1.conv2d.weight' has shape [8,3,81], expected 4 dimensions");
  rejects([](SafetensorsContent& c) { tensor(c, "in5.weight") = Tensor::zeros({8}, Dtype::i32); },
          "tensor 'in5.weight' holds i32, expected f32, f16 or bf16");
  rejects([](SafetensorsContent& c) { tensor(c, "in5.weight").fill(std::numeric_limits<float>::quiet_NaN()); },
          "tensor 'in5.weight' has a value that is not finite");
  rejects([](SafetensorsContent& c) { c.tensors.emplace_back("res3.in1.bias", Tensor::zeros({32})); },
          R"(tensor "res3.in1.bias" [32] does not belong to this net (1 residual blocks, 1 styles))");
  rejects([](SafetensorsContent& c) { c.metadata["residual_blocks"] = "2"; },
          "no tensor 'res2.conv1.conv2d.weight', expected one of shape [32,32,3,3]");
  rejects([](SafetensorsContent& c) { c.metadata["width"] = "4"; }, "width is 4, it must be 8 to 64");
  rejects([](SafetensorsContent& c) { c.metadata["width"] = "many"; },
          R"(metadata: width "many" is not a whole number)");
  rejects([](SafetensorsContent& c) { c.metadata["upsample"] = "cubic"; },
          R"(metadata: upsample "cubic" does not exist; there are: nearest, fractional)");
  rejects(
      [](SafetensorsContent& c) {
        c.metadata = {{"format", "minidl-transform-net"}, {"format_version", "2"}};
      },
      R"(format version "2" is newer than this program)");
}

TEST_F(TransformNetWeights, WhatCannotBeStoredIsNotWritten) {
  const TransformNet net = random_net({.width = 8, .residual_blocks = 1});
  EXPECT_TRUE(throws_error([&] { net.save(file(), {}, Dtype::i8); }, "cannot store i8, only f32 or f16"));
  EXPECT_TRUE(throws_error([&] { net.save(file(), {{"width", "8"}}); }, R"(metadata "width" is written by the net)"));
  SafetensorsContent content = net.state();
  tensor(content, "in1.weight").fill(1e5f);
  TransformNet large = random_net(net.options());
  large.load_state(content);
  EXPECT_TRUE(throws_error([&] { large.save(file(), {}, Dtype::f16); }, "in1.weight has a value that f16 cannot hold"));
  EXPECT_FALSE(std::filesystem::exists(file()));
}

TEST(TransformNetOptionsAsText, BothWays) {
  for (const TransformNetOptions& options : all_kinds()) {
    TransformNetOptions parsed;
    for (const auto& [name, value] : to_text(options)) set_option(parsed, name, value);
    EXPECT_EQ(parsed, options);
  }
  TransformNetOptions options;
  EXPECT_TRUE(
      throws_error([&] { set_option(options, "wdth", "8"); }, R"(no option "wdth"; there are: norm, output_range)"));
  EXPECT_TRUE(throws_error([&] { set_option(options, "width", "8x"); }, R"(width "8x" is not a whole number)"));
}

}  // namespace
}  // namespace minidl::layers
