#include <minidl/kernels/cpu/kernels.h>

namespace minidl::cpu {

void lbfgs_first_loop(int64_t pairs, int64_t pitch, const double* columns, double* a) {
  for (int64_t j = pairs; j-- > 0;) {
    const double* const column = columns + j * pitch;
    a[j] /= column[j];
    for (int64_t i = 0; i < j; ++i) a[i] -= a[j] * column[i];
  }
}

void lbfgs_second_loop(int64_t pairs, int64_t pitch, const double* columns, const double* a, double* b) {
  for (int64_t j = 0; j < pairs; ++j) {
    const double* const column = columns + j * pitch;
    double rest = -column[j] * a[j] - b[j];
    for (int64_t i = 0; i < j; ++i) rest -= b[i] * column[i];
    b[j] = rest / column[j];
  }
}

}  // namespace minidl::cpu
