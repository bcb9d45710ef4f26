#include <minidl/apps/common/progress.h>

#include <cstdio>
#include <memory>

namespace minidl::apps {
namespace {

/// A progress line that writes to a file in memory, with a clock that the test sets.
class ProgressTest : public ::testing::Test {
 protected:
  ProgressLine::Options options(bool terminal) {
    return {.stream = stream_.get(), .terminal = terminal, .seconds = [this] { return now_; }};
  }
  std::string written() {
    std::fflush(stream_.get());
    return std::string(buffer_, size_);
  }
  static ProgressSample at(int64_t iteration, int64_t iterations = 100) {
    return {.iteration = iteration, .iterations = iterations, .loss = 1.0, .details = "step 1"};
  }

  char* buffer_ = nullptr;
  size_t size_ = 0;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream_{open_memstream(&buffer_, &size_), &std::fclose};
  double now_ = 100.0;

  void TearDown() override {
    stream_.reset();
    std::free(buffer_);
  }
};

TEST(ProgressText, ShowsEverythingThatIsKnown) {
  const ProgressSample sample{.stage = "512x384",
                              .iteration = 20,
                              .iterations = 500,
                              .loss = 1.25e6,
                              .parts = {{"content", 3.1e5}, {"style", 9.4e5}},
                              .peak_bytes = 412 << 20};
  EXPECT_EQ(
      progress_text(sample, 4.2, 114.0),
      "512x384  iteration 20/500  loss 1.25e+06 (content 3.1e+05, style 9.4e+05)  4.2 it/s  ETA 1:54  peak 412 MiB");
  EXPECT_EQ(progress_text({.iteration = 1, .iterations = 2, .loss = 3.0}, 0.0, INFINITY), "iteration 1/2  loss 3");
}

TEST(ProgressText, Durations) {
  EXPECT_EQ(duration_text(6.2), "0:07");
  EXPECT_EQ(duration_text(750.0), "12:30");
  EXPECT_EQ(duration_text(3750.0), "1:02:30");
}

TEST_F(ProgressTest, PlainLinesComeEveryFiveSecondsAndAtTheEnd) {
  ProgressLine line(options(false));
  for (int64_t iteration = 1; iteration <= 100; ++iteration) {
    now_ += 0.1;
    line.update(at(iteration));
  }
  const std::string text = written();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_NE(text.find("iteration 1/100"), std::string::npos);
  EXPECT_NE(text.find("iteration 100/100"), std::string::npos);
  EXPECT_EQ(text.find("step 1"), std::string::npos);
}

TEST_F(ProgressTest, ATerminalLineIsRewrittenAndEnded) {
  {
    ProgressLine line(options(true));
    line.update(at(1));
    line.update(at(2));  // too soon after the first
    now_ += 1.0;
    line.update(at(3));
    line.message("saved");
    now_ += 1.0;
    line.update(at(4));
  }
  EXPECT_EQ(written(),
            "\riteration 1/100  loss 1\033[K\riteration 3/100  loss 1  2 it/s  ETA 0:49\033[K\nsaved\n"
            "\riteration 4/100  loss 1  1.5 it/s  ETA 1:04\033[K\n");
}

TEST_F(ProgressTest, QuietPrintsNothing) {
  ProgressLine::Options quiet = options(true);
  quiet.quiet = true;
  ProgressLine line(quiet);
  line.update(at(100));
  line.message("saved");
  line.finish();
  EXPECT_EQ(written(), "");
}

TEST_F(ProgressTest, VerbosePrintsEveryIterationWithDetails) {
  ProgressLine::Options verbose = options(true);
  verbose.verbose = true;
  ProgressLine line(verbose);
  line.update(at(1));
  line.update(at(2));
  EXPECT_EQ(written(), "iteration 1/100  loss 1  step 1\niteration 2/100  loss 1  step 1\n");
}

TEST_F(ProgressTest, RatesComeFromTheLastTenSecondsAndFromTheWork) {
  ProgressLine line(options(false));
  ProgressSample sample = at(0);
  for (int64_t iteration = 0; iteration <= 40; ++iteration) {
    sample.iteration = iteration;
    sample.work_done = static_cast<double>(iteration) / 80.0;  // the second half of the run costs more
    line.update(sample);
    now_ += iteration < 20 ? 0.1 : 1.0;
  }
  EXPECT_NEAR(line.iterations_per_second(), 1.0, 1e-9);
  EXPECT_NEAR(line.seconds_left(), 40.0, 1e-9);
}

}  // namespace
}  // namespace minidl::apps
