#include <minidl/kernels/cudnn/graph.h>

#include <array>
#include <vector>

namespace minidl::cudnn {
namespace {

using Pair = std::array<int64_t, 2>;
using Extents = std::array<int64_t, 4>;

constexpr auto kFloat = CUDNN_DATA_FLOAT;

template <size_t kCount>
std::span<const int64_t> span_of(const std::array<int64_t, kCount>& values) {
  return values;
}

/// Where an operation's attributes stand.
struct ConvolutionNames {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t convolution, input, weight, output, alpha, beta;
};
ConvolutionNames names_of(Conv2dDirection direction) {
  switch (direction) {
    case Conv2dDirection::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case Conv2dDirection::backward_data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    default:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  }
}

class GraphBuilder {
 public:
  explicit GraphBuilder(const Request& request) : request_(request) {}

  std::deque<Descriptor> build() {
    const Conv2dDesc& d = request_.desc;
    if (!request_.bias) {
      convolve(tensor(kOutput, d.output_shape()));
    } else {
      const Descriptor& products = between(d.output_shape());
      convolve(products);
      const Descriptor& bias = tensor(kBias, {1, 1, 1, d.out_c});
      const Descriptor& output = tensor(kOutput, d.output_shape());
      const Descriptor& sums = request_.relu ? between(d.output_shape()) : output;
      apply(CUDNN_POINTWISE_ADD, products, &bias, sums);
      if (request_.relu) apply(CUDNN_POINTWISE_RELU_FWD, sums, nullptr, output);
    }
    Descriptor& graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set_handles(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
    graph.finalize("the operation graph");
    return std::move(parts_);
  }

 private:
  Descriptor& make(cudnnBackendDescriptorType_t type) { return parts_.emplace_back(type); }

  /// Of shape [a, b, c, d], which lie in memory in this order; cuDNN calls them N, H, W, C and numbers N, C, H, W.
  Descriptor& unfinished_tensor(int64_t name, const Shape& shape) {
    const int64_t h = shape[1], w = shape[2], c = shape[3];
    Descriptor& tensor = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, name);
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, kFloat);
    tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, span_of(Extents{shape[0], c, h, w}));
    tensor.set(CUDNN_ATTR_TENSOR_STRIDES, span_of(Extents{h * w * c, 1, w * c, c}));
    tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{request_.aligned ? 16 : 4});
    return tensor;
  }
  const Descriptor& tensor(TensorName name, const Shape& shape) {
    Descriptor& tensor = unfinished_tensor(name, shape);
    tensor.finalize("a tensor");
    return tensor;
  }
  /// What one operation gives to the next one, and never lies in memory.
  const Descriptor& between(const Shape& shape) {
    Descriptor& tensor = unfinished_tensor(next_name_++, shape);
    tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
    tensor.finalize("a tensor between operations");
    return tensor;
  }

  void convolve(const Descriptor& output) {
    const Window& window = request_.desc.window;
    const Padding& padding = window.padding;
    Descriptor& convolution = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, kFloat);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
    convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, span_of(Pair{window.stride_h, window.stride_w}));
    convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, span_of(Pair{padding.top, padding.left}));
    convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, span_of(Pair{padding.bottom, padding.right}));
    convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, span_of(Pair{1, 1}));
    convolution.finalize("the convolution");

    const ConvolutionNames names = names_of(request_.direction);
    Descriptor& operation = make(names.type);
    operation.set(names.convolution, convolution);
    operation.set(names.input, tensor(kInput, request_.desc.input_shape()));
    operation.set(names.weight, tensor(kWeight, request_.desc.weight_shape()));
    operation.set(names.output, output);
    operation.set(names.alpha, 1.0f);
    operation.set(names.beta, request_.beta);
    operation.finalize("the operation of the convolution");
    operations_.push_back(operation.handle());
  }

  /// output = mode(x), or mode(x, b).
  void apply(cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* b, const Descriptor& output) {
    Descriptor& function = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    function.set(CUDNN_ATTR_POINTWISE_MODE, mode);
    function.set(CUDNN_ATTR_POINTWISE_MATH_PREC, kFloat);
    function.set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_PROPAGATE_NAN);  // the ReLU of a NaN is a NaN
    function.finalize("a pointwise function");
    Descriptor& operation = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, output);
    operation.finalize("a pointwise operation");
    operations_.push_back(operation.handle());
  }

  const Request& request_;
  std::deque<Descriptor> parts_;  // stay where they are as others are added
  std::vector<cudnnBackendDescriptor_t> operations_;
  int64_t next_name_ = kBias + 1;
};

}  // namespace

std::deque<Descriptor> operation_graph(const Request& request) {
  return GraphBuilder(request).build();
}

}  // namespace minidl::cudnn
