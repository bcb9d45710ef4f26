#include <minidl/core/profile.h>
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/elementwise.h>

#include <utility>

namespace minidl {
namespace {

constexpr char kRoute = 0;  // what Tensor::keep_derived() keeps one under

/// The engine when it pools as it goes, else nullptr.
const Conv2dEngine* pooling_engine(const Conv2dProblem& problem, Device device) {
  if (!execution::verify_engine().empty()) return nullptr;  // what is repeated are single operations
  const Conv2dEngine& engine = conv2d_engine_for(problem, device);
  return engine.pools && engine.pools(problem) ? &engine : nullptr;
}

void check_route(const Conv2dDesc& desc, const PoolRoute& route, const char* op) {
  const Shape pooled = pool_of(desc, route.kind).output_shape();
  const bool fits = route.kind == PoolKind::max
                        ? route.choice && route.choice.dtype() == Dtype::u8 && route.choice.shape() == pooled
                        : route.positive && route.positive.shape() == desc.output_shape();
  MINIDL_CHECK(fits && route.shape == desc.output_shape(), "[{}] the route does not belong to {}; make it with PoolRoute::make", op, desc);
}

/// Whether a pool gives a tensor of this shape.
bool gives(const PoolRoute& route, const Shape& output) {
  const Shape& whole = route.shape;
  return whole.rank() == 4 && output == Shape{whole[0], whole[1] / 2, whole[2] / 2, whole[3]};
}

}  // namespace

void check_input_route(const char* op, const Conv2dDesc& desc, const PoolRoute* input_route) {
  MINIDL_CHECK(!input_route || gives(*input_route, desc.input_shape()),
               "[{}] the pool of {} did not give the input {}", op, input_route->shape, desc.input_shape());
}

void leave_route(const Tensor& output, const PoolRoute& route) {
  output.keep_derived(&kRoute, std::make_shared<const PoolRoute>(route));
}
std::shared_ptr<const PoolRoute> route_of(const Tensor& output) {
  auto route = std::static_pointer_cast<const PoolRoute>(output.derived(&kRoute));
  return route && gives(*route, output.shape()) ? route : nullptr;
}

PoolRoute PoolRoute::make(const Conv2dDesc& desc, PoolKind kind, Device device) {
  PoolRoute route{.kind = kind, .choice = {}, .positive = {}, .shape = desc.output_shape()};
  if (kind == PoolKind::max) {
    route.choice = Tensor::empty(pool_of(desc, kind).output_shape(), Dtype::u8, device);
  } else {
    route.positive = BitMask(desc.output_shape(), device);
  }
  return route;
}

Pool2dDesc pool_of(const Conv2dDesc& desc, PoolKind kind) {
  return Pool2dDesc::make(kind, desc.output_shape(), 2, 2, {2, 2, {}});
}

bool pools_as_it_goes(const Conv2dProblem& problem, Device device) {
  return pooling_engine(problem, device) != nullptr;
}

void conv2d_pool2d_forward(const Conv2dDesc& desc, PoolKind kind, const Tensor& input, const Tensor& weight,
                           const Tensor& bias, Tensor& output, PoolRoute* route) {
  const char* op = "conv2d_pool2d";
  const Pool2dDesc pool = pool_of(desc, kind);
  check_shape(input, desc.input_shape(), op, "input");
  check_shape(weight, desc.weight_shape(), op, "weight");
  if (bias) check_shape(bias, {desc.out_c}, op, "bias");
  check_shape(output, pool.output_shape(), op, "output");
  if (route) check_route(desc, *route, op);
  common_device(op, input, weight, bias, output, route ? route->choice : Tensor());

  BitMask* positive = route && kind == PoolKind::average ? &route->positive : nullptr;
  uint8_t* choice = route && kind == PoolKind::max ? route->choice.data<uint8_t>() : nullptr;
  const Conv2dProblem problem{desc, Conv2dDirection::forward};
  if (const Conv2dEngine* engine = pooling_engine(problem, output.device())) {
    const ProfileRange range("conv2d", "forward");
    run_on_device(output.device(), [&] {
      engine->forward(desc, {.input = input.data<float>(),
                             .weight = weight,
                             .bias = bias ? bias.data<float>() : nullptr,
                             .activation = Activation::relu,
                             .output = nullptr,
                             .relu_mask = positive ? positive->data() : nullptr,
                             .pooled_output = output.data<float>(),
                             .choice = choice,
                             .max_pooled = kind == PoolKind::max,
                             .input_tensor = &input,
                             .written_tensor = &output});
    });
    return;
  }
  Tensor whole = Tensor::empty(desc.output_shape(), Dtype::f32, input.device());
  conv2d_forward(desc, input, weight, bias, Activation::relu, whole, positive);
  Tensor none;
  pool2d_forward(pool, whole, output, choice ? route->choice : none);
  if (!choice) return;
  MINIDL_ON(output.device(), close_choice(output.count(), output.data<float>(), choice));
}

void conv2d_pool2d_backward_data(const Conv2dDesc& desc, const Tensor& weight, const PoolRoute& route,
                                 const Tensor& grad_output, const Accumulate& how, Tensor& grad_input,
                                 const GramContribution* added, const PoolRoute* input_route) {
  const char* op = "conv2d_pool2d backward_data";
  check_shape(weight, desc.weight_shape(), op, "weight");
  check_shape(grad_output, pool_of(desc, route.kind).output_shape(), op, "grad_output");
  check_shape(grad_input, desc.input_shape(), op, "grad_input");
  check_accumulate(how, grad_input, op);
  check_route(desc, route, op);
  common_device(op, weight, grad_output, grad_input, route.choice);
  check_added(op, desc, grad_input, added);
  check_input_route(op, desc, input_route);
  const Conv2dProblem problem{desc, Conv2dDirection::backward_data};
  const Conv2dEngine* engine = pooling_engine(problem, grad_input.device());
  if (!engine) {
    conv2d_backward_data(desc, weight, unpool_gradient(desc, route, grad_output), how, grad_input, added,
                         input_route);
    return;
  }
  const ProfileRange range("conv2d", "backward_data");
  const bool is_max = route.kind == PoolKind::max;
  run_on_device(grad_input.device(), [&] {
    engine->backward_data(desc, {.weight = weight,
                                 .grad_output = grad_output.data<float>(),
                                 .beta = how.beta,
                                 .relu_mask = mask_span(how),
                                 .grad_input = grad_input.data<float>(),
                                 .choice = is_max ? std::as_const(route.choice).data<uint8_t>() : nullptr,
                                 .positive = is_max ? BitSpan() : route.positive.span(),
                                 .added_matrix = added ? &added->matrix : nullptr,
                                 .added_features = added ? &added->features : nullptr,
                                 .grad_output_tensor = &grad_output,
                                 .written_tensor = &grad_input,
                                 .input_route = input_route});
  });
}

Tensor unpool_gradient(const Conv2dDesc& desc, const PoolRoute& route, const Tensor& grad_output) {
  check_route(desc, route, "unpool_gradient");
  Tensor grad = Tensor::empty(desc.output_shape(), Dtype::f32, grad_output.device());
  const bool is_max = route.kind == PoolKind::max;  // a choice of 4 is none of a window's pixels
  pool2d_backward(pool_of(desc, route.kind), route.choice, grad_output, {0.0f, is_max ? nullptr : &route.positive},
                  grad);
  return grad;
}

}  // namespace minidl
