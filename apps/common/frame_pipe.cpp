#include <minidl/apps/common/frame_pipe.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace minidl::apps {
namespace {

/// Bytes read; fewer than asked for only at the end of the input.
size_t read_fully(int descriptor, std::span<uint8_t> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(descriptor, bytes.data() + done, bytes.size() - done);
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    MINIDL_CHECK(count > 0, "standard input cannot be read: {}", std::strerror(errno));
    done += static_cast<size_t>(count);
  }
  return done;
}

void write_fully(int descriptor, std::span<const uint8_t> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    MINIDL_CHECK(count > 0, "standard output cannot be written: {}", std::strerror(errno));
    done += static_cast<size_t>(count);
  }
}

}  // namespace

int64_t pipe_frames(int input, int output, const Extent& size, const std::function<Tensor(const Tensor&)>& paint,
                    const std::function<bool()>& stop) {
  std::vector<uint8_t> bytes(static_cast<size_t>(size.height * size.width * 3));
  for (int64_t frames = 0;; ++frames) {
    const size_t count = stop() ? 0 : read_fully(input, bytes);
    const bool is_cut = count < bytes.size();
    if (count == 0 || (is_cut && stop())) return frames;  // Ctrl-C ends whoever sends the frames, too
    MINIDL_CHECK(!is_cut, "the input ends within frame {}: {} of its {} bytes are missing ({} frames were written)",
                 frames + 1, bytes.size() - count, bytes.size(), frames);
    Tensor picture = Tensor::empty({1, size.height, size.width, 3});
    std::copy(bytes.begin(), bytes.end(), picture.data<float>());
    const Tensor painted = paint(picture);
    const std::span<const float> values = painted.span<float>();
    std::transform(values.begin(), values.end(), bytes.begin(), [](float value) {
      return static_cast<uint8_t>(std::min(255.0f, std::max(0.0f, value)) + 0.5f);  // NaN becomes 0
    });
    write_fully(output, bytes);
  }
}

}  // namespace minidl::apps
