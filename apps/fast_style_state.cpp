#include <minidl/apps/fast_style_run.h>
#include <minidl/apps/saved_run.h>

#include <algorithm>

namespace minidl {
namespace {

constexpr const char* kFormat = "minidl fast style state 1";
constexpr std::string_view kNetPrefix = "net.", kBestPrefix = "best.", kOptimizerPrefix = "optimizer.";
constexpr size_t kPointNumbers = 6, kValidationNumbers = 2, kPositionNumbers = 9;

void append(SafetensorsContent& content, std::string_view prefix, const SafetensorsContent& part) {
  for (const auto& [name, tensor] : part.tensors) content.tensors.emplace_back(std::string(prefix) + name, tensor);
}

SafetensorsContent part_of(const SafetensorsReader& reader, std::string_view prefix) {
  SafetensorsContent content;
  for (const auto& [name, info] : reader.tensors()) {
    if (name.starts_with(prefix)) content.tensors.emplace_back(name.substr(prefix.size()), reader.read(name));
  }
  return content;
}

}  // namespace

std::string FastStyle::Impl::pictures_fingerprint() const {
  std::string text;
  for (const Tensor& style : data.styles) text += std::to_string(picture_hash(style)) + " ";
  return text;
}

std::string FastStyle::Impl::fingerprint() const {
  return settings.fingerprint() + " " + data.photos_fingerprint;
}

SafetensorsContent FastStyle::Impl::state() const {
  SafetensorsContent content;
  content.metadata = {{"format", kFormat}, {"settings", fingerprint()}, {"pictures", pictures_fingerprint()}};
  append(content, kNetPrefix, net.state());
  append(content, kBestPrefix, best);
  append_with_prefix(content, kOptimizerPrefix, adam.state());
  content.tensors.emplace_back("position", tensor_of({static_cast<double>(step), static_cast<double>(bad_steps),
                                                      seconds_so_far, sum.total, sum.content, sum.style, sum.tv,
                                                      static_cast<double>(summed), static_cast<double>(without_best)}));
  std::vector<double> curve, held_out;
  for (const FastStylePoint& p : history)
    curve.insert(curve.end(), {static_cast<double>(p.step), p.total, p.content, p.style, p.tv, p.seconds});
  for (const FastStyleValidation& v : validations)
    held_out.insert(held_out.end(), {static_cast<double>(v.step), v.total});
  loss_scale.save(content);
  content.tensors.emplace_back("history", tensor_of(curve));
  content.tensors.emplace_back("validations", tensor_of(held_out));
  return content;
}

void FastStyle::Impl::load_state(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  const std::string file = path.string();
  MINIDL_CHECK(metadata_of(reader, "format") == kFormat, "[resume] '{}' is not a state file of a training run", file);
  MINIDL_CHECK(metadata_of(reader, "pictures") == pictures_fingerprint(),
               "[resume] '{}' was saved with other style pictures", file);
  // At a constant rate every step is the same, however many follow: a run may go on for more than it was begun for.
  check_same_settings(reader, fingerprint(), settings.schedule == LrSchedule::constant ? "steps" : "");
  const std::vector<double> position = numbers_of(reader, "position"), curve = numbers_of(reader, "history"),
                            held_out = numbers_of(reader, "validations");
  MINIDL_CHECK(position.size() == kPositionNumbers && position[0] >= 0 && position[0] <= 1e15 &&
                   curve.size() % kPointNumbers == 0 && held_out.size() % kValidationNumbers == 0,
               "[resume] '{}' is damaged: its position in the run makes no sense", file);
  MINIDL_CHECK(position[0] <= static_cast<double>(settings.steps),
               "[resume] '{}' has {} steps behind it, and this run has {}: more are needed", file,
               static_cast<int64_t>(position[0]), settings.steps);
  LossScale scale;
  scale.load(reader);
  const optim::State optimizer = state_with_prefix(reader, kOptimizerPrefix);
  const SafetensorsContent before = net.state(), parameters = part_of(reader, kNetPrefix);
  net.load_state(parameters);
  try {
    adam.load_state(optimizer);
  } catch (...) {
    net.load_state(before);
    throw;
  }
  best = part_of(reader, kBestPrefix);
  loss_scale = scale;
  repeated.reset();
  step = static_cast<int64_t>(position[0]);
  bad_steps = static_cast<int>(position[1]);
  seconds_before = seconds_so_far = position[2];
  sum = {.total = position[3], .content = position[4], .style = position[5], .tv = position[6]};
  summed = static_cast<int64_t>(position[7]);
  without_best = static_cast<int>(position[8]);
  history.clear();
  for (auto p = curve.begin(); p != curve.end(); p += kPointNumbers)
    history.push_back({static_cast<int64_t>(p[0]), p[1], p[2], p[3], p[4], p[5]});
  validations.clear();
  for (auto v = held_out.begin(); v != held_out.end(); v += kValidationNumbers)
    validations.push_back({static_cast<int64_t>(v[0]), v[1]});
  best_total = 0;
  for (const FastStyleValidation& v : validations)
    best_total = &v == &validations.front() ? v.total : std::min(best_total, v.total);
}

}  // namespace minidl
