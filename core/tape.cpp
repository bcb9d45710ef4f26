#include <minidl/core/profile.h>
#include <minidl/core/tape.h>

#include <algorithm>
#include <utility>

namespace minidl {
namespace {

thread_local Tape* current_tape = nullptr;

const BitMask* mask_of(const GradSlot& slot) {
  return slot.relu_mask ? &slot.relu_mask : nullptr;
}

/// First writer: allocates and returns beta 0. Later writers add.
float open(GradSlot& slot) {
  if (slot.grad) return 1.0f;
  slot.grad = Tensor::empty(slot.shape, Dtype::f32, slot.device);
  return 0.0f;
}

void flush(GradSlot& slot) {
  for (auto& term : std::exchange(slot.deferred, {})) {
    const float beta = open(slot);
    term->add_to(slot.grad, beta, mask_of(slot));
  }
}

}  // namespace

Tensor rows_of(const Tensor& x, int64_t begin, int64_t end) {
  const Shape& shape = x.shape();
  if (begin == 0 && end == shape[1]) return x;
  return x.reshape({shape[1], shape[2], shape[3]}).slice(begin, end).reshape({1, end - begin, shape[2], shape[3]});
}

BitMask rows_of(const BitMask& mask, int64_t begin, int64_t end) {
  const Shape& shape = mask.shape();
  if (!mask || (begin == 0 && end == shape[1])) return mask;
  return mask.part(begin * shape[2] * shape[3], {1, end - begin, shape[2], shape[3]});
}

Saved::Saved(const Variable& variable) {
  if (!variable.recompute()) {
    *this = Saved(variable.value());
    return;
  }
  const Shape& shape = variable.shape();
  recompute_ = variable.recompute();
  pictures_ = shape[0];
  height_ = shape[1];
  row_bytes_ = shape[2] * shape[3] * static_cast<int64_t>(size_of(variable.value().dtype()));
}

const Tensor& Saved::kept(const char* op) const {
  MINIDL_CHECK(tensor_.version() == version_, "[{}] a tensor {} saved for the backward pass was overwritten", op,
               tensor_.shape());
  return tensor_;
}

Tensor Saved::rows(const char* op, int64_t begin, int64_t end) const {
  if (!recompute_) return rows_of(kept(op), begin, end);
  const int64_t first = begin / kRecomputeUnit * kRecomputeUnit;
  return rows_of(recompute_(first, end), begin - first, end - first);
}

void Saved::for_parts(const char* op,
                      const std::function<void(const Tensor& part, int64_t begin, int64_t end)>& use) const {
  if (!recompute_ || pictures_ > 1) {
    const Tensor whole = get(op);
    use(whole, 0, whole.shape()[1]);
    return;
  }
  const int64_t units = std::max<int64_t>(1, kPartBytes / (row_bytes_ * kRecomputeUnit));
  for (int64_t begin = 0; begin < height_; begin += units * kRecomputeUnit) {
    const int64_t end = std::min(height_, begin + units * kRecomputeUnit);
    use(recompute_(begin, end), begin, end);
  }
}

GradSink::Slot GradSink::slot(int input) {
  GradSlot& slot = *inputs_[static_cast<size_t>(input)];
  const float beta = open(slot);
  return {slot.grad, beta, mask_of(slot)};
}

bool GradSink::give(int input, const Tensor& grad) {
  GradSlot& slot = *inputs_[static_cast<size_t>(input)];
  if (slot.grad) return false;
  slot.grad = grad;
  return true;
}

void GradSink::defer(int input, std::unique_ptr<DeferredGrad> term) {
  deferred(input).push_back(std::move(term));
}

void GradSink::add_deferred(int input) {
  flush(*inputs_[static_cast<size_t>(input)]);
}

Tape* Tape::current() {
  return current_tape;
}

TapeScope::TapeScope(Tape& tape) : previous_(std::exchange(current_tape, &tape)) {}
TapeScope::~TapeScope() {
  current_tape = previous_;
}

void Tape::postpone(const Variable& result) {
  if (!result.requires_grad()) return;
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.output == result.slot(); });
  if (found == entries_.end()) return;
  for (auto later = found + 1; later != entries_.end(); ++later) {
    const bool uses = std::find(later->inputs.begin(), later->inputs.end(), result.slot()) != later->inputs.end();
    MINIDL_CHECK(!uses, "[tape] {} cannot come after {}, which uses its result", found->node->name(),
                 later->node->name());
  }
  std::rotate(found, found + 1, entries_.end());
}

void Tape::backward(const Variable& loss, float seed) {
  std::vector<Entry> entries = std::exchange(entries_, {});
  MINIDL_CHECK(loss && loss.value().count() == 1, "[tape] backward needs a scalar loss");
  bool found = false;
  while (!entries.empty() && !found) {  // what was recorded after the loss cannot contribute to it
    found = entries.back().output == loss.slot();
    if (!found) entries.pop_back();
  }
  MINIDL_CHECK(
      found, "[tape] the loss was not recorded on this tape, or does not depend on anything that requires a gradient");

  std::vector<std::shared_ptr<GradSlot>> pending;
  const BitMask& mask = loss.slot()->relu_mask;
  const bool is_cut_off = mask && !mask.span()[0];  // the loss itself is a ReLU output, and it is 0
  loss.slot()->grad = Tensor::full(loss.shape(), is_cut_off ? 0.0f : seed, loss.value().device());
  while (!entries.empty()) {
    Entry entry = std::move(entries.back());
    entries.pop_back();
    flush(*entry.output);
    const Tensor grad_output = std::exchange(entry.output->grad, {});
    entry.output->relu_mask = {};
    if (!grad_output) continue;  // no path from here to the loss
    const ProfileRange range(entry.node->name(), "backward");
    GradSink sink(entry.inputs);
    entry.node->backward(grad_output, sink);
    for (auto& input : entry.inputs) {
      if (input && !input->deferred.empty()) pending.push_back(std::move(input));
    }
  }
  for (const auto& slot : pending) flush(*slot);  // leaves have no entry at which a deferred term would have been added
}

bool is_recording(Inputs inputs) {
  return Tape::current() && std::any_of(inputs.begin(), inputs.end(),
                                        [](const Variable& input) { return input && input.requires_grad(); });
}

Tensor output_over(const Variable& input, Inputs inputs) {
  if (!is_recording(inputs) && !input.is_shared()) return input.value();
  return Tensor::empty(input.shape(), Dtype::f32, input.value().device());
}

Variable record(Tensor output, Inputs inputs, const std::function<std::unique_ptr<Node>(const Wants&)>& make_node,
                BitMask relu_mask) {
  MINIDL_CHECK(inputs.size() <= Wants::kMaxInputs, "[tape] {} inputs given, an operation has at most {}", inputs.size(),
               Wants::kMaxInputs);
  if (!is_recording(inputs)) return Variable(std::move(output));
  uint32_t bits = 0;
  std::vector<std::shared_ptr<GradSlot>> slots;
  slots.reserve(inputs.size());
  for (const Variable& input : inputs) {
    slots.push_back(input ? input.slot() : nullptr);
    if (slots.back()) bits |= 1u << (slots.size() - 1);
  }
  auto slot = std::make_shared<GradSlot>();
  slot->shape = output.shape();
  slot->device = output.device();
  slot->relu_mask = std::move(relu_mask);
  Tape::current()->entries_.push_back({make_node(Wants(bits)), std::move(slots), slot});
  return Variable(std::move(output), std::move(slot));
}

}  // namespace minidl
