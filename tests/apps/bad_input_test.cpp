#include <minidl/core/cuda/backend.h>
#include <minidl/core/image.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/vgg_weights.h>
#include <support/process.h>
#include <support/random_tensors.h>
#include <support/temporary_folder.h>
#include <support/tiny_network.h>
#include <sys/stat.h>

#include <limits>
#include <map>
#include <memory>

namespace minidl {
namespace {

using test::read_bytes;
using test::write_bytes;

/// A bad command line or file. The flags of a good one come first, so that what is added here replaces them.
struct Case {
  std::string name;
  std::vector<std::string> added;
  int code;                   // 1: the input or the machine, 2: the command line
  std::string words;          // of the message
  std::string left_out = {};  // a flag of the good command line
};

std::ostream& operator<<(std::ostream& stream, const Case& bad) {
  return stream << bad.name;
}

const std::vector<Case>& command_line_cases() {
  static const std::string kSize = "must be a whole number from 0 to";
  static const std::vector<Case> cases{
      {"unknown_flag", {"--contnet", "c.png"}, 2, "did you mean --content?"},
      {"unknown_short_flag", {"-q"}, 2, "unknown flag -q"},
      {"left_over_argument", {"c.png"}, 2, "unexpected argument c.png"},
      {"flag_without_value", {"--size"}, 2, "--size needs a value"},
      {"flag_instead_of_value", {"--output", "--quiet"}, 2, "--output needs a value"},
      {"value_for_a_switch", {"--quiet=yes"}, 2, "--quiet takes no value"},
      {"no_content", {}, 2, "--content", "--content"},
      {"no_style", {}, 2, "--style", "--style"},
      {"no_output", {}, 2, "--output", "--output"},
      {"size_negative", {"--size", "-1"}, 2, kSize},
      {"size_scientific", {"--size", "1e9"}, 2, kSize},
      {"size_too_large", {"--size", "1000000000"}, 2, kSize},
      {"size_text", {"--size", "big"}, 2, kSize},
      {"size_nan", {"--size", "nan"}, 2, kSize},
      {"size_fraction", {"--size", "12.5"}, 2, kSize},
      {"iterations_negative", {"--iterations", "-5"}, 2, "--iterations -5: must be a whole number"},
      {"iterations_text", {"--iterations", "many"}, 2, "--iterations many"},
      {"scales_zero", {"--scales", "0"}, 2, "--scales 0"},
      {"alpha_nan", {"--alpha", "nan"}, 2, "--alpha nan: must be a number"},
      {"alpha_negative", {"--alpha", "-1"}, 2, "--alpha -1"},
      {"beta_infinite", {"--beta", "inf"}, 2, "--beta inf"},
      {"tv_text", {"--tv", "1,5"}, 2, "--tv 1,5"},
      {"learning_rate_zero", {"--lr", "0"}, 2, "--lr 0"},
      {"momentum_one", {"--momentum", "1"}, 2, "--momentum 1"},
      {"history_zero", {"--history", "0"}, 2, "--history 0"},
      {"threads_zero", {"--threads", "0"}, 2, "--threads 0"},
      {"threads_too_many", {"--threads", "100000"}, 2, "--threads 100000"},
      {"seed_negative", {"--seed", "-1"}, 2, "--seed -1"},
      {"max_memory_text", {"--max-memory", "lots"}, 2, "--max-memory lots"},
      {"optimizer_unknown", {"--optimizer", "newton"}, 2, "--optimizer newton"},
      {"pooling_unknown", {"--pooling", "min"}, 2, "--pooling min"},
      {"preset_unknown", {"--preset", "nice"}, 2, "--preset nice"},
      {"match_colors_unknown", {"--match-colors", "hue"}, 2, "--match-colors hue"},
      {"device_unknown", {"--device", "tpu"}, 2, "--device tpu"},
      {"precision_unknown", {"--precision", "fp8"}, 2, "--precision fp8"},
      {"layer_weight_text", {"--style-layers", "relu1_1:x"}, 2, "the weight of relu1_1"},
      {"layer_weight_nan", {"--content-layers", "relu4_2:nan"}, 2, "the weight of relu4_2"},
      {"layer_named_twice", {"--style-layers", "relu1_1,relu1_1"}, 2, "relu1_1 is named twice"},
      {"layer_list_empty_item", {"--style-layers", "relu1_1,,relu2_1"}, 2, "--style-layers"},
      {"style_weight_negative", {"--style", "s.png:-2"}, 2, "the weight must be"},
  };
  return cases;
}

const std::vector<Case>& input_cases() {
  static const std::vector<Case> cases{
      {"content_missing", {"--content", "missing.png"}, 1, "missing.png"},
      {"content_empty", {"--content", "empty.png"}, 1, "empty.png"},
      {"content_truncated", {"--content", "truncated.png"}, 1, "truncated.png"},
      {"content_not_a_picture", {"--content", "text.png"}, 1, "text.png"},
      {"content_folder", {"--content", "folder"}, 1, "folder"},
      {"content_huge_dimensions", {"--content", "huge.png"}, 1, "huge.png"},
      {"content_under_a_file", {"--content", "c.png/x.png"}, 1, "c.png/x.png"},
      {"content_too_small", {"--content", "15.png", "--size", "0"}, 1, "16"},
      {"size_too_small", {"--size", "15"}, 1, "16"},
      {"style_missing", {"--style", "missing.png"}, 1, "missing.png"},
      {"style_truncated", {"--style", "truncated.png"}, 1, "truncated.png"},
      {"style_one_pixel", {"--style", "1.png", "--size", "0"}, 1, "16"},
      {"init_missing", {"--init", "missing.png"}, 1, "missing.png"},
      {"init_not_a_picture", {"--init", "text.png"}, 1, "text.png"},
      {"weights_missing", {"--weights", "missing.mat"}, 1, "missing.mat"},
      {"weights_empty", {"--weights", "empty.safetensors"}, 1, "empty.safetensors"},
      {"weights_truncated", {"--weights", "truncated.safetensors"}, 1, "truncated.safetensors"},
      {"weights_folder", {"--weights", "folder"}, 1, "folder"},
      {"weights_text", {"--weights", "text.png"}, 1, "text.png"},
      {"weights_huge_header", {"--weights", "header.safetensors"}, 1, "header.safetensors"},
      {"weights_not_a_network", {"--weights", "other.safetensors"}, 1, "other.safetensors"},
      {"weights_wrong_type", {"--weights", "integers.safetensors"}, 1, "integers.safetensors"},
      {"weights_nan", {"--weights", "nan.safetensors"}, 1, "nan.safetensors"},
      {"mat_truncated", {"--weights", "truncated.mat"}, 1, "truncated.mat"},
      {"layer_unknown", {"--style-layers", "relu9_9"}, 1, "relu9_9"},
      {"layer_beyond_the_file", {"--content-layers", "relu5_4"}, 1, "relu5_4"},
      {"device_not_there", {"--device", "cuda"}, 1, "cuda"},
      {"precision_fp16", {"--precision", "fp16"}, 1, "fp16"},
      {"too_little_memory", {"--max-memory", "16K"}, 1, "the limit is 16384"},
      {"output_folder_missing", {"--output", "nowhere/out.png"}, 1, "nowhere"},
      {"output_folder_is_a_file", {"--output", "c.png/out.png"}, 1, "c.png"},
      {"output_is_the_photo", {"--output", "c.png"}, 1, "one of the input pictures"},
      {"output_is_the_painting", {"--output", "./s.png"}, 1, "one of the input pictures"},
      {"output_is_a_folder", {"--output", "folder.png"}, 1, "folder.png"},
      {"output_extension_unknown", {"--output", "out.xyz"}, 1, "out.xyz"},
      {"output_without_extension", {"--output", "out"}, 1, "out"},
      {"json_folder_missing", {"--json", "nowhere/r.json"}, 1, "nowhere"},
      {"resume_missing", {"--resume", "missing.state"}, 1, "missing.state"},
      {"resume_picture", {"--resume", "c.png"}, 1, "c.png"},
      {"resume_foreign", {"--resume", "other.safetensors"}, 1, "other.safetensors"},
      {"resume_truncated", {"--resume", "truncated.safetensors"}, 1, "truncated.safetensors"},
  };
  return cases;
}

/// One folder with good and bad files for all cases. The program runs in it.
class BadInput : public ::testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<test::TemporaryFolder>();
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(folder_->path());
    make_pictures();
    make_networks();
    std::filesystem::create_directory("folder");
    std::filesystem::create_directory("folder.png");
  }
  static void TearDownTestSuite() {
    std::filesystem::current_path(before_);
    folder_.reset();
  }

  static void make_pictures() {
    const std::map<std::string, Shape> pictures{{"c.png", {1, 24, 32, 3}},
                                                {"s.png", {1, 32, 24, 3}},
                                                {"15.png", {1, 15, 40, 3}},
                                                {"16.png", {1, 16, 16, 3}},
                                                {"1.png", {1, 1, 1, 3}}};
    for (const auto& [name, shape] : pictures) save_image(name, test::random_uniform(shape, 1, 0.0f, 255.0f));
    const std::string picture = read_bytes("c.png");
    write_bytes("empty.png", "");
    write_bytes("truncated.png", picture.substr(0, picture.size() / 2));
    write_bytes("text.png", "This is no picture, whatever its name says.");
    std::string huge = picture;  // width and height of the header chunk
    huge.replace(16, 8, std::string("\x00\x01\x86\xa0\x00\x01\x86\xa0", 8));
    write_bytes("huge.png", huge);
    if (::chmod(write_bytes("unreadable.png", picture).c_str(), 0) != 0) ADD_FAILURE() << "chmod";
  }

  static void make_networks() {
    layers::NetworkDescription network = test::tiny_network();
    layers::write_network("net.safetensors", network);
    const std::string bytes = read_bytes("net.safetensors");
    write_bytes("empty.safetensors", "");
    write_bytes("truncated.safetensors", bytes.substr(0, bytes.size() - 100));
    write_bytes("header.safetensors", std::string(7, '\xff') + "\x7f" + bytes.substr(8));
    write_bytes("truncated.mat",
                "MATLAB 5.0 MAT-file" + std::string(105, ' ') + std::string("\x00\x01IM", 4) + std::string(40, '\x0e'));
    write_safetensors("other.safetensors", {{{"x", Tensor::zeros({2, 2})}}, {}});
    SafetensorsContent integers;
    const SafetensorsReader reader("net.safetensors");
    integers.metadata = reader.metadata();
    for (const auto& [name, info] : reader.tensors())
      integers.tensors.emplace_back(name, Tensor::zeros(info.shape, Dtype::i64));
    write_safetensors("integers.safetensors", integers);
    network.layers.front().weight.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
    layers::write_network("nan.safetensors", network);
  }

  static test::ProcessResult run(const Case& bad, const test::ProcessOptions& options = {}) {
    std::vector<std::string> command{test::program("nst_gatys")};
    const std::pair<std::string, std::string> good[] = {
        {"--content", "c.png"},  {"--style", "s.png"}, {"--weights", "net.safetensors"},
        {"--output", "out.png"}, {"--size", "32"},     {"--iterations", "1"},
        {"--scales", "1"},       {"--threads", "1"}};
    const bool replaces_style = std::find(bad.added.begin(), bad.added.end(), "--style") != bad.added.end();
    for (const auto& [flag, value] : good) {
      if (flag == bad.left_out || (flag == "--style" && replaces_style)) continue;
      command.insert(command.end(), {flag, value});
    }
    command.insert(command.end(), bad.added.begin(), bad.added.end());
    return test::run_process(command, options);
  }

  /// Names, sizes and contents of all files: nothing may appear, change or go.
  static std::map<std::string, std::string> snapshot() {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(".")) {
      files[entry.path()] = entry.is_regular_file() ? read_bytes(entry.path()) : "folder";
    }
    return files;
  }

  static void expect_refused(const Case& bad, const test::ProcessOptions& options = {}) {
    write_bytes("out.png", "an older picture");
    const auto before = snapshot();
    const test::ProcessResult result = run(bad, options);
    EXPECT_EQ(result.code, bad.code) << result.errors;
    EXPECT_EQ(result.error_lines(), 1) << result.errors;
    EXPECT_TRUE(result.errors.starts_with("error: ")) << result.errors;
    EXPECT_NE(result.errors.find(bad.words), std::string::npos) << result.errors;
    EXPECT_TRUE(snapshot() == before) << "files were changed or left behind";
    std::filesystem::remove("out.png");
  }

  static std::unique_ptr<test::TemporaryFolder> folder_;
  static std::filesystem::path before_;
};

std::unique_ptr<test::TemporaryFolder> BadInput::folder_;
std::filesystem::path BadInput::before_;

TEST_P(BadInput, GetsOneLineAndLeavesEverythingAsItWas) {
  const bool there = GetParam().name == std::string("device_not_there") && cuda::device_count() > 0;
  if (there) GTEST_SKIP() << "there is a CUDA device";
  expect_refused(GetParam());
}

const auto kName = [](const auto& tested) { return tested.param.name; };
INSTANTIATE_TEST_SUITE_P(CommandLine, BadInput, ::testing::ValuesIn(command_line_cases()), kName);
INSTANTIATE_TEST_SUITE_P(Input, BadInput, ::testing::ValuesIn(input_cases()), kName);

class InputLimits : public BadInput {};

TEST_F(InputLimits, GoodInputWorks) {
  const test::ProcessResult result = run({});
  EXPECT_EQ(result.code, 0) << result.errors;
  EXPECT_EQ(load_image("out.png").shape(), (Shape{1, 24, 32, 3}));
  std::filesystem::remove("out.png");
}

TEST_F(InputLimits, SixteenPixelsAreEnough) {
  const test::ProcessResult result =
      run({.name = {}, .added = {"--content", "16.png", "--style", "16.png", "--size", "0"}, .code = 0, .words = {}});
  EXPECT_EQ(result.code, 0) << result.errors;
  EXPECT_EQ(load_image("out.png").shape(), (Shape{1, 16, 16, 3}));
  std::filesystem::remove("out.png");
}

TEST_F(InputLimits, UnreadablePicture) {
  if (::geteuid() == 0) GTEST_SKIP() << "the super-user may read every file";
  expect_refused({.name = {}, .added = {"--content", "unreadable.png"}, .code = 1, .words = "unreadable.png"});
}

TEST_F(InputLimits, ReadOnlyOutputFolder) {
  if (::geteuid() == 0) GTEST_SKIP() << "the super-user may write to every folder";
  std::filesystem::create_directory("locked");
  ::chmod("locked", 0500);
  expect_refused({.name = {}, .added = {"--output", "locked/out.png"}, .code = 1, .words = "locked"});
  ::chmod("locked", 0700);
  std::filesystem::remove("locked");
}

TEST_F(InputLimits, FullDiskWhileThePictureIsWritten) {
  expect_refused({.name = {}, .added = {"--quiet"}, .code = 1, .words = "out.png"}, {.largest_file = 64});
}

TEST_F(InputLimits, FullDiskWhileTheReportIsWritten) {
  write_bytes("r.json", "an older report");
  const test::ProcessResult result =
      run({.name = {},
           .added = {"--json", "r.json", "--quiet", "--iterations", "0", "--output", "out.bmp"},
           .code = 1,
           .words = {}},
          {.largest_file = 100});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(read_bytes("r.json"), "an older report");
  EXPECT_FALSE(std::filesystem::exists("out.bmp"));
  std::filesystem::remove("r.json");
}

TEST_F(InputLimits, StandardOutputThatTakesNothing) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  const test::ProcessResult result =
      test::run_process({test::program("nst_gatys"), "--help"}, {.output_to = "/dev/full"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.errors, "error: standard output cannot be written\n");
}

}  // namespace
}  // namespace minidl
