#pragma once
#include <minidl/core/bit_mask.h>

#include <functional>
#include <memory>
#include <vector>

namespace minidl {

/// A contribution to a gradient that has not been computed yet, for example the product F S of a Gram node. Whoever
/// writes the gradient next may fuse it into its own pass (kinds it knows); otherwise it is added when the gradient is
/// read.
class DeferredGrad {
 public:
  virtual ~DeferredGrad() = default;
  /// grad = beta * grad + (relu_mask ? contribution : 0); without a mask everything is added.
  virtual void add_to(Tensor& grad, float beta, const BitMask* relu_mask) = 0;
};

/// Where the gradient of one variable is collected. Outlives the variable's value: the tape holds slots, not values.
struct GradSlot {
  Tensor grad;        // undefined until the first writer; same shape as the value, f32
  BitMask relu_mask;  // of a ReLU output: where it is positive; elsewhere writers add nothing
  std::vector<std::unique_ptr<DeferredGrad>> deferred;  // contributions still to be added
  Shape shape;
  Device device;
};

/// Computes rows [begin, end) of a value [n, h, w, c] anew, [n, end - begin, w, c]: the same bytes as in the value or,
/// of features kept in bf16, rounded ones. All
/// of them, or n is 1; `begin` is a multiple of kRecomputeUnit.
using Recompute = std::function<Tensor(int64_t begin, int64_t end)>;
constexpr int64_t kRecomputeUnit = 8;

/// A tensor that may have a gradient. Copying copies the handle. A variable made by the user with `requires_grad` is a
/// leaf: its gradient adds up over backward passes until zero_grad(). Results of operations get their gradient only
/// while Tape::backward runs.
class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor value, bool requires_grad = false);
  /// Result of a recorded operation (see record() in tape.h).
  Variable(Tensor value, std::shared_ptr<GradSlot> slot);

  explicit operator bool() const { return state_ != nullptr; }
  const Tensor& value() const;
  /// For optimisers and loaders that write parameters in place. A tensor of another shape or device may only be put in
  /// its place while requires_grad is off: the gradient's slot belongs to the old one.
  Tensor& mutable_value();
  const Shape& shape() const { return value().shape(); }

  bool requires_grad() const { return slot() != nullptr; }
  /// Of a leaf; switching it off drops the gradient.
  void set_requires_grad(bool requires_grad);
  /// The collected gradient; undefined when nothing was written.
  const Tensor& grad() const;
  Tensor& mutable_grad();
  void zero_grad();

  const std::shared_ptr<GradSlot>& slot() const;
  /// Whether somebody else holds this variable or its tensor's storage.
  bool is_shared() const { return state_.use_count() > 1 || value().is_shared(); }

  /// How the value is computed anew; empty: not at all. What a backward pass reads of such a value is not kept for it
  /// (see Saved).
  const Recompute& recompute() const { return state().recompute; }
  void set_recompute(Recompute recompute) { state().recompute = std::move(recompute); }
  bool same_as(const Variable& other) const { return state_ == other.state_; }

 private:
  struct State {
    Tensor value;
    std::shared_ptr<GradSlot> slot;
    Recompute recompute = {};
  };
  State& state() const;
  std::shared_ptr<State> state_;
};

}  // namespace minidl
