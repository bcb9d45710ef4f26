#include <minidl/apps/distill_judge.h>
#include <minidl/apps/saved_run.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/precision_scope.h>

#include <algorithm>
#include <cmath>

namespace minidl {
namespace {

constexpr double kPaperBeta = 1000.0;
constexpr size_t kReferenceNumbers = 6;
// Keeps a share finite where the teacher's own picture is no better than the content picture.
constexpr double kLeastReduction = 1e-3;

double share_of(double start, double reached, double teacher) {
  return std::log(start / reached) / std::max(kLeastReduction, std::log(start / teacher));
}

}  // namespace

DistillJudge::DistillJudge(layers::Vgg& teacher, const DistillSettings& settings, std::vector<DistillPair> pairs,
                           int iterations)
    : teacher_(teacher),
      teacher_precision_(settings.teacher_precision),
      student_precision_(settings.student_precision),
      pairs_(std::move(pairs)) {
  transfer_.content_layers = settings.content_layers;
  transfer_.style_layers = settings.style_layers;
  transfer_.pooling = settings.teacher_pooling;
  transfer_.alpha = settings.alpha;
  transfer_.beta = settings.beta;
  transfer_.tv = settings.tv;
  transfer_.size = 0;
  transfer_.scales = 1;
  transfer_.iterations = iterations;
}

Tensor DistillJudge::optimise(layers::Vgg& network, Precision precision, const DistillPair& pair) const {
  const execution::PrecisionScope scope(precision);
  Tensor picture =
      Gatys(network, transfer_, {.content = pair.content, .styles = {{pair.style}}, .init = {}}).run().picture;
  clamp(picture, 0.0f, 255.0f);
  return picture;
}

DistillVerdict DistillJudge::verdict(const DistillPair& pair, const Tensor& picture) const {
  const execution::PrecisionScope scope(teacher_precision_);
  GatysSettings measure = transfer_;
  measure.alpha = measure.beta = 1.0;
  const GatysLosses losses = GatysObjective(teacher_, measure, pair.content, {{pair.style}}).evaluate(picture, nullptr);
  DistillVerdict verdict{.style = losses.style, .content = losses.content};
  for (const layers::WeightedLayer& layer : measure.content_layers)
    verdict.paper += layer.weight * losses.content_layers.at(layer.name);
  for (const layers::WeightedLayer& layer : measure.style_layers)
    verdict.paper += kPaperBeta * layer.weight * losses.style_layers.at(layer.name);
  return verdict;
}

DistillScore DistillJudge::score(layers::Vgg& student) {
  if (references_.empty()) {
    teacher_pictures_.clear();
    for (const DistillPair& pair : pairs_) {
      teacher_pictures_.push_back(optimise(teacher_, teacher_precision_, pair));
      references_.push_back({verdict(pair, pair.content), verdict(pair, teacher_pictures_.back())});
    }
  }
  pictures_.clear();
  DistillScore score;
  double content = 0;
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const auto& [start, teacher] = references_[i];
    pictures_.push_back(optimise(student, student_precision_, pairs_[i]));
    const DistillVerdict own = verdict(pairs_[i], pictures_.back());
    score.style_share += share_of(start.style, own.style, teacher.style);
    score.paper_share += share_of(start.paper, own.paper, teacher.paper);
    content += std::log(own.content / teacher.content);
  }
  const auto count = static_cast<double>(pairs_.size());
  score.style_share /= count;
  score.paper_share /= count;
  score.content_ratio = std::exp(content / count);
  return score;
}

void DistillJudge::save(SafetensorsContent& content) const {
  std::vector<double> numbers;
  for (const auto& [start, reached] : references_) {
    for (const DistillVerdict& v : {start, reached}) numbers.insert(numbers.end(), {v.style, v.content, v.paper});
  }
  content.tensors.emplace_back("references", tensor_of(numbers));
}

void DistillJudge::load(const SafetensorsReader& reader) {
  const std::vector<double> numbers = numbers_of(reader, "references");
  MINIDL_CHECK(numbers.empty() || numbers.size() == pairs_.size() * kReferenceNumbers,
               "[resume] '{}' is damaged: it has {} verdicts for {} validation pairs", reader.path().string(),
               numbers.size() / kReferenceNumbers, pairs_.size());
  references_.clear();
  for (auto v = numbers.begin(); v != numbers.end(); v += kReferenceNumbers)
    references_.push_back({{v[0], v[1], v[2]}, {v[3], v[4], v[5]}});
}

std::string DistillJudge::fingerprint() const {
  std::string text = "validation_iterations " + std::to_string(transfer_.iterations) + " validation_pairs ";
  for (const DistillPair& pair : pairs_)
    text += std::to_string(picture_hash(pair.content)) + ":" + std::to_string(picture_hash(pair.style)) + ",";
  return text;
}

}  // namespace minidl
