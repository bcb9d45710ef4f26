#include <minidl/apps/common/frame_pipe.h>
#include <support/compare.h>
#include <support/temporary_folder.h>
#include <unistd.h>

#include <limits>

namespace minidl::apps {
namespace {

using test::throws_error;

constexpr Extent kSize{.height = 2, .width = 3};
constexpr size_t kBytes = 18;

Tensor same(const Tensor& frame) {
  return frame;
}
bool never() {
  return false;
}

/// A pipe whose first end is read, the second one written.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(::pipe(ends_), 0); }
  ~Pipe() { close_reader(), close_writer(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void close_reader() { close_end(ends_[0]); }
  void close_writer() { close_end(ends_[1]); }
  /// Few enough to fit into the pipe, and nothing behind them.
  void fill(const std::string& bytes) {
    EXPECT_EQ(::write(writer(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    close_writer();
  }
  std::string rest() {
    close_writer();
    std::string bytes(1000, ' ');
    const ssize_t count = ::read(reader(), bytes.data(), bytes.size());
    return bytes.substr(0, static_cast<size_t>(std::max<ssize_t>(0, count)));
  }

 private:
  static void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  int ends_[2] = {-1, -1};
};

std::string frames(size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(static_cast<uint8_t>(i * 7));
  return text;
}

TEST(FramePipe, GivesFramesAsPicturesAndWritesWhatIsPainted) {
  Pipe in, out;
  in.fill(frames(3 * kBytes));
  int64_t seen = 0;
  const auto check = [&](const Tensor& frame) {
    EXPECT_EQ(frame.shape(), (Shape{1, 2, 3, 3}));
    EXPECT_EQ(frame.span<float>()[5], static_cast<float>(static_cast<uint8_t>(7 * (18 * seen + 5))));
    ++seen;
    return frame;
  };
  EXPECT_EQ(pipe_frames(in.reader(), out.writer(), kSize, check, never), 3);
  EXPECT_EQ(seen, 3);
  EXPECT_TRUE(out.rest() == frames(3 * kBytes));
}

TEST(FramePipe, RoundsAndBoundsLevels) {
  Pipe in, out;
  in.fill(frames(kBytes));
  const auto paint = [](const Tensor& frame) {
    Tensor painted = Tensor::zeros(frame.shape());
    const float values[] = {-3.0f, 0.49f, 0.5f, 254.4f, 254.5f, 300.0f, std::numeric_limits<float>::quiet_NaN()};
    std::copy(std::begin(values), std::end(values), painted.data<float>());
    return painted;
  };
  pipe_frames(in.reader(), out.writer(), kSize, paint, never);
  const std::string written = out.rest();
  ASSERT_EQ(written.size(), kBytes);
  const int expected[] = {0, 0, 1, 254, 255, 255, 0};
  for (size_t i = 0; i < std::size(expected); ++i) EXPECT_EQ(static_cast<uint8_t>(written[i]), expected[i]) << i;
}

TEST(FramePipe, AFrameThatIsCutIsAnErrorAfterThoseBefore) {
  Pipe in, out;
  in.fill(frames(2 * kBytes + 5));
  EXPECT_TRUE(throws_error([&] { pipe_frames(in.reader(), out.writer(), kSize, same, never); },
                           "within frame 3: 13 of its 18 bytes are missing (2 frames were written)"));
  EXPECT_TRUE(out.rest() == frames(2 * kBytes));
}

TEST(FramePipe, StopsBetweenFramesAndWhenOneIsCutByTheSameSignal) {
  Pipe in, out;
  in.fill(frames(3 * kBytes));
  int asked = 0;
  EXPECT_EQ(pipe_frames(in.reader(), out.writer(), kSize, same, [&] { return ++asked > 2; }), 2);
  EXPECT_TRUE(out.rest() == frames(2 * kBytes));

  Pipe cut, other;
  cut.fill(frames(kBytes + 5));
  asked = 0;
  EXPECT_EQ(pipe_frames(cut.reader(), other.writer(), kSize, same, [&] { return ++asked > 2; }), 1);
}

TEST(FramePipe, EndsThatFailAreErrors) {
  Pipe in, out;
  in.fill(frames(kBytes));
  EXPECT_TRUE(throws_error([&] { pipe_frames(in.reader(), out.reader(), kSize, same, never); },
                           "standard output cannot be written"));
  EXPECT_TRUE(throws_error([&] { pipe_frames(out.writer(), out.writer(), kSize, same, never); },
                           "standard input cannot be read"));
}

}  // namespace
}  // namespace minidl::apps
