#include <minidl/apps/distill_student.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/layers/init.h>
#include <minidl/layers/ops.h>

#include <algorithm>
#include <cmath>

namespace minidl {
namespace {

using layers::LayerDescription;
using Kind = LayerDescription::Kind;

// Of random numbers, apart from those of the chain's layers.
constexpr uint64_t kProjectionStreams = uint64_t{1} << 32;

layers::NetworkDescription first_chain(const DistillSettings& settings, const layers::Vgg& teacher) {
  layers::NetworkDescription network = layers::student_description(settings.student);
  network.mean = teacher.description().mean;
  layers::fill_random_weights(network, settings.seed);
  network.layers.resize(network.count_until(settings.taps()));
  return network;
}

const Variable& find(const std::vector<std::pair<std::string, Variable>>& parameters, const std::string& name) {
  return std::find_if(parameters.begin(), parameters.end(), [&](const auto& entry) { return entry.first == name; })
      ->second;
}

std::map<std::string, Variable> first_projections(const DistillSettings& settings, const layers::Vgg& teacher,
                                                  const layers::Vgg& chain) {
  std::map<std::string, Variable> projections;
  uint64_t stream = kProjectionStreams;
  for (const std::string& tap : settings.taps()) {
    const int64_t channels = chain.loss_channels(tap);
    Tensor q = Tensor::empty({teacher.loss_channels(tap), 1, 1, channels});
    Rng rng(settings.seed, stream++);
    rng.fill_normal(q, 0.0f, static_cast<float>(1.0 / std::sqrt(static_cast<double>(channels))));
    projections.emplace(tap, Variable(q, true));
  }
  return projections;
}

}  // namespace

DistillStudent::DistillStudent(const DistillSettings& settings, const layers::Vgg& teacher,
                               std::map<std::string, double> units)
    : settings_(settings),
      chain_(first_chain(settings, teacher)),
      q_(first_projections(settings, teacher, chain_)),
      units_(std::move(units)),
      scaled_mean_(Tensor::empty({3})),
      deployed_(description()) {
  const std::array<float, 3>& mean = teacher.description().mean;
  const auto scaled = [](float value) { return value * (1.0f - 1.0f / kInputUnit); };
  std::transform(mean.begin(), mean.end(), scaled_mean_.data<float>(), scaled);
  deployed_.freeze();
}

std::vector<std::pair<std::string, Variable>> DistillStudent::named_parameters() const {
  std::vector<std::pair<std::string, Variable>> all = chain_.named_parameters();
  for (const auto& [tap, q] : q_) all.emplace_back(tap + ".q", q);
  return all;
}

std::vector<Variable> DistillStudent::parameters() const {
  std::vector<Variable> all;
  for (const auto& [name, parameter] : named_parameters()) all.push_back(parameter);
  return all;
}

std::vector<float> DistillStudent::lr_factors() const {
  std::vector<float> factors;
  for (const Variable& parameter : parameters()) {
    const Shape& shape = parameter.shape();
    const bool is_bias = shape.rank() == 1;  // that of the weight before it
    factors.push_back(is_bias ? factors.back()
                              : 1.0f / std::sqrt(static_cast<float>(shape.count()) / static_cast<float>(shape[0])));
  }
  return factors;
}

Tensor DistillStudent::chain_input(const Tensor& pictures) const {
  Tensor input = Tensor::empty(pictures.shape());
  add_per_channel(1.0f / kInputUnit, pictures, scaled_mean_, input);
  return input;
}

void DistillStudent::visit(const Tensor& pictures, const layers::Vgg::Use& use) {
  chain_.visit(Variable(chain_input(pictures)), settings_.taps(),
               [&](const std::string& tap, const Variable& features) {
                 use(tap, ops::conv2d(features, q_.at(tap), Variable(), {}));
               });
}

Tensor DistillStudent::projection(const std::string& tap) const {
  return layers::projection_of(q_.at(tap).value(), units_.at(tap));
}

layers::NetworkDescription DistillStudent::description() const {
  layers::NetworkDescription network = chain_.description();
  const auto parameters = chain_.named_parameters();
  bool is_first = true;
  for (LayerDescription& layer : network.layers) {
    if (const auto q = q_.find(layer.name); q != q_.end()) {
      layer.imitated_c = q->second.shape()[0];
      layer.projection = projection(layer.name);
    }
    if (layer.kind != Kind::conv) continue;
    layer.weight = find(parameters, layer.name + ".weight").value().clone();
    layer.bias = find(parameters, layer.name + ".bias").value().clone();
    if (is_first) affine(1.0f / kInputUnit, layer.weight, 0.0f, layer.weight);
    is_first = false;
  }
  return network;
}

void DistillStudent::update() {
  const layers::NetworkDescription now = description();
  const auto parameters = deployed_.named_parameters();
  const auto buffers = deployed_.named_buffers();
  for (const LayerDescription& layer : now.layers) {
    for (const auto& [name, tensor] : buffers) {
      if (layer.projection && name == layer.name + ".projection") Tensor(tensor).copy_from(layer.projection);
    }
    if (layer.kind != Kind::conv) continue;
    Variable weight = find(parameters, layer.name + ".weight"), bias = find(parameters, layer.name + ".bias");
    weight.mutable_value().copy_from(layer.weight);
    bias.mutable_value().copy_from(layer.bias);
  }
}

}  // namespace minidl
