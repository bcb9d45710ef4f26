#pragma once

namespace minidl::bench {

/// Operations per second of register-only FMAs on random numbers, all threads together.
double fma_peak(int threads);

}  // namespace minidl::bench
