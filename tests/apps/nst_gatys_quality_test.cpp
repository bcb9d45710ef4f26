// nst_gatys with a small network in VGG's place: the three qualities, what they say they used, and resumption in either
// half of a run that uses both.
#include <minidl/apps/common/report.h>
#include <minidl/layers/student.h>
#include <support/compare.h>
#include <support/nst_gatys.h>
#include <support/random_tensors.h>

namespace minidl::test {
namespace {

using Words = std::vector<std::string>;

/// Stands for tiny_network(), about which it knows nothing.
layers::NetworkDescription small_student(uint64_t seed) {
  layers::NetworkDescription network =
      layers::student_description({.widths = {3, 3, 3, 3, 3}, .convolutions = {1, 1, 1, 2, 1}});
  layers::fill_random_weights(network, seed);
  for (const char* tap : {"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"}) {
    layers::LayerDescription& layer = network.layers[network.index_of(tap)];
    layer.imitated_c = 4;
    layer.projection = layers::projection_of(random_uniform({4, 1, 1, 3}, ++seed), 1.0);
  }
  return network;
}

class NstGatysQuality : public ::testing::Test {
 protected:
  void SetUp() override {
    layers::write_network(folder_.path("student.safetensors"), small_student(3));
    layers::write_network(folder_.path("other.safetensors"), small_student(30));
  }
  Tensor picture(const std::string& quality, Words more = {}) const {
    more.insert(more.begin(), {"--quality", quality, "--student", "{student.safetensors}"});
    return folder_.picture(more);
  }
  ProcessResult run_without_weights(const Words& flags) const {
    Words command = folder_.command(flags);
    const auto weights = std::find(command.begin(), command.end(), "--weights");
    command.erase(weights, weights + 2);
    return run_process(command);
  }
  apps::Json report() const { return apps::Json::parse(folder_.bytes("report.json")); }

  GatysFolder folder_;
};

TEST_F(NstGatysQuality, EachUsesItsNetworks) {
  const Tensor draft = picture("draft"), normal = picture("normal"), best = picture("best");
  EXPECT_TRUE(same_bytes(draft, folder_.picture({"--weights", "{student.safetensors}"})));
  EXPECT_TRUE(same_bytes(best, folder_.picture({})));
  EXPECT_FALSE(same_bytes(draft, best));
  EXPECT_FALSE(same_bytes(normal, draft));
  EXPECT_FALSE(same_bytes(normal, best));
  EXPECT_FALSE(same_bytes(picture("draft", {"--student", "{other.safetensors}"}), draft));
}

TEST_F(NstGatysQuality, SaysWhatItUsed) {
  const Words student{"--student", "{student.safetensors}", "-o", "{out.png}", "--json", "{report.json}"};
  Words normal = student;
  normal.insert(normal.end(), {"--quality", "normal"});
  const ProcessResult both = folder_.run(normal);
  EXPECT_EQ(both.code, 0) << both.errors;
  EXPECT_NE(both.errors.find("student.safetensors; --weights takes the original VGG"), std::string::npos);
  EXPECT_EQ(report()["network"], folder_.path("weights.safetensors"));
  const ProcessResult alone = run_without_weights(student);
  EXPECT_EQ(alone.code, 0) << alone.errors;
  EXPECT_EQ(report()["network"], folder_.path("student.safetensors"));
  EXPECT_TRUE(same_bytes(load_image(folder_.path("out.png")), picture("draft")));
}

TEST_F(NstGatysQuality, ResumesInEitherHalf) {
  const Tensor whole = picture("normal", {"--iterations", "4"});
  // With every third iteration saved, what is left behind is the third one with VGG.
  picture("normal", {"--iterations", "4", "--save-every", "3"});
  EXPECT_TRUE(same_bytes(picture("normal", {"--iterations", "4", "--resume", "{picture.state.safetensors}"}), whole));
  picture("draft", {"--iterations", "4", "--save-every", "3"});
  EXPECT_TRUE(same_bytes(picture("normal", {"--iterations", "4", "--resume", "{picture.state.safetensors}"}), whole));
}

TEST_F(NstGatysQuality, OriginalColorsComeLast) {
  const Tensor colours = picture("normal", {"--original-colors"});
  EXPECT_FALSE(same_bytes(colours, picture("normal")));
  EXPECT_EQ(colours.shape(), picture("draft", {"--original-colors"}).shape());
}

TEST_F(NstGatysQuality, RefusesWhatIsNotThere) {
  const ProcessResult best = run_without_weights({"--quality", "best", "-o", "{out.png}"});
  EXPECT_EQ(best.code, 2);
  EXPECT_NE(best.errors.find("--weights is missing"), std::string::npos) << best.errors;
  const ProcessResult no_student =
      folder_.run({"--quality", "draft", "--student", "{weights.safetensors}", "-o", "{out.png}"});
  EXPECT_EQ(no_student.code, 1);
  EXPECT_NE(no_student.errors.find("is no small network of nst_distill"), std::string::npos) << no_student.errors;
  const ProcessResult layer = folder_.run({"--quality", "draft", "--student", "{student.safetensors}", "-o",
                                           "{out.png}", "--style-layers", "relu2_1,pool1"});
  EXPECT_EQ(layer.code, 1);
  EXPECT_NE(layer.errors.find("stands for none of VGG's"), std::string::npos) << layer.errors;
}

TEST_F(NstGatysQuality, WithoutAnyFileTheBuiltInNetworkIsUsed) {
  ::unsetenv("MINIDL_WEIGHTS");
  const ProcessResult result = run_without_weights({"-o", "{out.png}", "--json", "{report.json}"});
  EXPECT_EQ(result.code, 0) << result.errors;
  EXPECT_NE(result.errors.find("network: built-in small_vgg19"), std::string::npos) << result.errors;
  EXPECT_NE(result.errors.find("--weights takes the original VGG"), std::string::npos) << result.errors;
  EXPECT_NE(report()["network"].get<std::string>().find("built-in small_vgg19"), std::string::npos);
}

// bf16 is computed in fp32 where the processor has no such products.
TEST_F(NstGatysQuality, TheSmallNetworkComputesInBf16UnlessToldOtherwise) {
  const auto precision_of = [&](const std::string& quality, Words more = {}) {
    more.insert(more.end(), {"--json", "{report.json}"});
    picture(quality, more);
    return report()["precision"];
  };
  EXPECT_EQ(precision_of("draft"), "bf16");
  EXPECT_EQ(precision_of("draft", {"--precision", "fp32"}), "fp32");
  EXPECT_EQ(precision_of("best"), "fp32");
  EXPECT_TRUE(same_bytes(picture("draft", {"--precision", "bf16"}), picture("draft")));
}

// Where a preset does not say how long it takes.
TEST_F(NstGatysQuality, HasItsOwnNumbersOfIterations) {
  const auto iterations_of = [&](Words flags, bool with_weights) {
    flags.insert(flags.end(), {"--student", "{student.safetensors}", "-o", "{out.png}", "--optimizer", "adam",
                               "--scales", "1", "--json", "{report.json}"});
    Words command = folder_.command(flags);
    for (const char* flag : {"--iterations", "--weights"}) {
      const auto found = std::find(command.begin(), command.end(), flag);
      if (found != command.end() && !(with_weights && std::string_view(flag) == "--weights"))
        command.erase(found, found + 2);
    }
    const ProcessResult result = run_process(command);
    EXPECT_EQ(result.code, 0) << result.errors;
    return report()["iterations"];
  };
  EXPECT_EQ(iterations_of({"--quality", "draft"}, true), 40);
  EXPECT_EQ(iterations_of({}, false), 60);
  EXPECT_EQ(iterations_of({}, true), 100);
  EXPECT_EQ(iterations_of({"--preset", "paper"}, false), 300);
}

}  // namespace
}  // namespace minidl::test
