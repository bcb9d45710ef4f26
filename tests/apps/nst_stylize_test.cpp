// nst_stylize as people run it: files or frames in, files or frames out.
#include <minidl/apps/builtin_models.h>
#include <minidl/apps/common/report.h>
#include <minidl/apps/stylizer.h>
#include <minidl/core/cuda/backend.h>
#include <support/compare.h>
#include <support/pictures.h>
#include <support/process.h>
#include <support/small_gatys.h>
#include <support/small_transform_net.h>
#include <support/test_data.h>

namespace minidl::test {
namespace {

using Json = apps::Json;

class NstStylize : public ::testing::Test {
 protected:
  NstStylize() {
    small_transform_net({.styles = 3}).save(path("net.safetensors"), {{"colors", "style"}});
    save_image(path("photo.png"), wavy_picture(24, 32, 1));
    for (const char* name : {"photos/a.png", "photos/b.jpg", "photos/deep/a.png"}) {
      std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
      save_image(path(name), wavy_picture(20, 16, 2));
    }
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string bytes(const std::string& name) const { return read_bytes(path(name)); }
  bool has(const std::string& name) const { return std::filesystem::exists(path(name)); }

  /// Words in braces are names in the folder.
  ProcessResult run(std::vector<std::string> flags, const ProcessOptions& options = {}) const {
    std::vector<std::string> words{program("nst_stylize"), "--model", path("net.safetensors")};
    for (std::string& flag : flags)
      words.push_back(flag.starts_with('{') ? path(flag.substr(1, flag.size() - 2)) : flag);
    return run_process(words, options);
  }
  ProcessResult run_well(const std::vector<std::string>& flags, const ProcessOptions& options = {}) const {
    const ProcessResult result = run(flags, options);
    EXPECT_EQ(result.code, 0) << result.errors;
    return result;
  }
  void expect_error(const std::vector<std::string>& flags, int code, const std::string& words) const {
    const ProcessResult result = run(flags);
    EXPECT_EQ(result.code, code) << words;
    EXPECT_NE(result.errors.find(words), std::string::npos) << result.errors;
    EXPECT_EQ(result.error_lines(), 1) << result.errors;
    EXPECT_EQ(result.output, "");
  }
  /// What the library makes of a picture.
  Tensor painted(const Tensor& picture, StylizerSettings settings = {}) const {
    return Stylizer(layers::TransformNet::load(path("net.safetensors")), std::move(settings))(picture);
  }
  Tensor picture(const std::string& name) const { return load_image(path(name)); }

  TemporaryFolder folder_;
};

/// Levels between two pictures, at most.
double difference(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  double largest = 0.0;
  for (size_t i = 0; i < static_cast<size_t>(a.count()); ++i)
    largest = std::max(largest, static_cast<double>(std::abs(a.span<float>()[i] - b.span<float>()[i])));
  return largest;
}

TEST_F(NstStylize, PaintsAPicture) {
  const ProcessResult result = run_well({"{photo.png}", "{out.png}"});
  EXPECT_NE(result.errors.find("saved " + path("out.png") + " (32 x 24)"), std::string::npos) << result.errors;
  EXPECT_LE(difference(picture("out.png"), painted(picture("photo.png"))), 0.51);
  run_well({"{photo.png}", "{small.png}", "--size", "16", "--quiet"});
  EXPECT_LE(difference(picture("small.png"), painted(picture("photo.png"), {.size = 16})), 0.51);
}

TEST_F(NstStylize, EqualsPytorchsPicture) {
  const auto model = test_data("reference/mosaic_nc16.safetensors");
  const auto step = test_data("reference/train_step_mosaic_nc16.safetensors");
  if (model.empty() || step.empty()) GTEST_SKIP() << kNoTestData;
  const SafetensorsReader reader(step);
  const Tensor inputs = to_channels_last(reader.read("input")), outputs = to_channels_last(reader.read("output"));
  for (int64_t i = 0; i < inputs.shape()[0]; ++i) {
    const Tensor input = inputs.slice(i, i + 1);
    save_image(path("in.png"), input);
    ASSERT_EQ(difference(picture("in.png"), input), 0.0) << "the reference's input has whole levels";
    for (const std::vector<std::string>& flags : {std::vector<std::string>{}, {"--storage", "f32"}}) {
      std::vector<std::string> all{"--model", model.string(), "{in.png}", "{out.png}"};
      all.insert(all.end(), flags.begin(), flags.end());
      run_well(all);
      save_image(path("expected.png"), outputs.slice(i, i + 1));
      EXPECT_LE(difference(picture("out.png"), picture("expected.png")), 1.0);
    }
  }
}

TEST_F(NstStylize, LooksAsAsked) {
  const Tensor photo = picture("photo.png");
  run_well({"{photo.png}", "{out.png}", "--strength", "0.5", "--original-colors", "--style-index", "0:1,2:3"});
  EXPECT_LE(difference(picture("out.png"),
                       painted(photo, {.strength = 0.5, .original_colors = true, .styles = {0.25f, 0.0f, 0.75f}})),
            0.51);
  run_well({"{photo.png}", "{other.png}", "--style-index", "1", "--storage", "f16"});
  EXPECT_LE(difference(picture("other.png"), painted(photo, {.styles = {0, 1, 0}, .storage = Dtype::f16})), 0.51);
  EXPECT_TRUE(bytes("out.png") != bytes("other.png"));
}

TEST_F(NstStylize, ANetTrainedForThePhotosColoursKeepsThem) {
  small_transform_net({.styles = 3}).save(path("grey.safetensors"), {{"colors", "photo"}});
  run_well({"--model", "{grey.safetensors}", "{photo.png}", "{out.png}"});
  EXPECT_LE(difference(picture("out.png"), painted(picture("photo.png"), {.original_colors = true})), 0.51);
}

TEST_F(NstStylize, KeepsAlphaDepthAndOrientation) {
  Tensor alpha = Tensor::empty({1, 24, 32, 1});
  for (int64_t i = 0; i < alpha.count(); ++i) alpha.data<float>()[i] = static_cast<float>(i % 256);
  save_image_file(path("deep.png"), {.rgb = wavy_picture(24, 32, 1), .alpha = alpha}, {.bit_depth = 16});
  run_well({"{deep.png}", "{out.png}"});
  const Image out = load_image_file(path("out.png"));
  EXPECT_EQ(out.bit_depth, 16);
  ASSERT_TRUE(out.alpha);
  EXPECT_TRUE(same_bytes(out.alpha, alpha));
  EXPECT_LE(difference(out.rgb, painted(wavy_picture(24, 32, 1))), 0.51 / 257);
  run_well({"{deep.png}", "{loud.PNG}"});
  EXPECT_EQ(load_image_file(path("loud.PNG")).bit_depth, 16);
  run_well({"{deep.png}", "{small.png}", "--size", "16"});
  EXPECT_EQ(load_image_file(path("small.png")).alpha.shape(), (Shape{1, 12, 16, 1}));
  run_well({"{deep.png}", "{out.jpg}"});
  EXPECT_TRUE(bytes("out.jpg").starts_with("\xff\xd8\xff"));

  save_image(path("plain.jpg"), wavy_picture(24, 32, 1));
  write_bytes(path("turned.jpg"), jpeg_with_exif(bytes("plain.jpg"), exif_with_orientation(6, true)));
  run_well({"{turned.jpg}", "{turned.png}"});
  EXPECT_EQ(picture("turned.png").shape(), (Shape{1, 32, 24, 3}));
}

TEST_F(NstStylize, PaintsFoldersAndPatterns) {
  run_well({"{photos}", "{ph*.png}", "--output-dir", "{out/here}", "--json", "{out/here/report.json}"});
  for (const char* name : {"out/here/a.png", "out/here/b.jpg", "out/here/deep/a.png", "out/here/photo.png"}) {
    EXPECT_TRUE(has(name)) << name;
  }
  EXPECT_LE(difference(picture("out/here/deep/a.png"), painted(picture("photos/deep/a.png"))), 0.51);
  const Json report = Json::parse(bytes("out/here/report.json"));
  EXPECT_EQ(report["pictures"], 4);
  EXPECT_EQ(report["failed"], 0);
  EXPECT_GT(report["seconds"], 0.0);
  EXPECT_GT(report["peak_memory_bytes"], 1 << 20);
  EXPECT_GT(report["peak_tensor_bytes"], 1 << 16);
  ASSERT_EQ(report["files"].size(), 4u);
  EXPECT_EQ(report["files"][0]["input"], path("photos/a.png"));
  EXPECT_EQ(report["files"][0]["output"], path("out/here/a.png"));
  EXPECT_EQ(report["files"][0]["width"], 16);
  EXPECT_EQ(report["files"][0]["height"], 20);
  EXPECT_GE(report["files"][0]["seconds"], report["files"][0]["painting_seconds"].get<double>());
}

TEST_F(NstStylize, OneBadPictureDoesNotStopTheOthers) {
  write_bytes(path("photos/a0.png"), "no picture");
  const ProcessResult result =
      run({"{photos}", "{missing\nline.png}", "--output-dir", "{out}", "--json", "{report.json}", "--quiet"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.error_lines(), 2) << result.errors << " (a line end in a name is no other line)";
  EXPECT_NE(result.errors.find("photos/a0.png"), std::string::npos) << result.errors;
  EXPECT_NE(result.errors.find("missing line.png"), std::string::npos) << result.errors;
  EXPECT_TRUE(has("out/a.png") && has("out/b.jpg") && has("out/deep/a.png") && !has("out/a0.png"));
  const Json report = Json::parse(bytes("report.json"));
  EXPECT_EQ(report["pictures"], 3);
  EXPECT_EQ(report["failed"], 2);
  EXPECT_NE(report["files"][1]["error"].get<std::string>().find("a0.png"), std::string::npos);
}

TEST_F(NstStylize, StopsBetweenPicturesWhenInterrupted) {
  for (int i = 0; i < 300; ++i)
    std::filesystem::copy_file(path("photos/a.png"), path("photos/" + std::to_string(i) + ".png"));
  Process process({program("nst_stylize"), "--model", path("net.safetensors"), path("photos"), "--output-dir",
                   path("out"), "--size", "300", "--json", path("report.json")});
  ASSERT_TRUE(process.wait_for("saved")) << process.errors_so_far();
  process.send(SIGINT);
  EXPECT_EQ(process.wait().code, 130);
  const Json report = Json::parse(bytes("report.json"));
  const auto painted_count = report["pictures"].get<size_t>();
  EXPECT_TRUE(painted_count >= 1 && painted_count < 300) << painted_count;
  EXPECT_EQ(report["files"].size(), painted_count);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "out")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(load_image(entry.path()).shape(), (Shape{1, 300, 240, 3})) << entry.path();
  }
}

TEST_F(NstStylize, PipesFrames) {
  constexpr int kFrames = 5;
  std::string frames;
  for (int i = 0; i < kFrames; ++i) {
    const Tensor frame = wavy_picture(18, 22, i + 1);
    for (const float value : frame.span<float>()) frames += static_cast<char>(static_cast<uint8_t>(value));
  }
  write_bytes(path("frames.rgb"), frames);
  const ProcessResult result =
      run_well({"--pipe", "22x18", "--json", "{report.json}"}, {.input_from = path("frames.rgb")});
  const size_t size = 18 * 22 * 3;
  ASSERT_EQ(result.output.size(), kFrames * size);
  for (int i = 0; i < kFrames; ++i) {
    save_image(path("frame.png"), wavy_picture(18, 22, i + 1));
    run_well({"{frame.png}", "{painted.png}", "--quiet"});
    const Tensor expected = picture("painted.png");
    for (size_t j = 0; j < size; ++j) {
      const auto level = static_cast<uint8_t>(result.output[static_cast<size_t>(i) * size + j]);
      ASSERT_EQ(level, expected.span<float>()[j]) << "frame " << i;
    }
  }
  EXPECT_EQ(Json::parse(bytes("report.json"))["frames"], kFrames);

  write_bytes(path("frames.rgb"), frames.substr(0, 2 * size + 100));
  const ProcessResult partial = run({"--pipe", "22x18", "--quiet"}, {.input_from = path("frames.rgb")});
  EXPECT_EQ(partial.code, 1);
  EXPECT_EQ(partial.output, result.output.substr(0, 2 * size));
  EXPECT_NE(partial.errors.find("the input ends within frame 3: 1088 of its 1188 bytes are missing"), std::string::npos)
      << partial.errors;
  write_bytes(path("frames.rgb"), "");
  EXPECT_EQ(run_well({"--pipe", "22x18", "--quiet"}, {.input_from = path("frames.rgb")}).output, "");
}

TEST_F(NstStylize, PipeThatNobodyReadsIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  write_bytes(path("frames.rgb"), std::string(3 * 4 * 4, 'x'));
  const ProcessResult result =
      run({"--pipe", "4x4", "--quiet"}, {.output_to = "/dev/full", .input_from = path("frames.rgb")});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.errors.find("standard output cannot be written"), std::string::npos) << result.errors;
}

TEST_F(NstStylize, DryRunPrintsThePlanAndWritesNothing) {
  const ProcessResult result = run_well({"{photos}", "--output-dir", "{out}", "--dry-run", "--json", "{report.json}"});
  for (const char* words : {"width 8, 1 residual blocks, 3 styles", "photos/deep/a.png -> ", "16x20, in one pass",
                            "of memory", "an estimate"}) {
    EXPECT_NE(result.output.find(words), std::string::npos) << words << "\n" << result.output;
  }
  EXPECT_FALSE(has("out") || has("report.json"));
  const ProcessResult pipe = run_well({"--pipe", "64x48", "--dry-run", "--storage", "f16"});
  EXPECT_NE(pipe.output.find("frames of 64x48, in strips of f16"), std::string::npos) << pipe.output;
}

TEST_F(NstStylize, DryRunGoesOnAfterADamagedPicture) {
  write_bytes(path("photos/broken.png"), "\x89PNG\r\n\x1a\nno more");
  const ProcessResult result = run({"{photos}", "--output-dir", "{out}", "--dry-run"});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.errors.find("broken.png"), std::string::npos) << result.errors;
  EXPECT_NE(result.output.find("photos/deep/a.png -> "), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("an estimate"), std::string::npos) << result.output;
}

TEST_F(NstStylize, SameBytesForEveryNumberOfThreads) {
  save_image(path("large.png"), wavy_picture(140, 90, 1));
  for (const std::vector<std::string>& flags : {std::vector<std::string>{}, {"--storage", "f32"}}) {
    std::string single;
    for (const char* threads : {"1", "2", "5"}) {
      std::vector<std::string> all{"{large.png}", "{out.png}", "--threads", threads};
      all.insert(all.end(), flags.begin(), flags.end());
      run_well(all);
      if (single.empty()) single = bytes("out.png");
      EXPECT_TRUE(bytes("out.png") == single) << threads << " threads";
    }
  }
}

TEST_F(NstStylize, BadInputIsOneClearLine) {
  write_bytes(path("text.safetensors"), "not a net");
  write_safetensors(path("other.safetensors"), {{{"x", Tensor::zeros({2, 2})}}, {}});
  std::filesystem::create_directory(folder_ / "empty");
  const std::string photo = "{photo.png}", out = "{out.png}";
  expect_error({photo, out, "--model", "{missing.safetensors}"}, 1, "missing.safetensors");
  expect_error({photo, out, "--model", "{text.safetensors}"}, 1, "text.safetensors");
  expect_error({photo, out, "--model", "{other.safetensors}"}, 1, "it is not a transform net");
  expect_error({photo, out, "--style-index", "3"}, 1, "--style-index 3: the model has 3 styles, 0 to 2");
  expect_error({photo, out, "--style-index", "0:x"}, 2, "--style-index 0:x");
  expect_error({photo, out, "--strength", "2"}, 2, "--strength 2: must be a number");
  expect_error({photo, out, "--size", "-1"}, 2, "--size -1");
  expect_error({photo, out, "--storage", "f64"}, 2, "--storage f64: must be one of f32|f16");
  expect_error({photo, out, "--max-memory", "1M"}, 1, "the limit is 1048576; choose a smaller size");
  if (cuda::device_count() == 0) expect_error({photo, out, "--device", "cuda"}, 1, "cuda");
  expect_error({photo}, 2, "name one picture IN and the result OUT");
  expect_error({photo, photo, out}, 2, "several pictures need --output-dir");
  expect_error({"{missing.png}", out}, 1, "missing.png");
  expect_error({photo, photo}, 1, "would replace the picture");
  expect_error({photo, "{out.xyz}"}, 1, "out.xyz");
  expect_error({photo, "{nowhere/out.png}"}, 1, "nowhere");
  expect_error({photo, out, "--json", "{photo.png}"}, 1, "--json");
  expect_error({"{empty}", "--output-dir", "{out}"}, 1, "no photos in");
  expect_error({"{*.tif}", "--output-dir", "{out}"}, 1, "no file fits the pattern");
  expect_error({photo, "--output-dir", "{}"}, 1, "would replace the picture");
  expect_error({photo, "--output-dir", "{text.safetensors}"}, 1, "cannot be made");
  expect_error({photo, "--output-dir", "/proc/none"}, 1, "the folder '/proc/none' cannot be made");
  expect_error({"{photos}", "--output-dir", "{photos}"}, 1, "would replace the picture");
  expect_error({"{photos/a.png}", "{photos/deep/a.png}", "--output-dir", "{out}"}, 1, "would both become");
  for (const char* size : {"640", "x480", "640x", "0x10", "640x-1", "640*480", "99999x10"}) {
    expect_error({"--pipe", size}, 2, std::string("--pipe ") + size + ": must be WIDTHxHEIGHT");
  }
  expect_error({"--pipe", "4x4", photo}, 2, "no IN, OUT or --output-dir");
  expect_error({"--pipe", "4x4", "--size", "2"}, 2, "frames keep their size");
  expect_error({"--pipe", "4x4", "--json", "{net.safetensors}"}, 1, "would replace the model");
  EXPECT_FALSE(has("out.png") || has("out"));
}

TEST_F(NstStylize, PaintsInEveryBuiltinStyle) {
  for (const BuiltinModel& style : builtin_models(BuiltinModel::Kind::style)) {
    const std::string name(style.name);
    const ProcessResult result = run_process(
        {program("nst_stylize"), "--builtin", name, path("photo.png"), path("out.png"), "--json", path("report.json")});
    ASSERT_EQ(result.code, 0) << result.errors;
    EXPECT_LE(difference(picture("out.png"), Stylizer::builtin(name)(picture("photo.png"))), 0.51) << name;
    EXPECT_EQ(Json::parse(bytes("report.json"))["model"], "built-in " + name);
  }
  EXPECT_TRUE(throws_error([] { Stylizer::builtin("no_such_style"); }, "no built-in style 'no_such_style'"));
}

TEST_F(NstStylize, ListsTheBuiltinStyles) {
  const ProcessResult result = run_process({program("nst_stylize"), "--list", "--json", path("list.json")});
  ASSERT_EQ(result.code, 0) << result.errors;
  const Json styles = Json::parse(bytes("list.json"))["styles"];
  const std::vector<BuiltinModel> expected = builtin_models(BuiltinModel::Kind::style);
  ASSERT_EQ(styles.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(styles[i]["name"], expected[i].name);
    EXPECT_EQ(styles[i]["bytes"], expected[i].bytes.size());
    for (const std::string_view text : {expected[i].name, expected[i].title, expected[i].attribution})
      EXPECT_NE(result.output.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(result.output.empty(), false);
}

TEST_F(NstStylize, OneModelMustBeNamed) {
  const std::vector<std::string> places{path("photo.png"), path("out.png")};
  const auto expect_usage = [&](std::vector<std::string> flags, const std::string& words) {
    flags.insert(flags.begin(), program("nst_stylize"));
    flags.insert(flags.end(), places.begin(), places.end());
    const ProcessResult result = run_process(flags);
    EXPECT_EQ(result.code, 2) << words;
    EXPECT_NE(result.errors.find(words), std::string::npos) << result.errors;
    EXPECT_EQ(result.error_lines(), 1) << result.errors;
  };
  expect_usage({}, "the model is missing: name a built-in style (--list shows them) with --builtin");
  expect_usage({"--builtin", "no_such_style"}, "--builtin no_such_style: [builtin] there is no built-in style");
  const std::vector<BuiltinModel> styles = builtin_models(BuiltinModel::Kind::style);
  if (styles.empty()) return;
  expect_usage({"--builtin", std::string(styles[0].name), "--model", path("net.safetensors")},
               "--model and --builtin exclude each other");
}

TEST_F(NstStylize, FullDiskLeavesTheOldResult) {
  write_bytes(path("out.png"), "an older picture");
  const ProcessResult result = run({"{photo.png}", "{out.png}", "--quiet"}, {.largest_file = 64});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.errors.find("out.png"), std::string::npos) << result.errors;
  EXPECT_EQ(bytes("out.png"), "an older picture");
}

}  // namespace
}  // namespace minidl::test
