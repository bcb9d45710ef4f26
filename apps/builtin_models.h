#pragma once
#include <minidl/core/safetensors.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace minidl {

/// A trained model that is part of the library: no file is needed. apps/builtin/CMakeLists.txt lists them.
struct BuiltinModel {
  /// What it is for: features in the losses (layers::Vgg), or painting (layers::TransformNet).
  enum class Kind { network, style };

  std::string_view name;  // "starry_night"
  Kind kind;
  std::string_view title;            // "The Starry Night, Vincent van Gogh, 1889"
  std::string_view attribution;      // what it was trained on and whose work that is
  std::string_view licence;          // of the weights
  std::span<const std::byte> bytes;  // a safetensors file, for as long as the program runs

  /// Of the bytes. Throws Error when they are not a safetensors file.
  SafetensorsReader open() const;
};

/// All models of this build, in the order of the list; may be empty.
std::span<const BuiltinModel> builtin_models();
/// Those of one kind.
std::vector<BuiltinModel> builtin_models(BuiltinModel::Kind kind);

/// The one of that kind and name among `models`. Throws Error with the nearest name and all that there are.
const BuiltinModel& builtin_model(BuiltinModel::Kind kind, std::string_view name,
                                  std::span<const BuiltinModel> models = builtin_models());

}  // namespace minidl
