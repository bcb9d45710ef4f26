#include <minidl/apps/builtin_models.h>
#include <minidl/core/error.h>
#include <minidl/core/nearest.h>

#include <algorithm>
#include <iterator>
#include <string>

namespace minidl {

SafetensorsReader BuiltinModel::open() const {
  return SafetensorsReader(bytes, "built-in " + std::string(name));
}

std::vector<BuiltinModel> builtin_models(BuiltinModel::Kind kind) {
  std::vector<BuiltinModel> models;
  std::ranges::copy_if(builtin_models(), std::back_inserter(models),
                       [kind](const BuiltinModel& model) { return model.kind == kind; });
  return models;
}

const BuiltinModel& builtin_model(BuiltinModel::Kind kind, std::string_view name,
                                  std::span<const BuiltinModel> models) {
  std::vector<std::string> names;
  for (const BuiltinModel& model : models) {
    if (model.kind != kind) continue;
    if (model.name == name) return model;
    names.emplace_back(model.name);
  }
  const char* word = kind == BuiltinModel::Kind::style ? "style" : "network";
  MINIDL_CHECK(!names.empty(), "[builtin] there is no built-in {} '{}': this build has none", word, name);
  std::string list;
  for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
  const std::string nearest = nearest_name(name, names);
  fail("[builtin] there is no built-in {} '{}'{}; there are: {}", word, name,
       nearest.empty() ? "" : " (did you mean '" + nearest + "'?)", list);
}

}  // namespace minidl
