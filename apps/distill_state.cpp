#include <minidl/apps/distill_run.h>
#include <minidl/apps/saved_run.h>

#include <algorithm>

namespace minidl {
namespace {

constexpr const char* kFormat = "minidl distillation state 1";
constexpr std::string_view kStudentPrefix = "student.", kOptimizerPrefix = "optimizer.";
constexpr size_t kPointNumbers = 4, kValidationNumbers = 4, kPositionNumbers = 6;

/// FNV-1a over all weights that the taps need would take as long as reading them; the biases tell networks apart.
std::string hash_of(const layers::Vgg& network) {
  uint64_t hash = 0;
  for (const auto& [name, parameter] : network.named_parameters()) {
    if (name.ends_with(".bias")) hash = hash * 31 + picture_hash(parameter.value());
  }
  return std::to_string(hash);
}

/// The student's parameters as the file has them, in its order. Throws Error when one is missing or has another shape.
std::vector<Tensor> parameters_of(const SafetensorsReader& reader, const DistillStudent& student) {
  std::vector<Tensor> values;
  for (const auto& [name, parameter] : student.named_parameters()) {
    Tensor value = reader.read(std::string(kStudentPrefix) + name);
    MINIDL_CHECK(value.shape() == parameter.shape() && value.dtype() == Dtype::f32,
                 "[resume] '{}' is damaged: the student's {} has shape {}, it must be {}", reader.path().string(), name,
                 value.shape(), parameter.shape());
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace

std::string Distill::Impl::fingerprint() const {
  return settings.fingerprint() + " teacher " + hash_of(teacher) + " " + judge.fingerprint() + " " + data.fingerprint;
}

SafetensorsContent Distill::Impl::state() const {
  SafetensorsContent content;
  content.metadata = {{"format", kFormat}, {"settings", fingerprint()}};
  for (const auto& [name, parameter] : student.named_parameters())
    content.tensors.emplace_back(std::string(kStudentPrefix) + name, parameter.value().clone());
  append_with_prefix(content, kOptimizerPrefix, adam.state());
  pool.save(content);
  judge.save(content);
  content.tensors.emplace_back(
      "position", tensor_of({static_cast<double>(step), static_cast<double>(bad_steps), seconds_so_far, sum.given,
                             sum.pool, static_cast<double>(summed)}));
  std::vector<double> curve, scores;
  for (const DistillPoint& p : history)
    curve.insert(curve.end(), {static_cast<double>(p.step), p.given, p.pool, p.seconds});
  for (const DistillValidation& v : validations)
    scores.insert(scores.end(),
                  {static_cast<double>(v.step), v.score.style_share, v.score.paper_share, v.score.content_ratio});
  content.tensors.emplace_back("history", tensor_of(curve));
  content.tensors.emplace_back("validations", tensor_of(scores));
  return content;
}

void Distill::Impl::load_state(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  const std::string file = path.string();
  MINIDL_CHECK(metadata_of(reader, "format") == kFormat, "[resume] '{}' is not a state file of a distillation", file);
  check_same_settings(reader, fingerprint());
  const std::vector<double> position = numbers_of(reader, "position"), curve = numbers_of(reader, "history"),
                            scores = numbers_of(reader, "validations");
  MINIDL_CHECK(position.size() == kPositionNumbers && position[0] >= 0 &&
                   position[0] <= static_cast<double>(settings.steps) && curve.size() % kPointNumbers == 0 &&
                   scores.size() % kValidationNumbers == 0,
               "[resume] '{}' is damaged: its position in the run makes no sense", file);
  const std::vector<Tensor> values = parameters_of(reader, student);
  DistillPool loaded_pool(settings);
  loaded_pool.load(reader);
  adam.load_state(state_with_prefix(reader, kOptimizerPrefix));
  judge.load(reader);
  pool = std::move(loaded_pool);
  auto value = values.begin();
  for (auto [name, parameter] : student.named_parameters()) parameter.mutable_value().copy_from(*value++);
  step = static_cast<int64_t>(position[0]);
  bad_steps = static_cast<int>(position[1]);
  seconds_before = seconds_so_far = position[2];
  sum = {.given = position[3], .pool = position[4]};
  summed = static_cast<int64_t>(position[5]);
  history.clear();
  for (auto p = curve.begin(); p != curve.end(); p += kPointNumbers)
    history.push_back({static_cast<int64_t>(p[0]), p[1], p[2], p[3]});
  validations.clear();
  for (auto v = scores.begin(); v != scores.end(); v += kValidationNumbers)
    validations.push_back({static_cast<int64_t>(v[0]), {v[1], v[2], v[3]}});
}

}  // namespace minidl
