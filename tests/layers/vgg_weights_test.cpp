#include <minidl/core/safetensors.h>
#include <minidl/layers/vgg_weights.h>
#include <support/matconvnet_bytes.h>
#include <support/temporary_folder.h>
#include <support/test_data.h>

namespace minidl::layers {
namespace {

using Kind = LayerDescription::Kind;

class VggWeights : public ::testing::Test {
 protected:
  ::testing::AssertionResult rejects(const std::filesystem::path& path, const std::string& words) {
    return test::throws_error([&] { read_network(path); }, words);
  }
  ::testing::AssertionResult rejects_bytes(const std::string& bytes, const std::string& words) {
    return rejects(test::write_bytes(folder_ / "file", bytes), words);
  }
  std::filesystem::path save(const SafetensorsContent& content) {
    write_safetensors(folder_ / "network.safetensors", content);
    return folder_ / "network.safetensors";
  }

  test::TemporaryFolder folder_;
};

/// VGG with two channels everywhere, as a safetensors file with other names holds it.
NetworkDescription thin_vgg(int depth, bool classifier) {
  NetworkDescription network = vgg_description(depth, classifier);
  int64_t channels = 3;
  for (LayerDescription& layer : network.layers) {
    if (layer.kind != Kind::conv) continue;
    layer.in_c = channels;
    layer.out_c = channels = layer.name == "fc8" ? 5 : 2;
  }
  fill_random_weights(network, 3);
  return network;
}

TEST_F(VggWeights, BothFormatsRoundTripBitForBit) {
  const NetworkDescription network = test::small_network();
  for (const char* name : {"network.mat", "network.safetensors", "NETWORK.MAT"}) {
    write_network(folder_ / name, network);
    EXPECT_TRUE(test::same_network(read_network(folder_ / name), network)) << name;
  }
  // Told apart by content, not by name.
  std::filesystem::rename(folder_ / "network.mat", folder_ / "other.safetensors");
  EXPECT_TRUE(test::same_network(read_network(folder_ / "other.safetensors"), network));
  // The same bytes every time.
  write_network(folder_ / "second.mat", network);
  EXPECT_EQ(test::read_bytes(folder_ / "second.mat"), test::read_bytes(folder_ / "NETWORK.MAT"));
}

TEST_F(VggWeights, KeepsEveryBitOfUnusualNumbersAndNames) {
  NetworkDescription network = test::small_network();
  const float unusual[] = {-0.0f, 1e-45f, 3.4028235e38f, 1.0f / 3.0f};
  std::copy(std::begin(unusual), std::end(unusual), network.layers[0].weight.data<float>());
  network.class_names = {"", "caf\xC3\xA9", "\xE6\x97\xA5\xE6\x9C\xAC", "\xF0\x9F\x90\x88", "with \"quotes\" \\"};
  for (const char* name : {"network.mat", "network.safetensors"}) {
    write_network(folder_ / name, network);
    EXPECT_TRUE(test::same_network(read_network(folder_ / name), network)) << name;
  }
}

TEST_F(VggWeights, SafetensorsLoadsUpToTheDeepestLayerAskedFor) {
  NetworkDescription network = test::small_network();
  write_network(folder_ / "network.safetensors", network);
  network.layers[5].weight = network.layers[5].bias = {};
  EXPECT_TRUE(test::same_network(read_network(folder_ / "network.safetensors", {"relu2_1"}), network));
}

TEST_F(VggWeights, RefusesToWriteWhatCannotBeReadBack) {
  NetworkDescription network = test::small_network();
  const auto write = [&](const char* name) { return [&, name] { write_network(folder_ / name, network); }; };
  EXPECT_TRUE(test::throws_error(write("network.pth"), "extension is '.pth', expected .mat or .safetensors"));
  EXPECT_TRUE(test::throws_error(write("missing/network.mat"), "missing"));
  network.layers[3].window.padding.mode = Padding::Mode::reflect;
  EXPECT_TRUE(test::throws_error(write("network.mat"), "network files know zeros only"));
  network = test::small_network();
  network.layers[3].weight = {};
  EXPECT_TRUE(test::throws_error(write("network.mat"), "weights of layer 'conv2_1' were not loaded"));
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(VggWeights, RecognisesTorchvisionsFiles) {
  for (const int depth : {16, 19}) {
    // The whole file with its published sizes; all zeros, which take no room on the disk.
    const NetworkDescription network = vgg_description(depth, true);
    std::string header;
    int64_t position = 0;
    const auto add = [&](const std::string& name, const std::string& shape, int64_t count) {
      header += (header.empty() ? "{\"" : ",\"") + name + R"(":{"dtype":"F32","shape":)" + shape +
                ",\"data_offsets\":[" + std::to_string(position) + "," + std::to_string(position + 4 * count) + "]}";
      position += 4 * count;
    };
    for (size_t i = 0; i < network.layers.size(); ++i) {
      const LayerDescription& layer = network.layers[i];
      if (layer.kind != Kind::conv) continue;
      const int64_t inputs = layer.in_c * layer.k_h * layer.k_w;
      const bool is_matrix = layer.name.starts_with("fc");
      const std::string prefix = !is_matrix            ? "features." + std::to_string(i)
                                 : layer.name == "fc6" ? "classifier.0"
                                 : layer.name == "fc7" ? "classifier.3"
                                                       : "classifier.6";
      const Shape shape = is_matrix ? Shape{layer.out_c, inputs} : Shape{layer.out_c, layer.in_c, layer.k_h, layer.k_w};
      add(prefix + ".weight", shape.str(), shape.count());
      add(prefix + ".bias", Shape{layer.out_c}.str(), layer.out_c);
    }
    header += "}";
    const auto path =
        test::write_bytes(folder_ / "vgg.safetensors", test::mat::bytes_of<uint64_t>({header.size()}) + header);
    std::filesystem::resize_file(path, 8 + header.size() + static_cast<uint64_t>(position));
    const NetworkDescription read = read_network(path, {"relu2_2"});
    ASSERT_EQ(read.layers.size(), network.layers.size());
    for (size_t i = 0; i < network.layers.size(); ++i) EXPECT_EQ(read.layers[i].name, network.layers[i].name);
    EXPECT_TRUE(read.layers[7].weight);
    EXPECT_FALSE(read.layers[10].weight);
  }
}

TEST_F(VggWeights, FoldsTorchvisionsInputIntoTheFirstLayer) {
  NetworkDescription network = vgg_description(19, false);
  network.layers.resize(2);
  fill_random_weights(network, 5);
  const Tensor original = network.layers[0].weight;
  const SafetensorsContent content{
      {{"features.0.weight", to_channels_first(original)}, {"features.0.bias", network.layers[0].bias}}, {}};
  const NetworkDescription read = read_network(save(content));
  ASSERT_EQ(read.layers.size(), 2u);
  EXPECT_EQ(read.layers[1].name, "relu1_1");
  const double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
  for (int c = 0; c < 3; ++c) EXPECT_EQ(read.mean[c], static_cast<float>(255.0 * mean[c]));
  const auto folded = read.layers[0].weight.span<float>(), before = std::as_const(original).span<float>();
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(folded[i], static_cast<float>(before[i] / (255.0 * deviation[i % 3])));
    if (HasFailure()) break;
  }
  // The function of the pixels is the one that torchvision defines.
  double ours = 0.0, theirs = 0.0;
  const Tensor patch = test::random_uniform({3, 3, 3}, 9, 0.0f, 255.0f);
  for (size_t i = 0; i < 27; ++i) {
    const double pixel = std::as_const(patch).data<float>()[i];
    ours += folded[i] * (pixel - read.mean[i % 3]);
    theirs += before[i] * (pixel / 255.0 - mean[i % 3]) / deviation[i % 3];
  }
  EXPECT_NEAR(ours, theirs, 1e-5 * (1.0 + std::abs(theirs)));

  // Metadata decides where it says something.
  SafetensorsContent plain = content;
  plain.metadata = {{"input_range", "rgb255_minus_mean"}, {"mean", "[1.5, 2.5, 3.5]"}};
  EXPECT_TRUE(test::same_bytes(read_network(save(plain)).layers[0].weight, original));
  EXPECT_EQ(read_network(save(plain)).mean, (std::array<float, 3>{1.5f, 2.5f, 3.5f}));
  EXPECT_EQ(read_network(save(plain)).input_unit, 1.0f);
  EXPECT_EQ(read.input_unit, kTorchvisionInputUnit);
  write_network(folder_ / "again.safetensors", read);
  EXPECT_EQ(read_network(folder_ / "again.safetensors").input_unit, kTorchvisionInputUnit);
  plain.metadata = {{"input_unit", "-2"}};
  EXPECT_TRUE(rejects(save(plain), "input_unit is no positive number: \"-2\""));
  plain.metadata = {{"input_range", "bgr"}};
  EXPECT_TRUE(rejects(save(plain), "input_range is \"bgr\", expected 'rgb255_minus_mean' or 'torchvision'"));
}

TEST_F(VggWeights, ReadsLayerNamesHalfPrecisionAndMatrices) {
  NetworkDescription network = vgg_description(16, false);
  network.layers.resize(network.index_of("pool2") + 1);
  fill_random_weights(network, 6);
  SafetensorsContent content;
  for (LayerDescription& layer : network.layers) {
    if (layer.kind != Kind::conv) continue;
    Tensor weight = to_channels_first(layer.weight).to(Dtype::f16);
    layer.weight = to_channels_last(weight.to(Dtype::f32));
    content.tensors.emplace_back(layer.name + ".weight", weight.reshape({layer.out_c, weight.count() / layer.out_c}));
    content.tensors.emplace_back(layer.name + ".bias", layer.bias);
  }
  EXPECT_TRUE(test::same_network(read_network(save(content)), network));
}

TEST_F(VggWeights, ClassifierMatricesAreInChannelOrder) {
  // fc6 sees pool5 as channel, row, column: weight[k][(c * 7 + h) * 7 + w]. A list of layers makes small channels
  // possible.
  NetworkDescription network = thin_vgg(16, true);
  write_network(folder_ / "network.safetensors", network);
  const SafetensorsReader reader(folder_ / "network.safetensors");
  SafetensorsContent content{{}, reader.metadata()};
  for (const auto& [name, info] : reader.tensors()) {
    Tensor values = reader.read(name);
    if (name == "fc6.weight") {
      const float* matrix = std::as_const(values).data<float>();
      const float* filter = std::as_const(network.layers[network.index_of("fc6")].weight).data<float>();
      EXPECT_EQ(matrix[(1 * 7 + 2) * 7 + 3], filter[(2 * 7 + 3) * 2 + 1]);
      values = values.reshape({2, 2 * 7 * 7});
    }
    content.tensors.emplace_back(name, values);
  }
  EXPECT_TRUE(test::same_network(read_network(save(content)), network));
}

TEST_F(VggWeights, SaysWhatIsWrongWithASafetensorsFile) {
  const Tensor weight = Tensor::zeros({64, 3, 3, 3}), bias = Tensor::zeros({64});
  const auto file = [&](std::vector<std::pair<std::string, Tensor>> tensors,
                        std::map<std::string, std::string> metadata = {}) {
    return save({std::move(tensors), std::move(metadata)});
  };
  EXPECT_TRUE(rejects(file({}), "it has: nothing"));
  EXPECT_TRUE(rejects(file({{"a", bias}, {"b", bias}}), R"(it has: "a", "b")"));
  EXPECT_TRUE(rejects(file({{"conv1_1.weight", weight}}), "has no tensor 'conv1_1.bias'"));
  EXPECT_TRUE(rejects(file({{"conv1_1.weight", weight}, {"conv1_1.bias", Tensor::zeros({63})}}),
                      "'conv1_1.bias' has shape [63], expected [64]"));
  EXPECT_TRUE(rejects(file({{"conv1_1.weight", weight}, {"conv1_1.bias", Tensor::zeros({64}, Dtype::i8)}}),
                      "tensor 'conv1_1.bias' is i8, expected f32, f16 or bf16"));
  EXPECT_TRUE(rejects(file({{"conv1_1.weight", Tensor::zeros({64, 3, 3, 3}, Dtype::i8)}, {"conv1_1.bias", bias}}),
                      "has no tensor 'conv1_1.weight_scale'"));
  EXPECT_TRUE(rejects(file({{"conv1_1.weight", Tensor::full({64, 3, 3, 3}, NAN)}, {"conv1_1.bias", bias}}),
                      "tensor 'conv1_1.weight' has a value that is not finite"));
  // A gap, and batch normalisation.
  EXPECT_TRUE(
      rejects(file({{"conv1_2.weight", weight}, {"conv1_2.bias", bias}}), "nor the tensors of VGG-16 or VGG-19"));
  EXPECT_TRUE(rejects(file({{"features.0.weight", weight}, {"features.1.weight", bias}}), "nor the tensors of VGG"));

  const struct {
    const char *key, *value, *words;
  } metadata[] = {
      {"layers", "{", "layers is no list in JSON"},
      {"layers", "{}", "layers is no list in JSON"},
      {"layers", "[1]", "an element that is no object"},
      {"layers", "[{}]", "no text 'name'"},
      {"layers", R"([{"name": "x", "kind": "lrn"}])", R"(layer kind "lrn" does not exist)"},
      {"layers", R"([{"name": "x", "kind": "pool"}])", "no list 'kernel' of 2 numbers"},
      {"layers", R"([{"name": "x", "kind": "pool", "kernel": [1, "2"]}])", "no whole number from 0"},
      {"layers", R"([{"name": "x", "kind": "pool", "kernel": [1, 18446744073709551615]}])", "no whole number from 0"},
      {"layers", R"([{"name": "x", "kind": "pool", "kernel": [0, 1], "stride": [1, 1], "pad": [0, 0, 0, 0],
                      "method": "max"}])",
       "window of 0 x 1"},
      {"layers", R"([{"name": "x", "kind": "pool", "kernel": [2, 2], "stride": [2, 2], "pad": [0, 0, 0, 0],
                      "method": "lp"}])",
       R"(pooling method "lp")"},
      {"layers", R"([{"name": "x", "kind": "conv", "kernel": [1, 1], "stride": [1, 1], "pad": [0, 0, 0, 0],
                      "channels": [3, 1000000]}])",
       "no tensor 'x.weight'"},
      {"layers", R"([{"name": "\u0007", "kind": "relu"}])", "has a layer called"},
      {"mean", "[1, 2]", "mean is not three numbers"},
      {"mean", "[1, 2, 1e300]", "mean is not three numbers"},
      {"class_names", "[1]", "class_names is not a list of texts"},
  };
  for (const auto& [key, value, words] : metadata) {
    EXPECT_TRUE(rejects(file({{"conv1_1.weight", weight}, {"conv1_1.bias", bias}}, {{key, value}}), words)) << value;
  }
  EXPECT_TRUE(rejects(file({}, {{"format", "minidl-network"}, {"format_version", "2"}}), "is newer than this program"));
}

TEST_F(VggWeights, SaysWhatAForeignFileIs) {
  using namespace std::literals;
  EXPECT_TRUE(rejects(folder_ / "missing.mat", "missing.mat"));
  EXPECT_TRUE(rejects(folder_.path(), "directory"));
  EXPECT_TRUE(rejects_bytes("", "is empty"));
  EXPECT_TRUE(rejects_bytes("x", "neither a MatConvNet .mat nor a .safetensors file; it begins with \"x\""));
  EXPECT_TRUE(rejects_bytes(std::string(300, '\1'), "neither a MatConvNet"));
  EXPECT_TRUE(rejects_bytes("\n <!DOCTYPE html><html>", "is a web page"));
  EXPECT_TRUE(rejects_bytes("PK\x03\x04 archive/data.pkl", "PyTorch (.pth) or zip file"));
  EXPECT_TRUE(rejects_bytes("\x80\x02\x8a\x0a", "PyTorch (.pth)"));
  EXPECT_TRUE(rejects_bytes("\x1f\x8b\x08", "packed with gzip"));
  EXPECT_TRUE(rejects_bytes("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"));
  EXPECT_TRUE(rejects_bytes("\x89PNG\r\n", "is a picture"));
  EXPECT_TRUE(rejects_bytes("\x89HDF\r\n\x1a\n", "MATLAB 7.3 (HDF5) file; save it again in MATLAB"));
  std::string newer = "MATLAB 7.3 MAT-file, Platform: GLNXA64";
  newer.resize(124, ' ');
  EXPECT_TRUE(rejects_bytes(newer + "\x00\x02IM"s, "MATLAB 7.3 (HDF5) file"));
  std::string big_endian = test::mat::header();
  big_endian.replace(124, 4, "\x01\x00MI"s);
  EXPECT_TRUE(rejects_bytes(big_endian, "big-endian"));
  EXPECT_TRUE(rejects_bytes(std::string("\xff\xff\xff\xff\0\0\0\0{\"", 10), "safetensors"));
}

TEST_F(VggWeights, SaysWhereTheKnownFileStands) {
  const std::string good = test::matconvnet_bytes(test::small_network(), {});
  const std::string cut = good.substr(0, good.size() - 9);
  for (const char* name : {"imagenet-vgg-verydeep-19.mat", "imagenet-vgg-verydeep-19 (1).mat"}) {
    const auto path = test::write_bytes(folder_ / name, cut);
    EXPECT_TRUE(rejects(path, "is cut off"));
    EXPECT_TRUE(rejects(path,
                        "has 534904783 bytes and SHA-256 "
                        "abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695, this file has " +
                            std::to_string(cut.size()) + " and "));
    EXPECT_TRUE(rejects(path, "www.vlfeat.org/matconvnet/pretrained"));
  }
  const auto other = test::write_bytes(folder_ / "my.mat", cut);
  EXPECT_FALSE(rejects(other, "534904783"));
  EXPECT_TRUE(rejects(other, "is cut off"));
  // A smaller network under that name is as good as any.
  EXPECT_NO_THROW(read_network(test::write_bytes(folder_ / "imagenet-vgg-verydeep-19.mat", good)));
}

TEST_F(VggWeights, RealFileSurvivesBothConversions) {
  const auto path = test::test_data(test::kVggFile);
  if (path.empty()) GTEST_SKIP() << test::kNoTestData;
  NetworkDescription network = read_network(path);
  network.layers.resize(network.index_of("relu3_1") + 1);
  for (const char* name : {"network.mat", "network.safetensors"}) {
    write_network(folder_ / name, network);
    EXPECT_TRUE(test::same_network(read_network(folder_ / name), network)) << name;
  }
}

}  // namespace
}  // namespace minidl::layers
