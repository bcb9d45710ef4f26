#pragma once
#include <minidl/core/variable.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

namespace minidl {

/// Rows [begin, end) of [n, h, w, c], sharing storage: all of them, or n is 1. Of a mask, begin * w * c is a multiple of
/// 8; an undefined one stays undefined.
Tensor rows_of(const Tensor& x, int64_t begin, int64_t end);
BitMask rows_of(const BitMask& mask, int64_t begin, int64_t end);

/// A value that a node keeps for its backward pass: the tensor, or of a variable that can be computed anew only how.
/// Reading throws Error when the tensor's storage was opened for writing since; `op` names the operation in the error.
class Saved {
 public:
  Saved() = default;
  explicit Saved(Tensor tensor) : version_(tensor.version()), tensor_(std::move(tensor)) {}
  explicit Saved(const Variable& variable);
  explicit operator bool() const { return tensor_ || recompute_; }
  bool is_recomputed() const { return static_cast<bool>(recompute_); }
  /// Const, so that reading its data does not count as opening it for writing.
  const Tensor get(const char* op) const { return recompute_ ? recompute_(0, height_) : kept(op); }
  /// Rows [begin, end) of a value [1, h, w, c].
  Tensor rows(const char* op, int64_t begin, int64_t end) const;
  /// Calls use(part, begin, end) for all rows of the value in turn: for a tensor or several pictures once, with all of
  /// it, of a picture that is computed anew with parts of kPartBytes, which stay in a cache.
  void for_parts(const char* op, const std::function<void(const Tensor& part, int64_t begin, int64_t end)>& use) const;
  static constexpr int64_t kPartBytes = 4 << 20;

 private:
  const Tensor& kept(const char* op) const;

  uint64_t version_ = 0;
  Tensor tensor_;  // undefined: recompute_ stands for it
  Recompute recompute_;
  int64_t pictures_ = 0, height_ = 0, row_bytes_ = 0;  // of what is computed anew
};

/// Which inputs of an operation want a gradient, in the order in which they were given to record().
class Wants {
 public:
  static constexpr size_t kMaxInputs = 32;

  explicit Wants(uint32_t bits) : bits_(bits) {}
  bool operator()(int input) const { return (bits_ >> input & 1u) != 0; }
  bool any() const { return bits_ != 0; }

 private:
  uint32_t bits_;
};

/// What a node writes its gradients to.
class GradSink {
 public:
  /// grad = beta * grad + (relu_mask ? contribution : 0). `grad` has the input's shape; with beta 0 its contents are
  /// undefined and are overwritten. `relu_mask` says where the input is positive when it is a ReLU output, else
  /// nullptr.
  struct Slot {
    Tensor& grad;
    float beta;
    const BitMask* relu_mask;
  };

  explicit GradSink(std::span<const std::shared_ptr<GradSlot>> inputs) : inputs_(inputs) {}
  /// False for a constant or a frozen weight: its gradient must not be computed.
  bool wants(int input) const { return inputs_[static_cast<size_t>(input)] != nullptr; }
  /// Opens the slot for one writer, who must write all of it. Contributions that were deferred stay deferred.
  Slot slot(int input);
  /// Hands over a contribution, masked as a writer would mask it: true when it became the gradient, because nothing was
  /// written yet, false when it must be added through a slot.
  bool give(int input, const Tensor& grad);
  /// Leaves a contribution to be added later, by the next writer or when the gradient is read.
  void defer(int input, std::unique_ptr<DeferredGrad> term);
  /// Adds what is deferred for `input` now, before a writer that should be the last one.
  void add_deferred(int input);
  /// What is deferred for `input`; a writer that can fuse a term takes it out.
  std::vector<std::unique_ptr<DeferredGrad>>& deferred(int input) {
    return inputs_[static_cast<size_t>(input)]->deferred;
  }

 private:
  std::span<const std::shared_ptr<GradSlot>> inputs_;
};

/// One recorded operation. What its backward pass reads are members (see Saved).
class Node {
 public:
  virtual ~Node() = default;
  virtual const char* name() const = 0;
  /// grad_output has the output's shape; for a ReLU output it is already masked.
  virtual void backward(const Tensor& grad_output, GradSink& grads) = 0;
};

/// The inputs of an operation; an undefined one (no bias) wants nothing.
using Inputs = std::initializer_list<std::reference_wrapper<const Variable>>;

/// A linear tape: recording order is a topological order, so there is no graph search. Nothing is recorded without a
/// current tape (see TapeScope), so inference needs no guard. Scalar losses, first derivatives. Not shared between
/// threads.
class Tape {
 public:
  /// The tape that records on this thread, or nullptr.
  static Tape* current();

  /// Runs the recorded operations in reverse and adds d loss / d leaf to every leaf that requires a gradient, times
  /// `seed`. Every node and intermediate gradient is freed as soon as it was used; afterwards the tape is empty. Throws
  /// Error when `loss` is not a scalar recorded on this tape; the tape is empty then, too.
  void backward(const Variable& loss, float seed = 1.0f);
  /// Puts the operation that gave `result` behind all that were recorded after it, so that its backward pass comes before
  /// theirs and what it defers is there when they write. Nothing for a result that was not recorded. Throws Error when
  /// one of the others uses it.
  void postpone(const Variable& result);
  /// Forgets what was recorded.
  void clear() { entries_.clear(); }
  size_t size() const { return entries_.size(); }

 private:
  friend class TapeScope;
  friend Variable record(Tensor, Inputs, const std::function<std::unique_ptr<Node>(const Wants&)>&, BitMask);
  struct Entry {
    std::unique_ptr<Node> node;
    std::vector<std::shared_ptr<GradSlot>> inputs;
    std::shared_ptr<GradSlot> output;
  };
  std::vector<Entry> entries_;
};

/// Makes `tape` the current one of this thread for the scope's life.
class TapeScope {
 public:
  explicit TapeScope(Tape& tape);
  ~TapeScope();
  TapeScope(const TapeScope&) = delete;
  TapeScope& operator=(const TapeScope&) = delete;

 private:
  Tape* previous_;
};

/// Whether record() would record a node: a tape is current and an input requires a gradient.
bool is_recording(Inputs inputs);

/// The tensor of an operation's input when nobody would notice that the output is written into it: the operation is not
/// recorded, and the caller gave the input up (with std::move, to a parameter that is a value). Otherwise a new one.
Tensor output_over(const Variable& input, Inputs inputs);

/// Wraps the result of an operation. When a tape is current and an input requires a gradient, `make_node` is called
/// with what is wanted and its node is recorded. A defined `relu_mask` says that `output` is max(0, ...) and where it
/// is positive: whoever writes its gradient then masks it.
Variable record(Tensor output, Inputs inputs, const std::function<std::unique_ptr<Node>(const Wants&)>& make_node,
                BitMask relu_mask = {});

}  // namespace minidl
