#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/demo/landscape.h>
#include <minidl/apps/demo/network.h>
#include <minidl/apps/demo/painting.h>
#include <minidl/core/image.h>
#include <minidl/layers/vgg_weights.h>

#include <filesystem>

namespace minidl {
namespace {

constexpr uint64_t kSeed = 7;

int run(int argc, char** argv) {
  std::string folder;
  int64_t size = 512;
  apps::Flags flags(
      {.program = "minidl_demo_pictures",
       .summary = "makes a photo-like content picture, a painting and a small random network to try nst_gatys with",
       .example = "minidl_demo_pictures demo"});
  flags.positional("FOLDER", folder, "where content.png, style.png and demo_network.safetensors go; made when missing")
      .required()
      .integer("--size", size, 16, 4096, "width of the pictures in pixels; they are 4:3");
  if (!flags.parse(argc, argv)) return apps::kSuccess;

  std::error_code error;
  std::filesystem::create_directories(folder, error);
  MINIDL_CHECK(!error, "folder {} cannot be made: {}", folder, error.message());
  const std::filesystem::path to(folder);
  const int64_t height = size * 3 / 4;
  save_image(to / "content.png", demo::paint_landscape(height, size, kSeed));
  save_image(to / "style.png", demo::paint_whirls(height, size, kSeed));
  layers::write_network(to / "demo_network.safetensors", demo::make_demo_network(kSeed));
  return apps::kSuccess;
}

}  // namespace
}  // namespace minidl

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::run(argc, argv); });
}
