#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/gemm.h>
#include <minidl/layers/ops.h>

#include <utility>

namespace minidl::ops {
namespace {

class MixRowsNode final : public Node {
 public:
  MixRowsNode(const Shape& rows, const Tensor& shares) : shape_(rows), shares_(shares) {}
  const char* name() const override { return "mix_rows"; }
  void backward(const Tensor& grad_output, GradSink& grads) override {
    const auto [grad_rows, beta, relu_mask] = grads.slot(0);
    const int64_t rows = shape_[0], c = shape_[1], n = shares_.get("mix_rows").count() / rows;
    Tensor grad = Tensor::empty(shape_, Dtype::f32, grad_output.device());
    gemm({.m = rows, .n = c, .k = n, .transpose_a = true, .lda = rows, .ldb = c, .ldc = c},
         shares_.get("mix_rows").data<float>(), grad_output.data<float>(), grad.data<float>(), grad.device());
    accumulate_scaled(1.0f, grad, {beta, relu_mask}, grad_rows);
  }

 private:
  Shape shape_;
  Saved shares_;
};

}  // namespace

Variable mix_rows(const Variable& rows, const Tensor& shares) {
  const Shape& shape = rows.shape();
  const int rank = shares.shape().rank();
  MINIDL_CHECK(shape.rank() == 2 && (rank == 1 || rank == 2) && shares.shape()[rank - 1] == shape[0],
               "[mix_rows] shares {} do not fit rows {}: they must be [rows] or [n,rows], and [rows,c]", shares.shape(),
               shape);
  const int64_t n = rank == 1 ? 1 : shares.shape()[0], c = shape[1];
  Tensor output = Tensor::empty(rank == 1 ? Shape{c} : Shape{n, c}, Dtype::f32, rows.value().device());
  gemm({.m = n, .n = c, .k = shape[0], .lda = shape[0], .ldb = c, .ldc = c}, shares.data<float>(),
       rows.value().data<float>(), output.data<float>(), output.device());
  return record(std::move(output), {rows}, [&](const Wants&) { return std::make_unique<MixRowsNode>(shape, shares); });
}

}  // namespace minidl::ops
