// nst_gatys as people run it: files in, files out.
#include <minidl/apps/common/report.h>
#include <minidl/apps/gatys.h>
#include <support/compare.h>
#include <support/nst_gatys.h>
#include <support/pictures.h>
#include <support/test_data.h>

#include <fstream>

namespace minidl::test {
namespace {

using Json = apps::Json;

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

class NstGatys : public ::testing::Test {
 protected:
  ProcessResult run_well(const std::vector<std::string>& flags) const {
    const ProcessResult result = folder_.run(flags);
    EXPECT_EQ(result.code, 0) << result.errors;
    return result;
  }
  Json report(const std::string& name = "report.json") const { return Json::parse(folder_.bytes(name)); }
  Shape shape_of(const std::string& name) const { return load_image(folder_.path(name)).shape(); }

  GatysFolder folder_;
};

TEST_F(NstGatys, PaintsAPictureOfTheAskedSize) {
  run_well({"-o", "{out.png}", "--size", "40"});
  EXPECT_EQ(shape_of("out.png"), (Shape{1, 30, 40, 3}));
  run_well({"-o", "{out.png}", "--size", "0"});
  EXPECT_EQ(shape_of("out.png"), (Shape{1, 24, 32, 3}));
  EXPECT_EQ(folder_.entries(), 4);  // nothing but the picture
}

TEST_F(NstGatys, ReportHasTheFieldsThatScriptsRelyOn) {
  run_well({"-o", "{out.png}", "--json", "{report.json}", "--seed", "7", "--tv", "0.5", "--optimizer", "adam"});
  const Json json = report();
  EXPECT_EQ(keys_of(json), (std::vector<std::string>{"version", "device", "precision", "engines", "image", "iterations", "seed",
                                                     "losses", "grad_norm", "seconds", "seconds_per_iteration",
                                                     "peak_memory_bytes", "peak_tensor_bytes", "history", "network"}));
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_FALSE(json["engines"].empty());
  EXPECT_EQ(json["image"], (Json{{"width", 32}, {"height", 24}}));
  EXPECT_EQ(json["iterations"], 2);
  EXPECT_EQ(json["seed"], 7);
  EXPECT_EQ(keys_of(json["losses"]), (std::vector<std::string>{"total", "content", "style", "tv"}));
  EXPECT_EQ(keys_of(json["losses"]["content"]), (std::vector<std::string>{"relu4_2"}));
  EXPECT_EQ(keys_of(json["losses"]["style"]),
            (std::vector<std::string>{"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"}));
  EXPECT_GT(json["seconds"], 0.0);
  EXPECT_DOUBLE_EQ(json["seconds_per_iteration"], json["seconds"].get<double>() / 2);
  EXPECT_GT(json["peak_memory_bytes"], 1 << 20);
  EXPECT_GT(json["peak_tensor_bytes"], 1 << 16);
  ASSERT_EQ(json["history"].size(), 2u);
  EXPECT_EQ(keys_of(json["history"][1]),
            (std::vector<std::string>{"iteration", "evaluations", "total", "content", "style", "tv", "seconds"}));
  EXPECT_EQ(json["history"][1]["iteration"], 2);
  EXPECT_GT(json["history"][1]["tv"], 0.0);
}

void expect_losses(const Json& json, const GatysLosses& losses, double grad_norm) {
  EXPECT_EQ(json["losses"]["total"], losses.total);
  for (const auto& [layer, value] : losses.content_layers) EXPECT_EQ(json["losses"]["content"][layer], value);
  for (const auto& [layer, value] : losses.style_layers) EXPECT_EQ(json["losses"]["style"][layer], value);
  EXPECT_EQ(json["losses"]["tv"], losses.tv);
  EXPECT_EQ(json["grad_norm"], grad_norm);
}

TEST_F(NstGatys, WithoutIterationsItMeasuresAPicture) {
  save_image(folder_.path("init.png"), wavy_picture(24, 32, 5));
  for (const char* preset : {"default", "paper", "neural-style"}) {
    run_well({"--iterations", "0", "--size", "0", "--init", "{init.png}", "--json", "{report.json}", "--preset", preset,
              "--quiet"});
    layers::Vgg network(tiny_network());
    GatysSettings settings = GatysSettings::preset(preset);
    settings.size = 0;
    settings.iterations = 0;
    settings.init = GatysInit::picture;
    const GatysResult expected = Gatys(network, settings,
                                       {.content = load_image(folder_.path("content.png")),
                                        .styles = {{load_image(folder_.path("style.png"))}},
                                        .init = load_image(folder_.path("init.png"))})
                                     .run();
    const Json json = report();
    expect_losses(json, expected.losses, expected.grad_norm);
    EXPECT_EQ(json["iterations"], 0);
    EXPECT_EQ(json["seconds_per_iteration"], 0.0);
    EXPECT_TRUE(json["history"].empty());
  }
}

TEST_F(NstGatys, WithoutIterationsItMeasuresAPictureWithTheRealNetwork) {
  const auto weights = test_data(kVggFile), content = test_data("data/content"), style = test_data("data/style");
  if (weights.empty() || content.empty() || style.empty()) GTEST_SKIP() << kNoTestData;
  const auto shrink_one_of = [&](const std::filesystem::path& folder, const std::string& name) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() != ".jpg" && entry.path().extension() != ".png") continue;
      save_image(folder_.path(name), load_image(entry.path(), {.max_side = 48}));
      return;
    }
    ADD_FAILURE() << "no picture in " << folder;
  };
  shrink_one_of(content, "content.png");
  shrink_one_of(style, "style.png");
  const Shape shape = shape_of("content.png");
  save_image(folder_.path("init.png"), resize_image(load_image(folder_.path("style.png")), shape[1], shape[2]));
  run_well({"--weights", weights.string(), "--iterations", "0", "--size", "0", "--init", "{init.png}", "--preset",
            "paper", "--json", "{report.json}"});
  GatysSettings settings = GatysSettings::preset("paper");
  settings.size = settings.iterations = 0;
  settings.init = GatysInit::picture;
  layers::Vgg network = layers::Vgg::load(weights, {.taps = settings.taps()});
  Gatys gatys(network, settings,
              {.content = load_image(folder_.path("content.png")),
               .styles = {{load_image(folder_.path("style.png"))}},
               .init = load_image(folder_.path("init.png"))});
  const GatysResult expected = gatys.run();
  expect_losses(report(), expected.losses, expected.grad_norm);
}

TEST_F(NstGatys, KeepsAlpha) {
  Tensor alpha = Tensor::empty({1, 24, 32, 1});
  for (int64_t i = 0; i < alpha.count(); ++i) alpha.data<float>()[i] = static_cast<float>(i % 256);
  save_image_file(folder_.path("content.png"), {.rgb = wavy_picture(24, 32, 1), .alpha = alpha});
  run_well({"-o", "{out.png}", "--size", "0"});
  const Image out = load_image_file(folder_.path("out.png"));
  ASSERT_TRUE(out.alpha);
  EXPECT_TRUE(same_bytes(out.alpha, alpha));
  run_well({"-o", "{out.png}", "--size", "24"});
  EXPECT_EQ(load_image_file(folder_.path("out.png")).alpha.shape(), (Shape{1, 18, 24, 1}));
}

TEST_F(NstGatys, SixteenBitsStaySixteen) {
  save_image_file(folder_.path("content.png"), {.rgb = wavy_picture(24, 32, 1), .alpha = {}}, {.bit_depth = 16});
  run_well({"-o", "{out.png}"});
  EXPECT_EQ(load_image_file(folder_.path("out.png")).bit_depth, 16);
}

TEST_F(NstGatys, TurnsPhotosAsTheirCameraSays) {
  save_image(folder_.path("plain.jpg"), wavy_picture(24, 32, 1));
  write_bytes(folder_.path("turned.jpg"), jpeg_with_exif(folder_.bytes("plain.jpg"), exif_with_orientation(6, true)));
  run_well({"--content", "{turned.jpg}", "-o", "{out.jpg}", "--size", "0"});
  EXPECT_EQ(shape_of("out.jpg"), (Shape{1, 32, 24, 3}));
  EXPECT_TRUE(folder_.bytes("out.jpg").starts_with("\xff\xd8\xff"));
}

TEST_F(NstGatys, SavesOnTheWay) {
  run_well({"-o", "{out.png}", "--iterations", "5", "--save-every", "2", "--optimizer", "adam"});
  for (const char* name : {"out_00002.png", "out_00004.png", "out.state.safetensors", "out.png"}) {
    EXPECT_TRUE(folder_.has(name)) << name;
  }
  EXPECT_EQ(folder_.entries(), 3 + 4);
  EXPECT_TRUE(folder_.bytes("out_00002.png") != folder_.bytes("out_00004.png"));
  run_well({"-o", "{four.png}", "--iterations", "4", "--optimizer", "adam"});
  EXPECT_TRUE(folder_.bytes("out_00004.png") == folder_.bytes("four.png"));
}

TEST_F(NstGatys, ResumesBitForBit) {
  for (const char* optimizer : {"lbfgs", "adam", "sgd"}) {
    run_well({"-o", "{whole.png}", "--iterations", "5", "--optimizer", optimizer, "--json", "{whole.json}"});
    run_well({"-o", "{part.png}", "--iterations", "3", "--save-every", "3", "--optimizer", optimizer});
    run_well({"-o", "{rest.png}", "--iterations", "5", "--optimizer", optimizer, "--resume", "{part.state.safetensors}",
              "--json", "{rest.json}"});
    EXPECT_TRUE(folder_.bytes("whole.png") == folder_.bytes("rest.png")) << optimizer;
    EXPECT_EQ(report("whole.json")["losses"], report("rest.json")["losses"]) << optimizer;
    EXPECT_EQ(report("rest.json")["history"].size(), 5u);
  }
}

TEST_F(NstGatys, InterruptedItSavesAndSaysHowToGoOn) {
  const std::vector<std::string> adam{"--optimizer", "adam", "-o", "{out.png}"};
  std::vector<std::string> endless = adam;
  endless.insert(endless.end(), {"--iterations", "1000000", "--verbose"});
  Process process(folder_.command(endless));
  ASSERT_TRUE(process.wait_for("iteration 3/")) << process.errors_so_far();
  process.send(SIGINT);
  const ProcessResult result = process.wait();
  EXPECT_EQ(result.code, 130);
  const std::string state = folder_.path("out.state.safetensors");
  EXPECT_NE(result.errors.find("--resume " + state), std::string::npos) << result.errors;
  EXPECT_EQ(shape_of("out.png"), (Shape{1, 24, 32, 3}));

  const auto done = SafetensorsReader(state).info("history").shape[0] / 7;
  ASSERT_GE(done, 3);
  const std::string all = std::to_string(done + 2);
  run_well({"--optimizer", "adam", "-o", "{rest.png}", "--iterations", all, "--resume", "{out.state.safetensors}"});
  run_well({"--optimizer", "adam", "-o", "{whole.png}", "--iterations", all});
  EXPECT_TRUE(folder_.bytes("rest.png") == folder_.bytes("whole.png"));
}

TEST_F(NstGatys, QuietPrintsNothing) {
  const ProcessResult result = run_well({"-o", "{out.png}", "--quiet"});
  EXPECT_EQ(result.output, "");
  EXPECT_EQ(result.errors, "");
}

TEST_F(NstGatys, DryRunPrintsThePlanAndWritesNothing) {
  const ProcessResult result = run_well({"-o", "{out.png}", "--dry-run", "--size", "64", "--json", "{report.json}"});
  for (const char* words : {"64x48", "relu5_1", "memory of tensors at the peak", "together", "an estimate"}) {
    EXPECT_NE(result.output.find(words), std::string::npos) << words << "\n" << result.output;
  }
  EXPECT_EQ(folder_.entries(), 3);
}

TEST_F(NstGatys, TooLittleMemoryIsOneClearError) {
  const ProcessResult result = folder_.run({"-o", "{out.png}", "--quiet", "--max-memory", "20K"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.error_lines(), 1) << result.errors;
  EXPECT_NE(result.errors.find("the limit is 20480"), std::string::npos) << result.errors;
  EXPECT_EQ(folder_.entries(), 3);
}

TEST_F(NstGatys, WeightsFromTheEnvironment) {
  std::vector<std::string> command = folder_.command({"-o", "{out.png}", "--quiet"});
  const auto flag = std::find(command.begin(), command.end(), "--weights");
  command.erase(flag, flag + 2);
  ::setenv("MINIDL_WEIGHTS", folder_.path("weights.safetensors").c_str(), 1);
  EXPECT_EQ(run_process(command).code, 0);
  ::unsetenv("MINIDL_WEIGHTS");
  EXPECT_TRUE(folder_.has("out.png"));
}

TEST_F(NstGatys, SameBytesForEveryNumberOfThreads) {
  std::string single;
  for (const char* threads : {"1", "2", "5"}) {
    run_well(
        {"-o", "{out.png}", "--threads", threads, "--iterations", "4", "--init", "noise", "--json", "{report.json}"});
    Json losses = report()["losses"];
    const std::string all = folder_.bytes("out.png") + losses.dump();
    if (single.empty()) single = all;
    EXPECT_TRUE(all == single) << threads << " threads";
  }
}

}  // namespace
}  // namespace minidl::test
