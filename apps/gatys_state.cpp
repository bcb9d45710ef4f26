#include <minidl/apps/gatys_run.h>
#include <minidl/apps/saved_run.h>

#include <limits>
#include <map>

namespace minidl {
namespace {

constexpr const char* kFormat = "minidl gatys state 1";
constexpr int64_t kPointNumbers = 7;
constexpr std::string_view kOptimizerPrefix = "optimizer.";

}  // namespace

std::string Gatys::Impl::pictures_fingerprint() const {
  std::string text = std::to_string(picture_hash(pictures.content));
  for (const GatysObjective::Style& style : pictures.styles)
    text += " " + std::to_string(picture_hash(style.picture)) + ":" + detail::text(style.weight);
  if (pictures.init) text += " " + std::to_string(picture_hash(pictures.init));
  return text;
}

SafetensorsContent Gatys::Impl::state() const {
  MINIDL_CHECK(scale >= 0, "[gatys] there is nothing to save before the first iteration");
  SafetensorsContent content;
  content.metadata = {{"format", kFormat}, {"settings", settings.fingerprint()}, {"pictures", pictures_fingerprint()}};
  content.tensors.emplace_back("picture", picture.clone());
  content.tensors.emplace_back(
      "position", tensor_of({static_cast<double>(scale), static_cast<double>(iteration),
                             static_cast<double>(evaluations), history.empty() ? 0.0 : history.back().seconds}));
  std::vector<double> curve;
  for (const GatysPoint& p : history) {
    curve.insert(curve.end(), {static_cast<double>(p.iteration), static_cast<double>(p.evaluations), p.total, p.content,
                               p.style, p.tv, p.seconds});
  }
  content.tensors.emplace_back("history", tensor_of(curve));
  std::vector<double> factors;
  for (const auto& [name, factor] : objective->factors()) factors.push_back(factor);
  content.tensors.emplace_back("factors", tensor_of(factors));
  objective->loss_scale().save(content);
  append_with_prefix(content, kOptimizerPrefix, stepper->state());
  return content;
}

void Gatys::Impl::load_state(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  MINIDL_CHECK(metadata_of(reader, "format") == kFormat, "[resume] '{}' is not a state file of a style transfer",
               path.string());
  MINIDL_CHECK(metadata_of(reader, "pictures") == pictures_fingerprint(),
               "[resume] '{}' was saved with other content, style or starting pictures", path.string());
  check_same_settings(reader, settings.fingerprint());
  const std::vector<double> position = numbers_of(reader, "position"), curve = numbers_of(reader, "history");
  const auto is_count = [](double value) { return value >= 0 && value <= std::numeric_limits<int>::max(); };
  MINIDL_CHECK(position.size() == 4 && is_count(position[0]) && position[0] < static_cast<double>(sizes.size()) &&
                   is_count(position[1]) && is_count(position[2]),
               "[resume] '{}' is damaged: its position in the run makes no sense", path.string());
  MINIDL_CHECK(curve.size() % kPointNumbers == 0, "[resume] '{}' is damaged: its history has {} numbers", path.string(),
               curve.size());
  Tensor saved = reader.read("picture");
  const Extent size = sizes[static_cast<size_t>(position[0])];
  MINIDL_CHECK(
      saved.shape() == Shape({1, size.height, size.width, 3}) && saved.dtype() == Dtype::f32 && all_finite(saved),
      "[resume] '{}' is damaged: its picture, of shape {}, does not fit or is not finite", path.string(),
      saved.shape());

  close_scale();
  picture = saved;
  try {
    open_scale(static_cast<int>(position[0]));
    load_scale(reader);
  } catch (...) {
    close_scale();
    throw;
  }
  iteration = static_cast<int>(position[1]);
  evaluations = static_cast<int>(position[2]);
  seconds_before = position[3];
  for (auto p = curve.begin(); p != curve.end(); p += kPointNumbers) {
    history.push_back({static_cast<int>(p[0]), static_cast<int>(p[1]), p[2], p[3], p[4], p[5], p[6]});
  }
}

void Gatys::Impl::load_scale(const SafetensorsReader& reader) {
  const std::vector<double> factors = numbers_of(reader, "factors");
  std::map<std::string, double> named = objective->factors();
  MINIDL_CHECK(factors.size() == named.size(), "[resume] '{}' is damaged: {} factors, there must be {}",
               reader.path().string(), factors.size(), named.size());
  auto factor = factors.begin();
  for (auto& [name, value] : named) value = *factor++;
  objective->set_factors(std::move(named));
  LossScale loss_scale;
  loss_scale.load(reader);
  objective->set_loss_scale(loss_scale);
  stepper->load_state(state_with_prefix(reader, kOptimizerPrefix));
}

}  // namespace minidl
