// nst_distill as people run it: it trains, logs, judges, survives being killed, and refuses what cannot work; nst_gatys
// uses what it wrote.
#include <minidl/apps/common/report.h>
#include <minidl/core/image.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/vgg.h>
#include <minidl/layers/vgg_weights.h>
#include <support/process.h>
#include <support/small_gatys.h>
#include <support/tiny_network.h>

#include <random>
#include <sstream>

namespace minidl::test {
namespace {

using Json = apps::Json;

class NstDistill : public ::testing::Test {
 protected:
  void SetUp() override {
    layers::write_network(path("weights.safetensors"), tiny_network());
    for (const char* folder : {"photos", "paintings"}) {
      std::filesystem::create_directory(folder_ / folder);
      for (int i = 0; i < 4; ++i)
        save_image(folder_ / folder / (std::to_string(i) + ".png"),
                   wavy_picture(36 + i, 40, i + (*folder == 'p' ? 1 : 5)));
    }
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string bytes(const std::string& name) const { return read_bytes(path(name)); }
  bool has(const std::string& name) const { return std::filesystem::exists(path(name)); }

  std::vector<std::string> command(const std::vector<std::string>& flags, const std::string& output, int steps) const {
    std::vector<std::string> words{program("nst_distill"),
                                   "--data",
                                   path("photos"),
                                   "--styles",
                                   path("paintings"),
                                   "--weights",
                                   path("weights.safetensors"),
                                   "-o",
                                   path(output),
                                   "--widths",
                                   "3,3,3,3,3",
                                   "--convolutions",
                                   "1,1,1,2,1",
                                   "--batch",
                                   "2",
                                   "--on-policy",
                                   "1",
                                   "--pool",
                                   "2",
                                   "--pool-iterations",
                                   "2",
                                   "--pretraining",
                                   "2",
                                   "--size",
                                   "32",
                                   "--steps",
                                   std::to_string(steps)};
    words.insert(words.end(), flags.begin(), flags.end());
    return words;
  }
  ProcessResult run_well(const std::vector<std::string>& flags, const std::string& output = "student.safetensors",
                         int steps = 5) const {
    const ProcessResult result = run_process(command(flags, output, steps));
    EXPECT_EQ(result.code, 0) << result.errors;
    return result;
  }
  void expect_failure(const std::vector<std::string>& flags, int code, const std::string& words) const {
    const ProcessResult result = run_process(command(flags, "student.safetensors", 5));
    EXPECT_EQ(result.code, code) << words;
    EXPECT_NE(result.errors.find(words), std::string::npos) << result.errors;
    EXPECT_EQ(result.error_lines(), 1) << result.errors;
    EXPECT_FALSE(has("student.safetensors"));
  }

  TemporaryFolder folder_;
};

TEST_F(NstDistill, TrainsAStudentThatPaints) {
  const ProcessResult result = run_well({"--attribution", "made from a test", "--storage", "i8", "--pooling", "max"});
  EXPECT_NE(result.errors.find("saved"), std::string::npos);
  const layers::NetworkDescription student = layers::read_network(path("student.safetensors"));
  EXPECT_TRUE(student.is_student());
  EXPECT_EQ(student.notes.at("attribution"), "made from a test");
  EXPECT_EQ(student.notes.at("teacher"), "weights.safetensors");
  EXPECT_NE(student.notes.at("training").find("widths 3,3,3,3,3"), std::string::npos);
  EXPECT_EQ(student.layers[student.index_of("pool1")].pool, PoolKind::max);
  EXPECT_EQ(SafetensorsReader(path("student.safetensors")).info("conv3_1.weight").dtype, Dtype::i8);

  const auto paint = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{program("nst_gatys"),
                                   "--content",
                                   path("photos/0.png"),
                                   "--style",
                                   path("paintings/1.png"),
                                   "--weights",
                                   path("student.safetensors"),
                                   "-o",
                                   path("painted.png"),
                                   "--size",
                                   "40",
                                   "--scales",
                                   "1",
                                   "--iterations",
                                   "3"};
    words.insert(words.end(), more.begin(), more.end());
    return run_process(words);
  };
  const ProcessResult painted = paint({});
  EXPECT_EQ(painted.code, 0) << painted.errors;
  EXPECT_EQ(load_image(path("painted.png")).shape()[2], 40);
  const ProcessResult refused = paint({"--style-layers", "relu2_1,pool2"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.errors.find("layer 'pool2'"), std::string::npos) << refused.errors;
}

TEST_F(NstDistill, WritesLogCurveAndPictures) {
  run_well({"--json", path("log"), "--plot", path("curve.svg"), "--validation-content", path("photos/0.png"),
            "--validation-style", path("paintings/0.png"), "--validation-size", "40", "--validation-iterations", "2",
            "--validate-every", "2", "--checkpoint-every", "2"});
  std::vector<Json> entries;
  std::istringstream lines(bytes("log"));
  for (std::string line; std::getline(lines, line);) entries.push_back(Json::parse(line));
  ASSERT_EQ(entries.size(), 7u);
  EXPECT_EQ(entries.front()["event"], "start");
  EXPECT_EQ(entries.back()["event"], "end");
  for (int step = 1; step <= 5; ++step) {
    const Json& entry = entries[static_cast<size_t>(step)];
    EXPECT_EQ(entry["step"], step);
    EXPECT_EQ(entry.contains("pool"), step > 2);
    EXPECT_EQ(entry.contains("validation"), step % 2 == 0 || step == 5);
    EXPECT_EQ(entry["given"]["grams"].size(), 6u);
    EXPECT_GT(entry["total"].get<double>(), 0.0);
  }
  EXPECT_NE(bytes("curve.svg").find("<svg"), std::string::npos);
  EXPECT_TRUE(has("student.checkpoints/student.safetensors"));
  EXPECT_GT(load_image(path("student.checkpoints/validation-000000004.png")).shape()[2], 4 * 40);
  EXPECT_TRUE(has("student.checkpoints/pool-000000004.png"));
}

// The final file of a run that was killed again and again is that of a run that was not.
TEST_F(NstDistill, GoesOnAfterBeingKilled) {
  constexpr int kSteps = 24;
  const std::vector<std::string> flags{"--checkpoint-every", "3", "--cache", path("cache")};
  run_well(flags, "whole.safetensors", kSteps);
  std::vector<std::string> resumed = flags;
  resumed.push_back("--resume");
  std::mt19937 random(1);
  for (int kill = 0; kill < 6; ++kill) {
    Process process(command(resumed, "student.safetensors", kSteps));
    ::usleep(std::uniform_int_distribution<useconds_t>(10'000, 250'000)(random));
    process.send(SIGKILL);
    process.wait();
  }
  run_well(resumed, "student.safetensors", kSteps);
  EXPECT_EQ(bytes("student.safetensors"), bytes("whole.safetensors"));
}

TEST_F(NstDistill, StopsOnRequestAndGoesOn) {
  run_well({}, "whole.safetensors", 30);
  Process process(command({"--verbose"}, "student.safetensors", 30));
  ASSERT_TRUE(process.wait_for("iteration 4/30"));
  process.send(SIGINT);
  const ProcessResult stopped = process.wait();
  EXPECT_EQ(stopped.code, 130);
  EXPECT_NE(stopped.errors.find("go on with the same command and --resume"), std::string::npos);
  EXPECT_FALSE(has("student.safetensors"));
  run_well({"--resume"}, "student.safetensors", 30);
  EXPECT_EQ(bytes("student.safetensors"), bytes("whole.safetensors"));
}

TEST_F(NstDistill, DryRunPrintsThePlanAndWritesNothing) {
  const ProcessResult result = run_well({"--dry-run"});
  for (const char* words : {"parameters", "4 photos, 4 paintings", "5 of 2 pictures of 32 x 32", "memory", "time"})
    EXPECT_NE(result.output.find(words), std::string::npos) << words;
  EXPECT_FALSE(has("student.safetensors"));
  EXPECT_FALSE(has("student.checkpoints"));
}

TEST_F(NstDistill, RefusesWhatCannotWork) {
  expect_failure({"--data", path("nowhere")}, 1, "nowhere");
  expect_failure({"--styles", path("nowhere")}, 1, "nowhere");
  expect_failure({"--weights", path("photos/0.png")}, 1, "0.png");
  expect_failure({"--widths", "3,3,3"}, 2, "--widths 3,3,3: must be 5 numbers");
  expect_failure({"--widths", "3,3,3,3,3,3"}, 2, "must be 5 numbers");
  expect_failure({"--convolutions", "1,1,1,2,9"}, 2, "must be a whole number from 1 to 8");
  expect_failure({"--convolutions", "1,1,1,1,1"}, 1, "relu4_2");
  expect_failure({"--on-policy", "3"}, 1, "on_policy is 3");
  expect_failure({"--validation-content", path("photos/0.png")}, 2, "belong together");
  expect_failure({"--device", "cuda"}, 2, "students are trained on the CPU");
  expect_failure({"-o", path("student.mat")}, 2, "must end with .safetensors");
  run_well({"--checkpoint-every", "2"}, "other.safetensors");
  expect_failure({"--checkpoint-dir", path("other.checkpoints")}, 1, "has checkpoints of another run");
  expect_failure({"--checkpoint-dir", path("other.checkpoints"), "--resume", "--beta", "7"}, 1,
                 "beta was 30, is now 7");
}

}  // namespace
}  // namespace minidl::test
