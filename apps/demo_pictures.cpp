#include <fmt/format.h>
#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/demo/landscape.h>
#include <minidl/apps/demo/painting.h>
#include <minidl/apps/demo/stained_glass.h>
#include <minidl/apps/demo/still_life.h>
#include <minidl/apps/demo/woodcut.h>
#include <minidl/core/image.h>

#include <algorithm>
#include <filesystem>

namespace minidl {
namespace {

struct DemoPicture {
  const char* name;  // of the file, without .png
  Tensor (*paint)(int64_t height, int64_t width, uint32_t seed);
};
constexpr DemoPicture kPictures[] = {{"content", demo::paint_landscape},
                                     {"still_life", demo::paint_still_life},
                                     {"style", demo::paint_whirls},
                                     {"stained_glass", demo::make_stained_glass},
                                     {"woodcut", demo::make_woodcut}};

/// Throws Error when it is none of what this program makes.
void check_name(const std::string& name) {
  std::string known;
  for (const DemoPicture& picture : kPictures) {
    if (name == picture.name) return;
    known += (known.empty() ? "" : ", ") + std::string(picture.name);
  }
  fail("must be one of {}", known);
}

int run(int argc, char** argv) {
  std::string folder;
  int64_t size = 512, seed = 7;
  std::vector<std::string> only;
  apps::Flags flags(
      {.program = "minidl_demo_pictures",
       .summary =
           "Makes pictures to try the other programs with, by its own code: two like photos (content, still_life), "
           "three like works of art (style, stained_glass, woodcut).",
       .example = "minidl_demo_pictures demo --only content --only woodcut"});
  flags.positional("FOLDER", folder, "where NAME.png go; made when missing")
      .required()
      .integer("--size", size, 16, 4096, "width of the pictures in pixels; they are 4:3")
      .integer("--seed", seed, 0, INT32_MAX, "of all that is random; another one gives other pictures")
      .value("--only", "NAME", "make this one; may be given several times (default: all)", "",
             [&](const std::string& name) {
               check_name(name);
               only.push_back(name);
             })
      .repeatable();
  if (!flags.parse(argc, argv)) return apps::kSuccess;

  std::error_code error;
  std::filesystem::create_directories(folder, error);
  MINIDL_CHECK(!error, "folder {} cannot be made: {}", folder, error.message());
  const std::filesystem::path to(folder);
  const auto wanted = [&](const char* name) { return only.empty() || std::ranges::find(only, name) != only.end(); };
  for (const DemoPicture& picture : kPictures) {
    if (!wanted(picture.name)) continue;
    save_image(to / fmt::format("{}.png", picture.name),
               picture.paint(size * 3 / 4, size, static_cast<uint32_t>(seed)));
  }
  return apps::kSuccess;
}

}  // namespace
}  // namespace minidl

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::run(argc, argv); });
}
