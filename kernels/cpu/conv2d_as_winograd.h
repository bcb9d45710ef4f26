#pragma once
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/cpu/winograd.h>

namespace minidl::cpu {

/// What the engines that compute in Winograd's tiles share: which problems are theirs, and how both directions become
/// one WinogradConv. Such an engine is a function that computes conv.output.
using WinogradRun = void (*)(const WinogradConv& conv, const WinogradFilters& filters);

/// nullptr, or why a problem has other filters than 3x3 with stride 1, or too few channels.
const char* winograd_decline(const Conv2dProblem& problem);

/// The convolution that computes a direction, without its pointers. Backward-data is one of grad_output with the
/// filters turned by 180° and the channels exchanged.
WinogradConv winograd_conv(const Conv2dProblem& problem);

void winograd_forward(const Conv2dDesc& desc, const Conv2dForwardArgs& args, WinogradRun run);
void winograd_backward_data(const Conv2dDesc& desc, const Conv2dBackwardDataArgs& args, WinogradRun run);
/// Floats that these allocate beside what `run` does.
int64_t winograd_folded_count(const Conv2dProblem& problem);

}  // namespace minidl::cpu
