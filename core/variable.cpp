#include <minidl/core/variable.h>

namespace minidl {
namespace {

std::shared_ptr<GradSlot> make_slot(const Tensor& value) {
  auto slot = std::make_shared<GradSlot>();
  slot->shape = value.shape();
  slot->device = value.device();
  return slot;
}

}  // namespace

Variable::Variable(Tensor value, bool requires_grad)
    : Variable(value, requires_grad ? make_slot(value) : std::shared_ptr<GradSlot>()) {}

Variable::Variable(Tensor value, std::shared_ptr<GradSlot> slot)
    : state_(std::make_shared<State>(State{std::move(value), std::move(slot)})) {}

Variable::State& Variable::state() const {
  MINIDL_CHECK(state_, "[variable] an undefined variable was used");
  return *state_;
}

const Tensor& Variable::value() const { return state().value; }
Tensor& Variable::mutable_value() { return state().value; }
const std::shared_ptr<GradSlot>& Variable::slot() const { return state().slot; }

void Variable::set_requires_grad(bool requires_grad) {
  if (requires_grad != this->requires_grad()) state().slot = requires_grad ? make_slot(value()) : nullptr;
}

const Tensor& Variable::grad() const {
  static const Tensor kNone;
  return slot() ? slot()->grad : kNone;
}

Tensor& Variable::mutable_grad() {
  MINIDL_CHECK(slot(), "[variable] no gradient: the variable {} does not require one", shape());
  return slot()->grad;
}

void Variable::zero_grad() {
  if (slot()) slot()->grad = Tensor();
}

}  // namespace minidl
