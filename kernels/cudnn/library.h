#pragma once
#include <cudnn_backend.h>

/// cuDNN 9, loaded when the program runs: nothing of it is linked, so a machine without it has the other engines.
namespace minidl::cudnn {

// clang-format off
#define MINIDL_CUDNN_FUNCTIONS(X) \
  X(cudnnGetVersion) X(cudnnGetErrorString) X(cudnnGetLastErrorString) \
  X(cudnnCreate) X(cudnnSetStream) \
  X(cudnnBackendCreateDescriptor) X(cudnnBackendDestroyDescriptor) X(cudnnBackendSetAttribute) \
  X(cudnnBackendGetAttribute) X(cudnnBackendFinalize) X(cudnnBackendExecute)
// clang-format on

/// The functions that are used, by their own names.
struct Library {
#define MINIDL_CUDNN_MEMBER(function) decltype(&::function) function = nullptr;
  MINIDL_CUDNN_FUNCTIONS(MINIDL_CUDNN_MEMBER)
#undef MINIDL_CUDNN_MEMBER
};

/// Looked for once. Throws Error, each time, when it cannot be used.
const Library& library();

/// Throws Error with what was tried and what cuDNN says of it, unless it succeeded.
void check(cudnnStatus_t status, const char* what);

}  // namespace minidl::cudnn
