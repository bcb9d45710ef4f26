// nst_train_fast as people run it: it trains, logs, shows previews, survives being killed, and refuses what cannot work.
#include <minidl/apps/common/report.h>
#include <minidl/core/image.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/transform_net.h>
#include <minidl/layers/vgg_weights.h>
#include <support/process.h>
#include <support/small_gatys.h>
#include <support/tiny_network.h>

#include <random>
#include <sstream>

namespace minidl::test {
namespace {

using Json = apps::Json;

class NstTrainFast : public ::testing::Test {
 protected:
  void SetUp() override {
    layers::write_network(path("weights.safetensors"), tiny_network());
    save_image(path("style.png"), wavy_picture(36, 40, 3));
    save_image(path("other_style.png"), wavy_picture(40, 36, 5));
    std::filesystem::create_directories(folder_ / "photos" / "more");
    for (int i = 0; i < 5; ++i)
      save_image(path(i < 3 ? "photos/" + std::to_string(i) + ".png" : "photos/more/" + std::to_string(i) + ".png"),
                 wavy_picture(34 + i, 40, i + 1));
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string bytes(const std::string& name) const { return read_bytes(path(name)); }
  bool has(const std::string& name) const { return std::filesystem::exists(path(name)); }

  std::vector<std::string> command(const std::vector<std::string>& flags, const std::string& output = "net.safetensors",
                                   int steps = 6) const {
    std::vector<std::string> words{program("nst_train_fast"), "--style", path("style.png"),
                                   "--data", path("photos"), "--weights", path("weights.safetensors"),
                                   "-o", path(output), "--steps", std::to_string(steps),
                                   "--batch", "2", "--size", "32", "--width", "8", "--residual-blocks", "1"};
    words.insert(words.end(), flags.begin(), flags.end());
    return words;
  }
  ProcessResult run_well(const std::vector<std::string>& flags, const std::string& output = "net.safetensors",
                         int steps = 6) const {
    const ProcessResult result = run_process(command(flags, output, steps));
    EXPECT_EQ(result.code, 0) << result.errors;
    return result;
  }
  void expect_failure(const std::vector<std::string>& flags, int code, const std::string& words) const {
    const ProcessResult result = run_process(command(flags));
    EXPECT_EQ(result.code, code) << words;
    EXPECT_NE(result.errors.find(words), std::string::npos) << result.errors;
    EXPECT_EQ(result.error_lines(), 1) << result.errors;
    EXPECT_FALSE(has("net.safetensors"));
  }
  std::vector<Json> log(const std::string& name) const {
    std::vector<Json> entries;
    std::istringstream lines(bytes(name));
    for (std::string line; std::getline(lines, line);) entries.push_back(Json::parse(line));
    return entries;
  }

  TemporaryFolder folder_;
};

TEST_F(NstTrainFast, TrainsANet) {
  const ProcessResult result = run_well({});
  EXPECT_NE(result.errors.find("saved"), std::string::npos);
  layers::TransformNet net = layers::TransformNet::load(path("net.safetensors"));
  EXPECT_EQ(net.options(), (layers::TransformNetOptions{.width = 8, .residual_blocks = 1}));
  EXPECT_EQ(net(Variable(wavy_picture(21, 18, 2))).shape(), Shape({1, 21, 18, 3}));
  const SafetensorsReader file(path("net.safetensors"));
  EXPECT_EQ(file.metadata().at("style"), "style.png");
  EXPECT_EQ(file.metadata().at("colors"), "style");
  EXPECT_NE(file.metadata().at("training").find("beta 15"), std::string::npos);
  EXPECT_FALSE(file.metadata().at("minidl_version").empty());
}

TEST_F(NstTrainFast, EveryKindOfNet) {
  run_well({"--upsample", "fractional", "--output-range", "tanh", "--norm", "batch", "--padding", "zero", "--storage",
            "f16", "--original-colors"});
  const layers::TransformNet net = layers::TransformNet::load(path("net.safetensors"));
  EXPECT_EQ(net.options(), (layers::TransformNetOptions{.width = 8,
                                                        .residual_blocks = 1,
                                                        .upsample = layers::UpsampleKind::fractional,
                                                        .padding = Padding::Mode::zero,
                                                        .norm = layers::NormKind::batch,
                                                        .output_range = layers::OutputRange::tanh}));
  const SafetensorsReader file(path("net.safetensors"));
  EXPECT_EQ(file.metadata().at("colors"), "photo");
  EXPECT_LT(bytes("net.safetensors").size(), 100'000u);
  run_well({"--style", path("other_style.png"), "--checkpoint-dir", path("two")}, "two.safetensors");
  EXPECT_EQ(layers::TransformNet::load(path("two.safetensors")).options().styles, 2);
}

TEST_F(NstTrainFast, WritesLogCurveAndPreviews) {
  std::filesystem::create_directory(path("held_out"));
  save_image(path("held_out/a.png"), wavy_picture(50, 40, 6));
  run_well({"--json", path("log"), "--plot", path("curve.svg"), "--preview", path("photos/0.png"), "--preview-every",
            "3", "--preview-size", "24", "--validation", path("held_out"), "--validate-every", "2"});
  const std::vector<Json> entries = log("log");
  ASSERT_EQ(entries.size(), 8u);
  EXPECT_EQ(entries.front()["event"], "start");
  EXPECT_EQ(entries.back()["event"], "end");
  for (int step = 1; step <= 6; ++step) {
    const Json& entry = entries[static_cast<size_t>(step)];
    EXPECT_EQ(entry["step"], step);
    const double total = entry["content"].get<double>() + entry["style"].get<double>() + entry["tv"].get<double>();
    EXPECT_NEAR(entry["total"].get<double>(), total, 1e-6 * total);
    EXPECT_EQ(entry.contains("validation"), step % 2 == 0);
  }
  EXPECT_NE(bytes("curve.svg").find("<svg"), std::string::npos);
  for (const char* name : {"net.checkpoints/preview-000000003.png", "net.checkpoints/preview-000000006.png"})
    EXPECT_GT(load_image(path(name)).shape()[2], 48) << name;
}

// The final file of a run that was killed again and again is that of a run that was not.
TEST_F(NstTrainFast, GoesOnAfterBeingKilled) {
  constexpr int kSteps = 40;
  const std::vector<std::string> flags{"--checkpoint-every", "3", "--cache", path("cache")};
  run_well(flags, "whole.safetensors", kSteps);
  std::vector<std::string> resumed = flags;
  resumed.push_back("--resume");
  std::mt19937 random(1);
  for (int kill = 0; kill < 10; ++kill) {
    Process process(command(resumed, "net.safetensors", kSteps));
    ::usleep(std::uniform_int_distribution<useconds_t>(5'000, 150'000)(random));
    process.send(SIGKILL);
    process.wait();
  }
  run_well(resumed, "net.safetensors", kSteps);
  EXPECT_EQ(bytes("net.safetensors"), bytes("whole.safetensors"));
}

TEST_F(NstTrainFast, StopsOnRequestAndGoesOn) {
  run_well({}, "whole.safetensors", 30);
  Process process(command({"--verbose"}, "net.safetensors", 30));
  ASSERT_TRUE(process.wait_for("iteration 4/30"));
  process.send(SIGINT);
  const ProcessResult stopped = process.wait();
  EXPECT_EQ(stopped.code, 130);
  EXPECT_NE(stopped.errors.find("go on with the same command and --resume"), std::string::npos);
  EXPECT_FALSE(has("net.safetensors"));
  run_well({"--resume"}, "net.safetensors", 30);
  EXPECT_EQ(bytes("net.safetensors"), bytes("whole.safetensors"));
}

TEST_F(NstTrainFast, ResumesFromAFileOrAFolder) {
  run_well({"--checkpoint-every", "2", "--keep", "9"});
  const std::string expected = bytes("net.safetensors");
  run_well({"--resume", path("net.checkpoints"), "--checkpoint-dir", path("again")}, "folder.safetensors");
  EXPECT_EQ(bytes("folder.safetensors"), expected);
  run_well({"--resume", path("net.checkpoints/step-000000002.safetensors"), "--checkpoint-dir", path("once_more")},
           "file.safetensors");
  EXPECT_EQ(bytes("file.safetensors"), expected);
}

TEST_F(NstTrainFast, GoesOnForMoreStepsAtAConstantRate) {
  const std::vector<std::string> constant = {"--lr-schedule", "constant"};
  run_well(constant, "whole.safetensors", 6);
  run_well(constant, "net.safetensors", 4);
  run_well({"--lr-schedule", "constant", "--resume"}, "net.safetensors", 6);
  EXPECT_EQ(bytes("net.safetensors"), bytes("whole.safetensors"));
  EXPECT_TRUE(has("net.checkpoints/step-000000006.safetensors"));
}

TEST_F(NstTrainFast, LeavesOutDamagedPhotos) {
  std::ofstream(path("photos/broken.jpg")) << "no picture";
  std::ofstream(path("photos/empty.png"));
  const ProcessResult result = run_well({"--json", path("log")}, "net.safetensors", 10);
  EXPECT_NE(result.errors.find("2 photos could not be read"), std::string::npos) << result.errors;
  std::vector<std::string> files;
  for (const Json& entry : log("log")) {
    if (entry["event"] == "skipped") files.push_back(std::filesystem::path(entry["file"]).filename().string());
  }
  std::sort(files.begin(), files.end());
  EXPECT_EQ(files, (std::vector<std::string>{"broken.jpg", "empty.png"}));
}

TEST_F(NstTrainFast, DryRunPrintsThePlanAndWritesNothing) {
  const ProcessResult result = run_well({"--dry-run"});
  for (const char* words : {"width 8", "5 in", "6 of 2 photos of 32 x 32", "memory", "time"})
    EXPECT_NE(result.output.find(words), std::string::npos) << words;
  EXPECT_FALSE(has("net.safetensors"));
  EXPECT_FALSE(has("net.checkpoints"));
}

TEST_F(NstTrainFast, QuietPrintsNothing) {
  const ProcessResult result = run_well({"--quiet"});
  EXPECT_EQ(result.output + result.errors, "");
}

// A checkpoint that does not fit on the disk costs a warning, the result that does not fit an error, and nothing that
// was there before is lost.
TEST_F(NstTrainFast, FullDisk) {
  run_well({"--checkpoint-every", "2"});
  const std::string net = bytes("net.safetensors");
  const ProcessResult result =
      run_process(command({"--resume", "--checkpoint-every", "7"}, "net.safetensors"), {.largest_file = 1000});
  EXPECT_EQ(result.code, 1) << result.errors;
  EXPECT_EQ(bytes("net.safetensors"), net);
  EXPECT_TRUE(has("net.checkpoints/step-000000004.safetensors"));
}

TEST_F(NstTrainFast, RefusesWhatCannotWork) {
  expect_failure({"--data", path("nowhere")}, 1, "nowhere");
  std::filesystem::create_directory(path("empty"));
  expect_failure({"--data", path("empty")}, 1, "empty");
  expect_failure({"--style", path("missing.png")}, 1, "missing.png");
  expect_failure({"--weights", path("style.png")}, 1, "style.png");
  expect_failure({"--content-layers", "relu9_9"}, 1, "relu9_9");
  expect_failure({"--validation", path("empty")}, 1, "empty");
  expect_failure({"--preview", path("missing.png")}, 1, "missing.png");
  expect_failure({"--json", path("no/log")}, 1, "no");
  expect_failure({"--resume", path("style.png")}, 1, "style.png");
  expect_failure({"--width", "7"}, 2, "--width 7: must be a whole number from 8 to 64");
  expect_failure({"--preset", "pretty"}, 2, "default, paper or pytorch-examples");
  expect_failure({"--patience", "3"}, 2, "--patience needs --validation");
  expect_failure({"-o", path("net.pth")}, 2, "must end with .safetensors");
  expect_failure({"--stile", "x"}, 2, "did you mean --style?");
}

TEST_F(NstTrainFast, DoesNotMixTwoRuns) {
  run_well({"--checkpoint-every", "2"});
  std::filesystem::remove(path("net.safetensors"));
  expect_failure({"--checkpoint-every", "2"}, 1, "has checkpoints of another run");
  expect_failure({"--resume", "--beta", "7"}, 1, "beta was 15, is now 7");
  expect_failure({"--resume", "--zoom", "1.5"}, 1, "zoom was 1, is now 1.5");
  expect_failure({"--zoom", "0.5"}, 2, "--zoom 0.5");
  save_image(path("photos/new.png"), wavy_picture(40, 40, 2));
  expect_failure({"--resume"}, 1, "saved with other settings");
}

}  // namespace
}  // namespace minidl::test
