#pragma once
#include <cstdint>

namespace minidl::cpu {

/// Size of a processor's second cache in floats, by which loops are blocked; 128 Ki when the system does not tell.
int64_t l2_floats();

}  // namespace minidl::cpu
