#include <fmt/format.h>
#include <minidl/apps/builtin_models.h>
#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/loss_network.h>

#include <filesystem>

namespace minidl::apps {

LossNetwork load_network(const std::string& weights, const std::vector<std::string>& taps) {
  return {layers::Vgg::load(std::filesystem::path(weights), {.taps = taps}), weights};
}

namespace {

/// The first that the library has.
LossNetwork load_builtin_network(const std::vector<std::string>& taps) {
  const std::vector<BuiltinModel> models = builtin_models(BuiltinModel::Kind::network);
  if (models.empty())
    throw UsageError(
        "--weights is missing: name a VGG network file, or set MINIDL_WEIGHTS (or name a small network with --student; "
        "this build has none built in)");
  const BuiltinModel& model = models.front();
  return {layers::Vgg::load(model.open(), {.taps = taps}), fmt::format("built-in {} ({})", model.name, model.title)};
}

}  // namespace

LossNetwork load_small_network(const std::string& student, const std::vector<std::string>& taps) {
  if (student.empty()) return load_builtin_network(taps);
  LossNetwork loaded = load_network(student, taps);
  MINIDL_CHECK(loaded.network.description().is_student(),
               "[nst_gatys] --student {} is no small network of nst_distill; --weights takes networks such as VGG",
               student);
  return loaded;
}

}  // namespace minidl::apps
