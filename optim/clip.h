#pragma once
#include <minidl/core/variable.h>

#include <vector>

namespace minidl::optim {

/// sqrt of the sum of squares of all gradients together; parameters without one count as 0.
double gradient_norm(const std::vector<Variable>& parameters);
/// Shortens the gradients, whose norm is `norm`, to `longest` when they are longer; 0: they stay (Pascanu, Mikolov,
/// Bengio 2013, algorithm 1).
void clip_gradients(const std::vector<Variable>& parameters, double norm, double longest);

}  // namespace minidl::optim
