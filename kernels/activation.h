#pragma once

namespace minidl {

/// Nonlinearity that a kernel applies as it writes its output.
enum class Activation { none, relu };

}  // namespace minidl
