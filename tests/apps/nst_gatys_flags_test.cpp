// Every flag that nst_gatys --help lists does something: pixels, files, messages, threads or memory change. A flag
// without a case here fails the test.
#include <minidl/apps/common/report.h>
#include <minidl/core/cuda/backend.h>
#include <support/compare.h>
#include <support/nst_gatys.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace minidl::test {
namespace {

using Words = std::vector<std::string>;

/// Names at the beginning of the lines of the help, aliases too.
std::set<std::string> flags_of_help() {
  const std::string help = run_process({program("nst_gatys"), "--help"}).output;
  std::set<std::string> names;
  std::istringstream lines(help);
  const std::regex name("-{1,2}[a-z][a-z-]*");
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  -")) continue;
    const std::string usage = line.substr(2, line.find("  ", 2) - 2);
    for (std::sregex_iterator found(usage.begin(), usage.end(), name), end; found != end; ++found) {
      names.insert(found->str());
    }
  }
  return names;
}

class NstGatysFlags : public ::testing::Test {
 protected:
  GatysFolder folder_;
};

/// Flags whose effect is other pixels than without them.
struct PixelCase {
  Words flags;       // names, aliases too
  Words value = {};  // given after the name; empty for a switch
  Words base = {};   // flags of both runs
};

const std::vector<PixelCase>& pixel_cases() {
  static const std::vector<PixelCase> cases{
      {{"--content"}, {"{other.png}"}},
      {{"--style"}, {"{other.png}"}},
      {{"--weights"}, {"{other.safetensors}"}},
      {{"--preset"}, {"paper"}, {"--init", "content"}},
      {{"--preset"}, {"neural-style"}, {"--init", "content", "--tv", "0"}},
      {{"--size"}, {"24"}},
      {{"--style-scale"}, {"0.8"}},
      {{"--alpha", "--content-weight"}, {"50"}, {"--init", "noise"}},
      {{"--beta", "--style-weight"}, {"50"}, {"--init", "noise"}},
      {{"--tv"}, {"100"}},
      {{"--content-layers"}, {"relu2_1:0.3,relu3_2"}, {"--init", "noise"}},
      {{"--style-layers"}, {"relu2_1:0.3,relu3_2"}},
      {{"--pooling"}, {"max"}},
      {{"--normalize-gradients"}},
      {{"--original-colors"}},
      {{"--match-colors"}, {"mean"}},
      {{"--match-colors"}, {"covariance"}},
      {{"--match-colors"}, {"histogram"}},
      {{"--init"}, {"noise"}},
      {{"--init"}, {"style"}},
      {{"--init"}, {"{other.png}"}},
      {{"--iterations"}, {"3"}},
      {{"--scales"}, {"1"}, {"--size", "96", "--content", "{square.png}", "--style", "{square2.png}"}},
      {{"--optimizer"}, {"adam"}},
      {{"--optimizer"}, {"sgd"}},
      {{"--lr"}, {"1.5"}, {"--optimizer", "adam"}},
      {{"--lr"}, {"1.5"}, {"--optimizer", "sgd"}},
      {{"--momentum"}, {"0.1"}, {"--optimizer", "sgd"}},
      {{"--history"}, {"1"}, {"--iterations", "6"}},
      {{"--seed"}, {"5"}, {"--init", "noise"}},
  };
  return cases;
}

TEST_F(NstGatysFlags, ChangePixels) {
  save_image(folder_.path("other.png"), wavy_picture(24, 32, 7));
  save_image(folder_.path("square.png"), wavy_picture(96, 96, 1));
  save_image(folder_.path("square2.png"), wavy_picture(96, 96, 2));
  layers::write_network(folder_.path("other.safetensors"), tiny_network(2));
  std::map<Words, Tensor> before;
  for (const PixelCase& tested : pixel_cases()) {
    Tensor& plain = before[tested.base];
    if (!plain) plain = folder_.picture(tested.base);
    Tensor changed;
    for (const std::string& flag : tested.flags) {
      Words flags = tested.base;
      flags.push_back(flag);
      flags.insert(flags.end(), tested.value.begin(), tested.value.end());
      const Tensor picture = folder_.picture(flags);
      EXPECT_FALSE(same_bytes(picture, plain)) << flag;
      if (!changed) changed = picture;
      EXPECT_TRUE(same_bytes(picture, changed)) << flag << " is not what " << tested.flags[0] << " is";
    }
  }
}

// Two paintings are neither the first nor the second, and their weights count.
TEST_F(NstGatysFlags, StyleTwice) {
  save_image(folder_.path("other.png"), wavy_picture(24, 32, 7));
  const std::string other = "--style=" + folder_.path("other.png");
  const std::vector<Tensor> pictures{folder_.picture({}), folder_.picture({"--style", "{other.png}"}),
                                     folder_.picture({other}), folder_.picture({other + ":4"})};
  for (size_t i = 0; i < pictures.size(); ++i) {
    for (size_t k = 0; k < i; ++k) EXPECT_FALSE(same_bytes(pictures[i], pictures[k])) << i << " and " << k;
  }
}

TEST_F(NstGatysFlags, Output) {
  EXPECT_EQ(folder_.run({"-o", "{a.bmp}"}).code, 0);
  EXPECT_EQ(folder_.run({"--output", "{b.bmp}"}).code, 0);
  EXPECT_TRUE(folder_.bytes("a.bmp").starts_with("BM"));
  EXPECT_TRUE(folder_.bytes("a.bmp") == folder_.bytes("b.bmp"));
}

TEST_F(NstGatysFlags, SaveEveryAndResume) {
  EXPECT_EQ(folder_.run({"-o", "{a.png}", "--save-every", "2"}).code, 0);
  EXPECT_TRUE(folder_.has("a_00002.png"));
  EXPECT_TRUE(folder_.has("a.state.safetensors"));
  // From noise, where only the state can bring the run to the same picture again.
  EXPECT_EQ(folder_.run({"-o", "{b.png}", "--save-every", "2", "--init", "noise"}).code, 0);
  const Words resumed{"-o", "{c.png}", "--init", "noise", "--resume", "{b.state.safetensors}", "--json", "{c.json}"};
  EXPECT_EQ(folder_.run(resumed).code, 0);
  EXPECT_TRUE(folder_.bytes("c.png") == folder_.bytes("b.png"));
  const apps::Json report = apps::Json::parse(folder_.bytes("c.json"));
  EXPECT_EQ(report["history"].size(), 2u);  // of the first run: there was nothing left to do
}

TEST_F(NstGatysFlags, Messages) {
  const ProcessResult plain = folder_.run({"-o", "{a.png}"}), quiet = folder_.run({"-o", "{a.png}", "--quiet"}),
                      verbose = folder_.run({"-o", "{a.png}", "--verbose"});
  EXPECT_NE(plain.errors, "");
  EXPECT_EQ(quiet.errors, "");
  EXPECT_GT(verbose.error_lines(), plain.error_lines());
  EXPECT_NE(verbose.errors.find("|gradient|"), std::string::npos) << verbose.errors;
  EXPECT_NE(verbose.errors.find("conv2d"), std::string::npos) << verbose.errors;  // time by operation
}

TEST_F(NstGatysFlags, Report) {
  EXPECT_EQ(folder_.run({"-o", "{a.png}", "--json", "{a.json}"}).code, 0);
  EXPECT_TRUE(folder_.has("a.json"));
}

TEST_F(NstGatysFlags, DryRun) {
  const ProcessResult result = folder_.run({"-o", "{a.png}", "--dry-run"});
  EXPECT_EQ(result.code, 0) << result.errors;
  EXPECT_NE(result.output.find("memory"), std::string::npos);
  EXPECT_FALSE(folder_.has("a.png"));
}

TEST_F(NstGatysFlags, MaxMemory) {
  EXPECT_EQ(folder_.run({"-o", "{a.png}", "--max-memory", "2G"}).code, 0);
  EXPECT_EQ(folder_.run({"-o", "{b.png}", "--max-memory", "20K"}).code, 1);
  EXPECT_FALSE(folder_.has("b.png"));
}

TEST_F(NstGatysFlags, Threads) {
  const auto threads_of = [&](const std::string& number) {
    Process process(folder_.command({"-o", "{a.png}", "--threads", number, "--iterations", "1000000", "--verbose",
                                     "--optimizer", "adam", "--size", "64"}));
    EXPECT_TRUE(process.wait_for("iteration 2/")) << process.errors_so_far();
    const int threads = process.threads();
    process.send(SIGTERM);
    EXPECT_EQ(process.wait().code, 128 + SIGTERM);
    return threads;
  };
  const int one = threads_of("1"), five = threads_of("5");
  EXPECT_EQ(five, one + 4);  // a sanitizer may have a thread of its own
}

TEST_F(NstGatysFlags, Device) {
  const Tensor plain = folder_.picture({});
  EXPECT_TRUE(same_bytes(folder_.picture({"--device", "cpu"}), plain));
  if (cuda::device_count() == 0) {
    const ProcessResult refused = folder_.run({"-o", "{a.png}", "--device", "cuda"});
    EXPECT_EQ(refused.code, 1);
    EXPECT_NE(refused.errors.find("cuda"), std::string::npos) << refused.errors;
  }
}

TEST_F(NstGatysFlags, Precision) {
  const Tensor plain = folder_.picture({"--device", "cpu"});
  EXPECT_TRUE(same_bytes(folder_.picture({"--device", "cpu", "--precision", "fp32"}), plain));
  // An engine of a higher grade may serve a request, so pixels need not differ.
  for (const char* precision : {"tf32", "bf16"})
    EXPECT_EQ(folder_.picture({"--device", "cpu", "--precision", precision}).shape(), plain.shape());
  const ProcessResult result =
      folder_.run({"-o", "{a.png}", "--device", "cpu", "--precision", "fp16", "--iterations", "3"});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.errors.find("fp16"), std::string::npos) << result.errors;
}

TEST_F(NstGatysFlags, HelpAndVersion) {
  const ProcessResult help = run_process({program("nst_gatys"), "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.output.find("Usage: nst_gatys"), std::string::npos);
  EXPECT_EQ(run_process({program("nst_gatys"), "-h"}).output, help.output);
  EXPECT_TRUE(run_process({program("nst_gatys"), "--version"}).output.starts_with("nst_gatys "));
}

TEST_F(NstGatysFlags, NoneIsLeftOut) {
  // --quality and --student have tests of their own.
  std::set<std::string> tested{"-o",     "--output",  "--save-every", "--resume",  "--quiet",  "--verbose",
                               "--json", "--dry-run", "--max-memory", "--threads", "--device", "--precision",
                               "--help", "-h",        "--version",    "--quality", "--student"};
  for (const PixelCase& pixels : pixel_cases()) tested.insert(pixels.flags.begin(), pixels.flags.end());
  EXPECT_EQ(flags_of_help(), tested);
}

}  // namespace
}  // namespace minidl::test
