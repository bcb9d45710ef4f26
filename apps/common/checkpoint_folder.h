#pragma once
#include <minidl/core/safetensors.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace minidl::apps {

struct Checkpoint {
  int64_t step = 0;
  std::filesystem::path path;
};

/// The checkpoints of one training run: files NAME-000012000.safetensors in one folder. A file is there whole or not at
/// all (temporary file, flush, rename), and none is removed before a newer one is safely there: neither a killed
/// process nor a full disk costs more than the steps since the last one.
class CheckpointFolder {
 public:
  /// Makes the folder where it is missing. `keep` last ones are kept; 0: all. Throws Error where the folder cannot be
  /// made or written, which is better known before hours of work.
  CheckpointFolder(std::filesystem::path folder, std::string name, int keep);

  /// Writes the checkpoint of a step (>= 0; one that is there already is replaced), then removes the oldest of those up
  /// to this step beyond the number to keep, and what killed processes left half-written. Files of later steps, of
  /// another run, are left alone. Throws Error naming the file; all others are still there then.
  std::filesystem::path save(int64_t step, const SafetensorsContent& content) const;

  /// What the folder holds, by ascending step; files with other names are no checkpoints.
  std::vector<Checkpoint> checkpoints() const;
  /// The newest one that can be opened; unreadable ones before it are added to `unreadable` with the reason.
  std::optional<Checkpoint> newest(std::vector<std::string>* unreadable = nullptr) const;

 private:
  std::filesystem::path path_of(int64_t step) const;
  void remove_old(int64_t step) const;
  void remove_left_over() const;

  std::filesystem::path folder_;
  std::string name_;
  int keep_;
};

}  // namespace minidl::apps
