#include <fmt/format.h>
#include <minidl/apps/common/checkpoint_folder.h>
#include <minidl/core/error.h>
#include <minidl/core/file.h>

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

namespace minidl::apps {
namespace {

constexpr std::string_view kExtension = ".safetensors";

/// The number that `text` is, digits only.
std::optional<int64_t> number_in(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size() && text[0] != '-';
  return whole ? std::optional(number) : std::nullopt;
}

/// What stands between `prefix` and `suffix`.
std::optional<std::string_view> between(std::string_view text, std::string_view prefix, std::string_view suffix) {
  if (text.size() < prefix.size() + suffix.size() || !text.starts_with(prefix) || !text.ends_with(suffix)) return {};
  return text.substr(prefix.size(), text.size() - prefix.size() - suffix.size());
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) files.push_back(entry->path());
  MINIDL_CHECK(!error, "[checkpoint] cannot look into '{}': {}", folder.string(), error.message());
  return files;
}

}  // namespace

CheckpointFolder::CheckpointFolder(fs::path folder, std::string name, int keep)
    : folder_(std::move(folder)), name_(std::move(name)), keep_(keep) {
  MINIDL_CHECK(keep_ >= 0, "[checkpoint] {} checkpoints cannot be kept; 0 keeps all", keep_);
  MINIDL_CHECK(!name_.empty() && name_.find('/') == std::string::npos, "[checkpoint] '{}' is no name for files", name_);
  std::error_code error;
  fs::create_directories(folder_, error);
  MINIDL_CHECK(!error, "[checkpoint] cannot make the folder '{}': {}", folder_.string(), error.message());
  check_can_write(path_of(0));
}

fs::path CheckpointFolder::path_of(int64_t step) const {
  return folder_ / fmt::format("{}-{:09}{}", name_, step, kExtension);
}

fs::path CheckpointFolder::save(int64_t step, const SafetensorsContent& content) const {
  MINIDL_CHECK(step >= 0, "[checkpoint] there is no step {}", step);
  const fs::path path = path_of(step);
  write_safetensors(path, content);
  remove_old(step);
  remove_left_over();
  return path;
}

std::vector<Checkpoint> CheckpointFolder::checkpoints() const {
  std::vector<Checkpoint> found;
  for (const fs::path& file : files_in(folder_)) {
    const std::string name = file.filename().string();
    const std::optional<std::string_view> digits = between(name, name_ + "-", kExtension);
    const std::optional<int64_t> step = digits ? number_in(*digits) : std::nullopt;
    if (step && path_of(*step) == file) found.push_back({*step, file});
  }
  std::sort(found.begin(), found.end(), [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  return found;
}

std::optional<Checkpoint> CheckpointFolder::newest(std::vector<std::string>* unreadable) const {
  const std::vector<Checkpoint> found = checkpoints();
  for (auto checkpoint = found.rbegin(); checkpoint != found.rend(); ++checkpoint) {
    try {
      const SafetensorsReader reader(checkpoint->path);  // checks its header against the file's length
      return *checkpoint;
    } catch (const Error& error) {
      if (unreadable) unreadable->push_back(error.what());
    }
  }
  return {};
}

void CheckpointFolder::remove_old(int64_t step) const {
  std::vector<Checkpoint> found = checkpoints();
  std::erase_if(found, [step](const Checkpoint& checkpoint) { return checkpoint.step > step; });
  const auto keep = static_cast<size_t>(keep_);
  if (keep == 0 || found.size() <= keep) return;
  std::error_code ignored;  // one that stays does no harm
  for (size_t i = 0; i < found.size() - keep; ++i) fs::remove(found[i].path, ignored);
}

/// write_atomically names its temporary files .FILE.PID-NUMBER.tmp.
void CheckpointFolder::remove_left_over() const {
  for (const fs::path& file : files_in(folder_)) {
    const std::string name = file.filename().string();
    const std::optional<std::string_view> rest = between(name, "." + name_ + "-", ".tmp");
    if (!rest || rest->find(kExtension) == std::string_view::npos) continue;
    const std::string_view owner = rest->substr(rest->rfind('.') + 1);
    const std::optional<int64_t> process = number_in(owner.substr(0, owner.find('-')));
    const bool alive = !process || ::kill(static_cast<pid_t>(*process), 0) == 0 || errno != ESRCH;
    std::error_code ignored;
    if (!alive) fs::remove(file, ignored);
  }
}

}  // namespace minidl::apps
