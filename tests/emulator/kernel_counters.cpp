// Counts what the kernels of the library ask of memory, each on shapes that networks have, and prints a Markdown table:
// docs/cuda_counts.md. With --check on small shapes, where counts above the limits of kernel_cases.h make it fail. With
// --layers the other table of that page (layer_counts.h), or its rows that begin with a name.
#include <emulator/emulator.h>
#include <emulator/kernel_cases.h>
#include <emulator/layer_counts.h>
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string_view>

namespace minidl::emulator {
namespace {

/// The kernels that the library's sources define.
std::set<std::string> kernels_of_the_library() {
  static const std::regex kDefinition(R"(MINIDL_KERNEL\w*\([^;{]*?(\w+_kernel)\b)");
  std::set<std::string> names;
  for (const char* folder : {"core/cuda", "kernels/cuda"}) {
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(MINIDL_SOURCE_DIR) / folder)) {
      if (!entry.path().extension().string().starts_with(".cu") || entry.path().filename() == "launch.cuh") continue;
      std::ifstream stream(entry.path());
      const std::string text(std::istreambuf_iterator<char>(stream), {});
      for (auto i = std::sregex_iterator(text.begin(), text.end(), kDefinition); i != std::sregex_iterator(); ++i) {
        names.insert((*i)[1]);
      }
    }
  }
  return names;
}

double ratio(int64_t a, int64_t b) {
  return static_cast<double>(a) / static_cast<double>(b);
}

/// Of one run of the program.
struct Report {
  bool check;
  std::set<std::string> seen;  // kernels
  bool failed = false;
  std::string last_row = {};  // launches that are alike have one

  void fail(const std::string& what) {
    std::fprintf(stderr, "kernel_counters: %s\n", what.c_str());
    failed = true;
  }

  void add(const KernelCase& one) {
    take_counters();
    one.run();
    const std::vector<LaunchCounters> launches = take_counters();
    std::vector<int64_t> blocks;
    for (const LaunchCounters& launch : launches) blocks.push_back(launch.blocks);
    const std::vector<ExpectedLaunch> expected = one.expected(blocks);
    bool same = launches.size() == expected.size();
    for (size_t i = 0; same && i < launches.size(); ++i) same = launches[i].kernel == expected[i].kernel;
    if (!same) {
      std::string names;
      for (const LaunchCounters& launch : launches) names += " " + launch.kernel;
      return fail(one.shape + " makes other launches than expected:" + names);
    }
    for (size_t i = 0; i < launches.size(); ++i) add(one.shape, launches[i], expected[i]);
  }

  void add(const std::string& shape, const LaunchCounters& launch, const ExpectedLaunch& expected) {
    seen.insert(launch.kernel);
    const int64_t bytes = launch.bytes_read + launch.bytes_written;
    const double sectors = ratio(launch.sectors, launch.ideal_sectors);
    const double traffic = ratio(bytes, expected.compulsory);
    const double tiles = expected.tile_minimum > 0 ? ratio(bytes, expected.tile_minimum) : 0.0;
    const ExpectedLaunch::Limits target;
    // The target for matrix products is the least that their tiles can do with.
    const std::string row = fmt::format(
        "| {} | {} | {} | {} | {} | {} | {:.1f} | {} | {} |\n", launch.kernel, shape, above(sectors, target.sectors),
        launch.bank_conflicts > 0 ? fmt::format("**{}**", launch.bank_conflicts) : "0",
        above(traffic, expected.tile_minimum > 0 ? traffic : target.bytes),
        expected.tile_minimum > 0 ? above(tiles, target.bytes) : "", static_cast<double>(launch.flops) * 1e-6,
        expected.tensor_flops > 0 ? above(ratio(launch.tensor_flops, expected.tensor_flops), target.tensor_flops) : "",
        launch.barriers);
    if (row != last_row) fmt::print("{}", row);
    last_row = row;
    std::fflush(stdout);
    if (!check) return;
    const ExpectedLaunch::Limits& limits = expected.limits;
    const double of_bytes = expected.tile_minimum > 0 ? tiles : traffic;
    if (expected.tensor_flops > 0 && ratio(launch.tensor_flops, expected.tensor_flops) > limits.tensor_flops) {
      fail(fmt::format("{}, {}: {} tensor operations where {} would do", launch.kernel, shape, launch.tensor_flops,
                       expected.tensor_flops));
    }
    if (sectors > limits.sectors || launch.bank_conflicts > limits.bank_conflicts || of_bytes > limits.bytes) {
      fail(fmt::format("{}, {}: {:.3f} sectors, {} bank conflicts, {:.3f} bytes, where {}, {}, {} are the limits",
                       launch.kernel, shape, sectors, launch.bank_conflicts, of_bytes, limits.sectors,
                       limits.bank_conflicts, limits.bytes));
    }
  }
};

int run(bool check) {
  Report report{check, {}};
  fmt::print(
      "| kernel | shape | sectors / ideal | bank conflicts | bytes / compulsory | bytes / tiles | Mflop | tensor "
      "operations / minimum | barriers |\n");
  fmt::print("|---|---|---|---|---|---|---|---|---|\n");
  for (const auto& make : convolution_cases(check)) report.add(make());
  for (const auto& make : other_cases(check)) report.add(make());
  for (const auto& make : optimizer_cases(check)) report.add(make());
  for (const auto& make : norm_cases(check)) report.add(make());
  for (const auto& make : mma_cases(check)) report.add(make());
  for (const auto& make : upsample_cases(check)) report.add(make());
  for (const std::string& kernel : kernels_of_the_library()) {
    if (!report.seen.contains(kernel)) report.fail("no case runs the kernel " + kernel);
  }
  return report.failed ? 1 : 0;
}

}  // namespace
}  // namespace minidl::emulator

int main(int count, char** arguments) {
  const std::string_view what = count > 1 ? arguments[1] : "";
  const bool layers = what == "--layers";
  if (count > (layers ? 3 : 2) || (!what.empty() && what != "--check" && !layers)) {
    std::fprintf(stderr, "usage: kernel_counters [--check | --layers [NAME]]\n");
    return 2;
  }
  try {
    minidl::emulator::options().count = true;
    minidl::emulator::options().deferred_streams = false;  // counts of a case are there when it is done
    if (layers) return minidl::emulator::print_layer_counts(count > 2 ? arguments[2] : "") ? 0 : 1;
    return minidl::emulator::run(what == "--check");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_counters: %s\n", error.what());
    return 1;
  }
}
