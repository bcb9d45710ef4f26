#include <fmt/format.h>
#include <minidl/core/file.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/vgg_weights.h>
#include <minidl/version.h>
#include <support/matconvnet_bytes.h>
#include <support/run_command.h>
#include <support/small_transform_net.h>
#include <support/temporary_folder.h>
#include <support/test_data.h>

#include <nlohmann/json.hpp>

namespace minidl {
namespace {

using nlohmann::json;
using test::run_command;

class NstConvert : public ::testing::Test {
 protected:
  NstConvert() {
    test::write_bytes(folder_ / "net.mat", test::matconvnet_bytes(network_, {.fields = 'b', .compress = false}));
  }

  /// In the folder, where net.mat is the small network.
  test::CommandResult run(const std::string& arguments) {
    return run_command(fmt::format("cd '{}' && nst_convert {}", folder_.path().string(), arguments));
  }
  json report() { return json::parse(test::read_bytes(folder_ / "report.json")); }

  test::TemporaryFolder folder_;
  const layers::NetworkDescription network_ = test::small_network();
};

TEST_F(NstConvert, ConvertsBothWays) {
  const auto there = run("net.mat there.safetensors");
  ASSERT_EQ(there.code, 0) << there.output;
  EXPECT_NE(there.output.find("wrote there.safetensors: "), std::string::npos) << there.output;
  EXPECT_NE(there.output.find(sha256_of_file(folder_ / "there.safetensors")), std::string::npos) << there.output;
  ASSERT_EQ(run("there.safetensors back.mat").code, 0);
  EXPECT_TRUE(test::same_network(layers::read_network(folder_ / "there.safetensors"), network_));
  EXPECT_TRUE(test::same_network(layers::read_network(folder_ / "back.mat"), network_));
}

TEST_F(NstConvert, ListsLayersAndHashes) {
  const auto result = run("net.mat --list");
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.output.find("read net.mat: "), std::string::npos);
  EXPECT_NE(result.output.find(sha256_of_file(folder_ / "net.mat")), std::string::npos);
  EXPECT_NE(result.output.find("\nconv2_1  conv          2x3     2x1     0 1 2 1       4      1          25  "),
            std::string::npos)
      << result.output;
  EXPECT_NE(result.output.find("\npool1    pool average  2x2     2x2     0 0 0 0\n"), std::string::npos);
  EXPECT_NE(result.output.find("8 layers, 147 parameters, 5 class names, mean colour 120.5 110.25 100.125\n"),
            std::string::npos)
      << result.output;
  EXPECT_EQ(folder_.entries(), 1);

  // --verbose prints whole hashes and times.
  const layers::LayerDescription& layer = network_.layers[3];
  const Tensor filters = to_channels_first(layer.weight);
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::as_const(filters).span<float>()),
                                               std::as_bytes(std::as_const(layer.bias).span<float>())};
  const std::string hash = sha256_of_bytes(pieces);
  EXPECT_NE(result.output.find(hash.substr(0, 16)), std::string::npos);
  EXPECT_EQ(result.output.find(hash), std::string::npos);
  const auto verbose = run("net.mat --list --verbose");
  EXPECT_NE(verbose.output.find(hash), std::string::npos);
  EXPECT_NE(verbose.output.find("s in all"), std::string::npos);
}

TEST_F(NstConvert, ReportsInJson) {
  const auto result = run("net.mat out.safetensors --quiet --json report.json");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.output, "");
  const json content = report();
  EXPECT_EQ(content["program"], "nst_convert");
  EXPECT_EQ(content["version"], MINIDL_VERSION);
  EXPECT_EQ(content["input"]["sha256"], sha256_of_file(folder_ / "net.mat"));
  EXPECT_EQ(content["output"]["sha256"], sha256_of_file(folder_ / "out.safetensors"));
  EXPECT_EQ(content["output"]["bytes"], std::filesystem::file_size(folder_ / "out.safetensors"));
  EXPECT_EQ(content["mean"], (json{120.5, 110.25, 100.125}));
  EXPECT_EQ(content["class_names"], 5);
  ASSERT_EQ(content["layers"].size(), network_.layers.size());
  const json& conv = content["layers"][3];
  EXPECT_EQ(conv["name"], "conv2_1");
  EXPECT_EQ(conv["parameters"], 25);
  EXPECT_EQ(conv["sha256"].get<std::string>().size(), 64u);
  const auto filters = to_channels_first(network_.layers[3].weight);
  EXPECT_EQ(conv["first_values"][1], std::as_const(filters).data<float>()[1]);

  EXPECT_EQ(run("net.mat --list --json report.json").code, 0);
  EXPECT_FALSE(report().contains("output"));
}

/// Names, types, shapes and bytes.
std::map<std::string, std::string> contents(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  std::map<std::string, std::string> tensors;
  for (const auto& [name, info] : reader.tensors()) {
    const Tensor tensor = reader.read(name);
    tensors[name] = to_string(info.dtype) + info.shape.str() +
                    std::string(static_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.bytes()));
  }
  return tensors;
}

TEST_F(NstConvert, WritesTransformNetsBack) {
  test::small_transform_net({.upsample = layers::UpsampleKind::fractional, .styles = 2})
      .save(folder_ / "net.safetensors", {{"style", "wave.jpg"}});
  ASSERT_EQ(run("net.safetensors back.safetensors").code, 0);
  EXPECT_TRUE(contents(folder_ / "back.safetensors") == contents(folder_ / "net.safetensors"));
  EXPECT_EQ(SafetensorsReader(folder_ / "back.safetensors").metadata(),
            SafetensorsReader(folder_ / "net.safetensors").metadata());
  ASSERT_EQ(run("net.safetensors half.safetensors --storage f16 --quiet").code, 0);
  const SafetensorsReader half(folder_ / "half.safetensors");
  EXPECT_EQ(half.info("conv1.conv2d.weight").dtype, Dtype::f16);
  EXPECT_EQ(half.metadata().at("style"), "wave.jpg");
  EXPECT_LT(std::filesystem::file_size(folder_ / "half.safetensors"),
            std::filesystem::file_size(folder_ / "net.safetensors") * 2 / 3);

  const auto mat = run("net.safetensors net2.mat");
  EXPECT_EQ(mat.code, 1);
  EXPECT_NE(mat.output.find("is a transform net, which .mat files do not hold"), std::string::npos) << mat.output;
  const auto vgg = run("net.mat out.safetensors --storage f16");
  EXPECT_EQ(vgg.code, 1);
  EXPECT_NE(vgg.output.find("--storage is for transform nets"), std::string::npos) << vgg.output;
}

TEST_F(NstConvert, ListsTransformNets) {
  test::small_transform_net({.styles = 2}).save(folder_ / "net.safetensors", {{"style", "wave.jpg"}});
  const auto result = run("net.safetensors --list --json report.json");
  EXPECT_EQ(result.code, 0);
  for (const char* words :
       {"transform net, norm instance, ", "width 8", "\nconv1.conv2d.weight           [8,3,9,9]  ",
        "\nin1.weight                    [2,8]  ", "\nmetadata style: wave.jpg\n", " parameters\n"}) {
    EXPECT_NE(result.output.find(words), std::string::npos) << words << "\n" << result.output;
  }
  const json content = report();
  EXPECT_EQ(content["options"]["styles"], "2");
  EXPECT_EQ(content["metadata"]["style"], "wave.jpg");
  EXPECT_EQ(content["tensors"][0]["name"], "conv1.conv2d.weight");
  EXPECT_EQ(content["tensors"][0]["shape"], (json{8, 3, 9, 9}));
  EXPECT_EQ(content["tensors"][0]["sha256"].get<std::string>().size(), 64u);
}

TEST_F(NstConvert, WritesPytorchsNetBack) {
  const auto path = test::test_data("reference/mosaic_nc16.safetensors");
  if (path.empty()) GTEST_SKIP() << test::kNoTestData;
  ASSERT_EQ(run(fmt::format("'{}' back.safetensors", path.string())).code, 0);
  EXPECT_TRUE(contents(folder_ / "back.safetensors") == contents(path));
}

TEST_F(NstConvert, HelpAndVersion) {
  EXPECT_NE(run("--help").output.find("Usage: nst_convert IN [OUT] [flags]"), std::string::npos);
  EXPECT_EQ(run("--help").code, 0);
  EXPECT_EQ(run("--version").output, std::string("nst_convert ") + MINIDL_VERSION + "\n");
}

TEST_F(NstConvert, BadInputGivesOneLineAndLeavesEverything) {
  test::write_bytes(folder_ / "kept.mat", "precious");
  test::write_bytes(folder_ / "page.mat", "<html>not found</html>");
  test::write_bytes(folder_ / "empty.mat", "");
  const std::string good = test::read_bytes(folder_ / "net.mat");
  test::write_bytes(folder_ / "cut.mat", good.substr(0, good.size() / 2));
  std::filesystem::create_directory(folder_ / "folder.mat");
  std::filesystem::create_symlink("net.mat", folder_ / "link.mat");
  const int entries = folder_.entries();
  const struct {
    const char* arguments;
    int code;
    const char* words;
  } cases[] = {
      {"", 2, "IN is missing"},
      {"net.mat", 2, "OUT is missing (or --list"},
      {"net.mat out.mat more", 2, "more"},
      {"net.mat out.pth", 2, "must be .mat or .safetensors"},
      {"net.mat out", 2, "must be .mat or .safetensors"},
      {"net.mat --lst", 2, "did you mean --list?"},
      {"net.mat out.mat --json", 2, "--json needs a value"},
      {"net.mat net.mat", 1, "would overwrite IN itself"},
      {"net.mat ./folder.mat/../net.mat", 1, "would overwrite IN itself"},
      {"net.mat link.mat", 1, "would overwrite IN itself"},
      {"net.mat --list --json net.mat", 1, "would overwrite IN or OUT"},
      {"net.mat out.mat --json out.mat", 1, "would overwrite IN or OUT"},
      {"missing.mat kept.mat", 1, "missing.mat"},
      {"folder.mat kept.mat", 1, "directory"},
      {"page.mat kept.mat", 1, "web page"},
      {"empty.mat kept.mat", 1, "is empty"},
      {"cut.mat kept.mat", 1, "cut off"},
      {"net.mat folder.mat", 1, "directory"},
      {"net.mat nowhere/out.mat", 1, "nowhere"},
      {"net.mat out.mat --json nowhere/report.json", 1, "nowhere"},
      {"net.mat /dev/full.mat/out.mat", 1, "/dev/full.mat"},
  };
  for (const auto& [arguments, code, words] : cases) {
    const auto result = run(arguments);
    EXPECT_EQ(result.code, code) << arguments;
    EXPECT_TRUE(result.output.starts_with("error: ")) << arguments << ": " << result.output;
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1) << arguments << ": " << result.output;
    EXPECT_NE(result.output.find(words), std::string::npos) << arguments << ": " << result.output;
  }
  // A limit on the size of files stands for a full disk.
  for (const char* output : {"kept.mat", "new.safetensors"}) {
    const auto result = run_command(fmt::format(
        "cd '{}' && trap '' XFSZ && ulimit -f 1 && nst_convert net.mat {} --quiet", folder_.path().string(), output));
    EXPECT_EQ(result.code, 1) << output;
    EXPECT_TRUE(result.output.starts_with("error: ")) << result.output;
    EXPECT_NE(result.output.find(output), std::string::npos) << result.output;
  }
  EXPECT_EQ(test::read_bytes(folder_ / "kept.mat"), "precious");
  EXPECT_EQ(test::read_bytes(folder_ / "net.mat"), good);
  EXPECT_EQ(folder_.entries(), entries);
}

TEST_F(NstConvert, ListsTheRealFile) {
  const auto path = test::test_data(test::kVggFile);
  if (path.empty()) GTEST_SKIP() << test::kNoTestData;
  const auto result = run(fmt::format("'{}' --list", path.string()));
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.output.find("\nconv1_1  conv          3x3     1x1     1 1 1 1       3     64        1792  "),
            std::string::npos);
  EXPECT_NE(result.output.find("  0.39416704 0.37740308 -0.045948658\n"), std::string::npos);
  EXPECT_NE(result.output.find("37 layers, 20024384 parameters"), std::string::npos);
}

}  // namespace
}  // namespace minidl
