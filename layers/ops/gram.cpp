#include <minidl/kernels/gram.h>
#include <minidl/layers/ops.h>

#include <algorithm>
#include <cmath>

namespace minidl::ops {
namespace {

/// 1 / M.
float per_position(const Shape& features) {
  return 1.0f / static_cast<float>(features[1] * features[2]);
}

class StyleLossNode final : public Node {
 public:
  /// The gradient of features is 1 / weight * features x matrix [n,c,c].
  StyleLossNode(const Variable& features, Tensor matrix, float weight)
      : features_(features), matrix_(std::move(matrix)), weight_(weight) {}
  const char* name() const override { return "style_loss"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    grads.defer(0, std::make_unique<GramTerm>(std::move(features_), std::move(matrix_), grad_output.item() / weight_));
  }

 private:
  Saved features_;
  Tensor matrix_;
  float weight_;
};

}  // namespace

void GramTerm::add_to(Tensor& grad, float beta, const BitMask* relu_mask) {
  features_.for_parts("gram", [&](const Tensor& part, int64_t begin, int64_t end) {
    Tensor rows = rows_of(grad, begin, end);
    const BitMask mask = relu_mask ? rows_of(*relu_mask, begin, end) : BitMask();
    gram_backward_symmetric(part, matrix_, factor_, {beta, mask ? &mask : nullptr}, rows);
  });
}

std::unique_ptr<GramTerm> GramTerm::take(const Conv2dDesc& desc, GradSink& grads, Device device) {
  auto& deferred = grads.deferred(0);
  const auto found = std::find_if(deferred.begin(), deferred.end(), [](const auto& term) {
    const auto* const of_gram = dynamic_cast<const GramTerm*>(term.get());
    // What is computed anew is so in parts, which are never there together.
    return of_gram && of_gram->factor_ == 1.0f && !of_gram->features_.is_recomputed();
  });
  if (found == deferred.end() || !adds_as_it_goes(desc, device)) return nullptr;
  std::unique_ptr<GramTerm> term(static_cast<GramTerm*>(found->release()));
  deferred.erase(found);
  return term;
}

Tensor gram_per_position(const Tensor& features) {
  const Shape& shape = features.shape();
  MINIDL_CHECK(shape.rank() == 4 && shape.count() > 0, "[gram] features {} must be [n,h,w,c] and not empty", shape);
  Tensor gram = Tensor::empty({shape[0], shape[3], shape[3]}, Dtype::f32, features.device());
  gram_forward(features, per_position(shape), gram);
  return gram;
}

Variable style_loss(const Variable& features, const Tensor& target, float factor, float weight) {
  const StyleTerm term{features, target, factor, weight};
  return style_losses({&term, 1}).front();
}

namespace {

void check_style(const Variable& features, const Tensor& target, float weight) {
  const Shape& shape = features.shape();
  MINIDL_CHECK(shape.rank() == 4 && shape.count() > 0, "[style_loss] features {} must be [n,h,w,c] and not empty",
               shape);
  const int64_t n = shape[0], c = shape[3];
  MINIDL_CHECK(target.shape() == Shape({1, c, c}) || target.shape() == Shape({n, c, c}),
               "[style_loss] target {} does not fit features {}: it must be [1,{},{}] or [{},{},{}]", target.shape(),
               shape, c, c, n, c, c);
  MINIDL_CHECK(weight != 0 && std::isfinite(weight), "[style_loss] weight is {}, it must be finite and not 0", weight);
}

/// Of the mean over the batch: loss = this / 4 * the sum of squares.
double scale_of(const StyleTerm& term) {
  const Shape& shape = term.features.shape();
  return term.factor / static_cast<double>(shape[3] * shape[3] * shape[0]);
}

}  // namespace

std::vector<Variable> style_losses(std::span<const StyleTerm> terms) {
  std::vector<Tensor> differences;
  std::vector<GramDifference> all;
  differences.reserve(terms.size());
  for (const StyleTerm& term : terms) {
    check_style(term.features, term.target, term.weight);
    const Tensor& features = term.features.value();
    const Shape& shape = features.shape();
    const auto positions = static_cast<double>(shape[1] * shape[2]);
    Tensor& difference =
        differences.emplace_back(Tensor::empty({shape[0], shape[3], shape[3]}, Dtype::f32, features.device()));
    all.push_back({features, per_position(shape), term.target,
                   static_cast<float>(term.weight * scale_of(term) / positions), difference});
  }
  const std::vector<Number> squares = gram_differences(all);
  std::vector<Variable> losses;
  for (size_t i = 0; i < terms.size(); ++i) {
    const StyleTerm& term = terms[i];
    losses.push_back(record(squares[i].scaled(scale_of(term) / 4.0), {term.features}, [&](const Wants&) {
      return std::make_unique<StyleLossNode>(term.features, std::move(differences[i]), term.weight);
    }));
  }
  return losses;
}

}  // namespace minidl::ops
