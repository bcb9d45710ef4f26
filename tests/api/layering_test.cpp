#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLines = 400;

/// Folder -> folders whose headers it may include.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"core", {"core"}},
    {"kernels", {"core", "kernels"}},
    {"layers", {"core", "kernels", "layers"}},
    {"optim", {"core", "kernels", "optim"}},
    {"apps", {"core", "kernels", "layers", "optim", "apps"}},
    {"tests", {"core", "kernels", "layers", "optim", "apps"}},
};

/// Headers in the public folders that only the library's own sources include: the umbrella leaves them out.
const std::set<std::string> kInternalHeaders = {
    "kernels/arguments.h", "kernels/checks.h",       "kernels/dispatch.h",
    "kernels/engine.h",    "kernels/engine_tuner.h", "kernels/filter_cache.h", "kernels/norm_checks.h",
};

/// `path` relative to the source tree.
struct Source {
  fs::path path;
  std::vector<std::string> lines;

  std::string folder() const { return path.begin()->string(); }
  bool is_header() const { return path.extension() == ".h"; }
  /// Directly in a library folder: what is installed. Subfolders (kernels/cpu, layers/ops, ...) are the library's own.
  bool is_public_header() const {
    return is_header() && path.parent_path() == folder() && folder() != "tests" &&
           !kInternalHeaders.contains(path.generic_string());
  }
};

Source parse(const fs::path& path, std::istream& stream) {
  Source source{path, {}};
  for (std::string line; std::getline(stream, line);) source.lines.push_back(line);
  return source;
}

std::vector<Source> source_tree() {
  const fs::path root = MINIDL_SOURCE_DIR;
  std::vector<Source> sources;
  for (const auto& [folder, unused] : kMayInclude) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      static const std::set<std::string> kExtensions = {".h", ".cpp", ".cu", ".cuh"};
      if (!entry.is_regular_file() || !kExtensions.contains(entry.path().extension().string())) continue;
      std::ifstream stream(entry.path());
      sources.push_back(parse(fs::relative(entry.path(), root), stream));
    }
  }
  return sources;
}

/// "minidl/core/tensor.h" of `#include <minidl/core/tensor.h>`, or an empty string.
std::string included(const std::string& line) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"].*)");
  std::smatch match;
  return std::regex_match(line, match, kInclude) ? match[1].str() : "";
}

/// Why an include of this file breaks a rule, or an empty string.
std::string wrong_include(const Source& source, const std::string& line) {
  const std::string name = included(line);
  if (name.empty()) return "";
  if (line.find('"') != std::string::npos) return "relative include";
  static const std::regex kDeviceHeader(R"((cuda|cublas|cudnn|nvtx|hip/).*)");
  const auto inside = [&](const char* part) { return source.path.generic_string().find(part) != std::string::npos; };
  const bool device_folder = inside("/cuda/") || inside("/cudnn/") || inside("tests/emulator/");
  if (std::regex_match(name, kDeviceHeader) && !device_folder) return "CUDA header outside the CUDA folders";
  if (source.is_public_header() && name.starts_with("hwy/")) return "SIMD header in a public header";

  static const std::regex kOwn(R"(minidl/([a-z]+)/.+)");
  std::smatch match;
  if (!std::regex_match(name, match, kOwn)) {
    const bool umbrella = name == "minidl/minidl.h" && source.folder() != "apps" && source.folder() != "tests";
    return umbrella ? "the umbrella header inside the library" : "";
  }
  const std::string folder = source.folder(), target = match[1];
  if (!kMayInclude.at(folder).contains(target)) return folder + " must not include " + target;
  if (folder == "kernels" && (name == "minidl/core/variable.h" || name == "minidl/core/tape.h")) {
    return "kernels know no autograd";
  }
  if (!fs::exists(fs::path(MINIDL_SOURCE_DIR) / name.substr(std::string("minidl/").size()))) return "no such header";
  return "";
}

/// Why a line of a kernel does not follow the choice of instruction set (kernels/cpu/simd.h), or an empty string.
std::string wrong_simd(const Source& source, size_t line) {
  if (source.path.filename() == "simd.h") return "";
  const std::string& text = source.lines[line];
  if (text.find("HWY_DYNAMIC_DISPATCH") != std::string::npos) return "use MINIDL_DISPATCH";
  if (included(text) != "hwy/foreach_target.h") return "";
  for (size_t i = 0; i < line; ++i) {
    if (included(source.lines[i]) == "minidl/kernels/cpu/simd.h") return "";
  }
  return "include minidl/kernels/cpu/simd.h before";
}

/// Every broken rule as "path:line: what".
std::vector<std::string> violations(const Source& source) {
  static const std::regex kBackendSwitch(
      R"(^\s*#\s*(if|ifdef|ifndef|elif)\b.*(CUDA|CUDNN|HWY|__AVX|__SSE|__ARM|NVTX).*)");
  std::vector<std::string> found;
  const auto report = [&](size_t line, const std::string& what) {
    found.push_back(source.path.generic_string() + ":" + std::to_string(line) + ": " + what);
  };
  if (source.lines.size() > kMaxLines) report(source.lines.size(), "more than " + std::to_string(kMaxLines) + " lines");
  if (source.is_public_header() && (source.lines.empty() || source.lines[0] != "#pragma once"))
    report(1, "no #pragma once");
  for (size_t i = 0; i < source.lines.size(); ++i) {
    const std::string wrong = wrong_include(source, source.lines[i]);
    if (!wrong.empty()) report(i + 1, wrong + ": " + source.lines[i]);
    if (source.folder() == "kernels" && !wrong_simd(source, i).empty()) report(i + 1, wrong_simd(source, i));
    if (source.is_public_header() && std::regex_match(source.lines[i], kBackendSwitch))
      report(i + 1, "backend #if in a public header");
  }
  return found;
}

std::vector<std::string> violations_of_text(const std::string& path, const std::string& text) {
  std::istringstream stream(text);
  return violations(parse(path, stream));
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST(Layering, TheTreeKeepsTheRules) {
  const std::vector<Source> sources = source_tree();
  ASSERT_GT(sources.size(), 50u);
  for (const Source& source : sources) {
    const std::vector<std::string> found = violations(source);
    EXPECT_TRUE(found.empty()) << joined(found);
  }
}

TEST(Layering, TheUmbrellaNamesEveryPublicHeaderOfTheFramework) {
  std::set<std::string> listed, present;
  for (const Source& source : source_tree()) {
    const std::string path = source.path.generic_string();
    if (source.is_public_header() && source.folder() != "apps") present.insert("minidl/" + path);
    if (path != "apps/minidl.h") continue;
    for (const std::string& line : source.lines) listed.insert(included(line));
  }
  listed.erase("");
  EXPECT_TRUE(listed.erase("minidl/version.h")) << "apps/minidl.h does not include the version";
  EXPECT_EQ(listed, present);
}

/// The rules themselves are tested on made-up files: a checker that finds nothing anywhere would pass, too.
TEST(LayeringRules, FoldersOnlyLookDown) {
  const std::vector<std::pair<std::string, std::string>> forbidden = {
      {"core", "kernels"}, {"core", "layers"}, {"core", "apps"},    {"kernels", "layers"}, {"kernels", "optim"},
      {"layers", "optim"}, {"layers", "apps"}, {"optim", "layers"}, {"optim", "apps"},
  };
  for (const auto& [from, to] : forbidden) {
    const auto found = violations_of_text(from + "/x.cpp", "#include <minidl/" + to + "/y.h>\n");
    ASSERT_EQ(found.size(), 1u) << from << " -> " << to;
    EXPECT_NE(found[0].find(from + " must not include " + to), std::string::npos) << found[0];
  }
  EXPECT_TRUE(violations_of_text("layers/x.cpp", "#include <minidl/core/tensor.h>\n#include <vector>\n").empty());
  EXPECT_EQ(violations_of_text("kernels/x.h", "#pragma once\n#include <minidl/core/tape.h>\n").size(), 1u);
  EXPECT_EQ(violations_of_text("core/x.cpp", "#include <minidl/minidl.h>\n").size(), 1u);
}

TEST(LayeringRules, IncludesAreSpelledOut) {
  EXPECT_EQ(violations_of_text("core/x.cpp", "#include \"tensor.h\"\n").size(), 1u);
  EXPECT_EQ(violations_of_text("core/x.cpp", "  #  include \"../core/tensor.h\"\n").size(), 1u);
  EXPECT_EQ(violations_of_text("core/x.cpp", "#include <minidl/core/there_is_none.h>\n").size(), 1u);
}

TEST(LayeringRules, PublicHeadersAreTheSameForEveryBackend) {
  const std::string once = "#pragma once\n";
  EXPECT_EQ(violations_of_text("core/x.h", once + "#include <cuda_runtime.h>\n").size(), 1u);
  EXPECT_EQ(violations_of_text("core/x.cpp", "#include <cudnn.h>\n").size(), 1u);
  EXPECT_TRUE(violations_of_text("core/cuda/x.h", once + "#include <cuda_runtime.h>\n").empty());
  EXPECT_TRUE(violations_of_text("tests/emulator/x.h", once + "#include <cuda_runtime.h>\n").empty());
  EXPECT_EQ(violations_of_text("kernels/x.h", once + "#include <hwy/highway.h>\n").size(), 1u);
  EXPECT_EQ(violations_of_text("kernels/x.h", once + "#ifdef MINIDL_CUDA\n#endif\n").size(), 1u);
  EXPECT_EQ(violations_of_text("kernels/x.h", once + "#if defined(__AVX2__)\n#endif\n").size(), 1u);
  EXPECT_TRUE(violations_of_text("kernels/cpu/x.h", once + "#if HWY_ONCE\n#endif\n").empty());
  EXPECT_EQ(violations_of_text("kernels/x.h", "int x;\n").size(), 1u);
}

TEST(LayeringRules, KernelsFollowTheChoiceOfInstructionSet) {
  const std::string simd = "#include <minidl/kernels/cpu/simd.h>\n", targets = "#include <hwy/foreach_target.h>\n";
  EXPECT_TRUE(violations_of_text("kernels/cpu/x.cpp", simd + targets + "MINIDL_DISPATCH(f)();\n").empty());
  EXPECT_EQ(violations_of_text("kernels/cpu/x.cpp", targets).size(), 1u);
  EXPECT_EQ(violations_of_text("kernels/cpu/x.cpp", targets + simd).size(), 1u);
  EXPECT_EQ(violations_of_text("kernels/cpu/x.cpp", simd + targets + "HWY_DYNAMIC_DISPATCH(f)();\n").size(), 1u);
}

TEST(LayeringRules, FilesStayShort) {
  std::string text;
  for (size_t i = 0; i < kMaxLines; ++i) text += "\n";
  EXPECT_TRUE(violations_of_text("core/x.cpp", text).empty());
  EXPECT_EQ(violations_of_text("core/x.cpp", text + "\n").size(), 1u);
}

}  // namespace
