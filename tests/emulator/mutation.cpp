#include <emulator/mutation.h>

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

// MINIDL_MUTANT=SITE:MUTANT puts a mutant in place; MINIDL_MUTATION_REACHED=FILE has a line written for each test: its
// name, how many milliseconds it took and the sites that it came to.
namespace mutation {

int chosen_site = 0, mutant = 0;
unsigned char reached[kMostSites] = {};

namespace {

class ReachedSites : public testing::EmptyTestEventListener {
 public:
  explicit ReachedSites(const char* path) : file_(std::fopen(path, "w")) {}

 private:
  void OnTestStart(const testing::TestInfo&) override { std::memset(reached, 0, sizeof(reached)); }
  void OnTestEnd(const testing::TestInfo& test) override {
    const testing::TestResult& result = *test.result();
    std::fprintf(file_, "%s.%s %d", test.test_suite_name(), test.name(), static_cast<int>(result.elapsed_time()));
    for (int site = 0; site < kMostSites; ++site) {
      if (reached[site]) std::fprintf(file_, " %d", site);
    }
    std::fprintf(file_, "\n");
    std::fflush(file_);
  }
  FILE* file_;
};

const bool prepared = [] {
  if (const char* text = std::getenv("MINIDL_MUTANT")) std::sscanf(text, "%d:%d", &chosen_site, &mutant);
  if (const char* path = std::getenv("MINIDL_MUTATION_REACHED")) {
    testing::UnitTest::GetInstance()->listeners().Append(new ReachedSites(path));
  }
  return true;
}();

}  // namespace
}  // namespace mutation
