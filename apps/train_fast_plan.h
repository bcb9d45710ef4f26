#pragma once
#include <minidl/apps/common/photo_list.h>
#include <minidl/apps/nst_train_fast_flags.h>

#include <string>

namespace minidl::apps {

/// What nst_train_fast --dry-run prints: net, photos, and memory and time as two steps of `training` show them, which
/// it therefore runs.
std::string plan_text(FastStyle& training, const TrainFastOptions& options, const PhotoList& photos, Device device);

}  // namespace minidl::apps
