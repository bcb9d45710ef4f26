#include <minidl/apps/common/checkpoint_folder.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/file_size_limit.h>
#include <support/temporary_folder.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>
#include <thread>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;
using test::read_bytes;
using test::TemporaryFolder;
using test::throws_error;
using test::write_bytes;

SafetensorsContent content(int64_t step, int64_t values = 10) {
  SafetensorsContent result;
  result.tensors.emplace_back("x", Tensor::full({values}, static_cast<float>(step)));
  return result;
}
float value_in(const fs::path& path) {
  const Tensor x = SafetensorsReader(path).read("x");
  const std::span<const float> values = x.span<float>();
  EXPECT_TRUE(std::all_of(values.begin(), values.end(), [&](float value) { return value == values[0]; }));
  return values[0];
}
std::vector<int64_t> steps(const CheckpointFolder& folder) {
  std::vector<int64_t> result;
  for (const Checkpoint& checkpoint : folder.checkpoints()) result.push_back(checkpoint.step);
  return result;
}
using Steps = std::vector<int64_t>;

TEST(CheckpointFolder, KeepsTheLastOnes) {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary / "new/deep", "net", 3);
  EXPECT_FALSE(folder.newest());
  for (const int64_t step : {0, 50, 100, 999999999, 1000000000}) folder.save(step, content(step));
  EXPECT_EQ(steps(folder), (Steps{100, 999999999, 1000000000}));
  EXPECT_EQ(folder.newest()->step, 1000000000);
  EXPECT_EQ(folder.checkpoints()[0].path, temporary / "new/deep/net-000000100.safetensors");
  EXPECT_EQ(value_in(folder.newest()->path), 1e9f);
  folder.save(1000000000, content(7));
  EXPECT_EQ(value_in(folder.newest()->path), 7.0f);
  EXPECT_EQ(steps(folder).size(), 3u);
  const CheckpointFolder all(temporary.path(), "net", 0);
  for (int64_t step = 1; step <= 9; ++step) all.save(step, content(step));
  EXPECT_EQ(steps(all).size(), 9u);
}

TEST(CheckpointFolder, LeavesOtherFilesAndLaterStepsAlone) {
  const TemporaryFolder temporary;
  for (const char* name : {"net-000000005.safetensors.bak", "net-5.safetensors", "net-00000000a.safetensors",
                           "other-000000005.safetensors", "net-.safetensors", "net--00000005.safetensors"})
    write_bytes(temporary / name, "x");
  const CheckpointFolder folder(temporary.path(), "net", 2);
  folder.save(500, content(500));
  folder.save(600, content(600));
  EXPECT_EQ(steps(folder), (Steps{500, 600}));
  for (const int64_t step : {10, 20, 30}) folder.save(step, content(step));  // a run that begins anew
  EXPECT_EQ(steps(folder), (Steps{20, 30, 500, 600}));
  EXPECT_EQ(temporary.entries(), 6 + 4);
}

TEST(CheckpointFolder, FindsTheNewestThatCanBeRead) {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path(), "net", 0);
  for (const int64_t step : {1, 2, 3}) folder.save(step, content(step));
  const std::string whole = read_bytes(folder.newest()->path);
  write_bytes(folder.newest()->path, whole.substr(0, whole.size() - 1));
  write_bytes(folder.checkpoints()[1].path, "");
  std::vector<std::string> unreadable;
  EXPECT_EQ(folder.newest(&unreadable)->step, 1);
  ASSERT_EQ(unreadable.size(), 2u);
  EXPECT_NE(unreadable[0].find("net-000000003.safetensors"), std::string::npos) << unreadable[0];
  write_bytes(folder.checkpoints()[0].path, "");
  EXPECT_FALSE(folder.newest());
}

TEST(CheckpointFolder, AFullDiskLosesNothing) {
  const TemporaryFolder temporary;
  const CheckpointFolder folder(temporary.path(), "net", 1);
  folder.save(1, content(1));
  {
    const test::FileSizeLimit limit(1000);
    EXPECT_TRUE(throws_error([&] { folder.save(2, content(2, 1000)); }, "net-000000002.safetensors"));
    EXPECT_TRUE(throws_error([&] { folder.save(1, content(2, 1000)); }, "net-000000001.safetensors"));
  }
  EXPECT_EQ(steps(folder), Steps{1});
  EXPECT_EQ(value_in(folder.newest()->path), 1.0f);
  EXPECT_EQ(temporary.entries(), 1);
}

TEST(CheckpointFolder, AKilledRunLeavesAWholeCheckpointAndNoRubbish) {
  const TemporaryFolder temporary;
  std::mt19937_64 bits(2);
  int64_t reached = 0;
  for (int round = 0; round < 10; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const CheckpointFolder folder(temporary.path(), "net", 2);
      for (int64_t step = reached + 1;; ++step) folder.save(step, content(step, 100000));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + bits() % 60));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const CheckpointFolder folder(temporary.path(), "net", 2);
    std::vector<std::string> unreadable;
    const std::optional<Checkpoint> newest = folder.newest(&unreadable);
    EXPECT_TRUE(unreadable.empty()) << unreadable[0];
    if (newest) {
      EXPECT_GE(newest->step, reached);
      EXPECT_EQ(value_in(newest->path), static_cast<float>(newest->step));
      reached = newest->step;
    }
    EXPECT_LE(steps(folder).size(), 3u);
  }
  EXPECT_GT(reached, 0);
  write_bytes(temporary / (".net-000000001.safetensors." + std::to_string(::getpid()) + "-7.tmp"), "of this process");
  write_bytes(temporary / ".net-000000001.safetensors.999999999-7.tmp", "of one that is gone");
  write_bytes(temporary / ".other-000000001.safetensors.999999999-7.tmp", "another's");
  CheckpointFolder(temporary.path(), "net", 2).save(reached + 1, content(1));
  EXPECT_EQ(temporary.entries(), 2 + 2);
  EXPECT_TRUE(fs::exists(temporary / ".other-000000001.safetensors.999999999-7.tmp"));
}

TEST(CheckpointFolder, ChecksTheFolderBeforeTheWork) {
  const TemporaryFolder temporary;
  const fs::path file = write_bytes(temporary / "file", "x");
  EXPECT_TRUE(throws_error([&] { CheckpointFolder(file / "sub", "net", 1); }, "cannot make the folder"));
  EXPECT_TRUE(throws_error([&] { CheckpointFolder(file, "net", 1); }, "Not a directory"));
  EXPECT_TRUE(throws_error([&] { CheckpointFolder(temporary.path(), "net", -1); }, "-1 checkpoints"));
  EXPECT_TRUE(throws_error([&] { CheckpointFolder(temporary.path(), "a/b", 1); }, "'a/b' is no name"));
  const CheckpointFolder folder(temporary.path(), "net", 1);
  EXPECT_TRUE(throws_error([&] { folder.save(-1, content(1)); }, "no step -1"));
}

}  // namespace
}  // namespace minidl::apps
