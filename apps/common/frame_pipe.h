#pragma once
#include <minidl/core/image.h>

#include <functional>

namespace minidl::apps {

/// Reads raw RGB24 frames (three bytes a pixel, rows from the top) of one size from one file descriptor, gives each as
/// [1, h, w, 3] in [0, 255] to `paint`, and writes what that returns, rounded and bounded, to the other one, until the
/// input ends or `stop` says so, which is asked before each frame and when one is cut. Returns the number of frames
/// written. Throws Error when the input ends within a frame, with the number of bytes that are missing, and when
/// reading or writing fails.
int64_t pipe_frames(int input, int output, const Extent& size, const std::function<Tensor(const Tensor&)>& paint,
                    const std::function<bool()>& stop);

}  // namespace minidl::apps
