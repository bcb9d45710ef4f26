#include <minidl/apps/common/standard_flags.h>
#include <minidl/core/allocator.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/parallel.h>
#include <minidl/kernels/execution.h>
#include <support/compare.h>
#include <support/threads.h>

namespace minidl::apps {
namespace {

TEST(StandardFlags, AreRead) {
  OutputFlags output;
  ComputeFlags compute;
  Flags flags({.program = "p", .summary = "s", .example = "e"});
  add_output_flags(flags, output);
  add_compute_flags(flags, compute);
  const char* arguments[] = {"p",   "--json",       "r.json", "--quiet",  "--verbose", "--device",
                             "cpu", "--precision",  "bf16",   "--seed",   "7",         "--threads",
                             "3",   "--max-memory", "1.5G",   "--dry-run"};
  EXPECT_TRUE(flags.parse(16, arguments));
  EXPECT_EQ(output.json, "r.json");
  EXPECT_TRUE(output.quiet && output.verbose && compute.dry_run);
  EXPECT_EQ(compute.device, "cpu");
  EXPECT_EQ(compute.precision, "bf16");
  EXPECT_EQ(compute.seed, 7u);
  EXPECT_EQ(compute.threads, 3);
  EXPECT_EQ(compute.max_memory, int64_t{3} << 29);
}

TEST(StandardFlags, Apply) {
  const test::WithThreads restored(num_threads());
  EXPECT_EQ(apply_compute_flags({.device = "cpu", .precision = "fp32", .threads = 3, .max_memory = 1 << 20}),
            Device::cpu());
  EXPECT_EQ(num_threads(), 3);
  EXPECT_EQ(execution::precision(), Precision::fp32);
  EXPECT_TRUE(test::throws_error([] { allocator(Device::cpu()).allocate(2 << 20); }, "limit"));
  allocator(Device::cpu()).set_limit(0);
}

TEST(StandardFlags, WhatIsNotThereIsRefusedWithTheReason) {
  EXPECT_TRUE(test::throws_error([] { apply_compute_flags({.device = "cpu", .precision = "fp16"}); },
                                 "'fp16' is for CUDA devices, and this run computes on the CPU"));
  if (cuda::device_count() == 0) {
    EXPECT_TRUE(test::throws_error([] { apply_compute_flags({.device = "cuda"}); }, "cuda"));
  } else {
    EXPECT_EQ(apply_compute_flags({.device = "cuda", .precision = "fp16"}).kind, Device::Kind::cuda);
    EXPECT_EQ(execution::precision(), Precision::fp16);
    execution::set_precision(Precision::fp32);
  }
}

}  // namespace
}  // namespace minidl::apps
