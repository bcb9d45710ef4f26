#include <minidl/core/profile.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/smooth.h>

namespace minidl {
namespace {

void check_input(const Tensor& x, int64_t width) {
  check_rank(x, 4, "smooth", "x");
  MINIDL_CHECK(width > 0 && width % 2 == 1, "[smooth] width is {}, it must be odd and positive", width);
}

}  // namespace

void smooth(const Tensor& x, float strength, int64_t width, float factor, Tensor& output) {
  check_input(x, width);
  check_shape(output, x.shape(), "smooth", "output");
  MINIDL_CHECK(!output.shares_storage_with(x) || x.count() == 0, "[smooth] output is x; give it a tensor of its own");
  const ProfileRange range("smooth");
  MINIDL_ON(common_device("smooth", x, output),
            smooth(x.shape(), {strength, width, factor}, x.data<float>(), output.data<float>()));
}

void smooth_product(const Tensor& x, float strength, int64_t width, Tensor& product) {
  check_input(x, width);
  MINIDL_CHECK(product && product.dtype() == Dtype::f64 && product.shape() == Shape{1},
               "[smooth] the product is {} of {}, it must be [1] of f64", product.shape(), to_string(product.dtype()));
  const ProfileRange range("smooth_product");
  MINIDL_ON(common_device("smooth", x, product),
            smooth_product(x.shape(), {strength, width, 1.0f}, x.data<float>(), product.data<double>()));
}

}  // namespace minidl
