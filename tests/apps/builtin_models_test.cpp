// Models that are part of the library, and the bytes of files that CMake puts into programs.
#include <minidl/apps/builtin_models.h>
#include <minidl/apps/gatys.h>
#include <minidl/apps/stylizer.h>
#include <support/compare.h>
#include <support/small_gatys.h>
#include <support/small_transform_net.h>
#include <support/temporary_folder.h>

#include <set>

extern "C" const std::byte embedded_licence_begin[], embedded_licence_end[];
extern "C" const std::byte embedded_empty_begin[], embedded_empty_end[];

namespace minidl {
namespace {

using Kind = BuiltinModel::Kind;
using test::throws_error;

TEST(EmbeddedFile, IsTheFile) {
  const std::string_view embedded(reinterpret_cast<const char*>(embedded_licence_begin),
                                  static_cast<size_t>(embedded_licence_end - embedded_licence_begin));
  EXPECT_EQ(embedded, test::read_bytes(std::filesystem::path(MINIDL_SOURCE_DIR) / "LICENSE"));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(embedded_licence_begin) % 64, 0u);
  EXPECT_EQ(embedded_empty_begin, embedded_empty_end);
}

std::vector<BuiltinModel> made_up_models() {
  const auto model = [](std::string_view name, Kind kind) {
    return BuiltinModel{.name = name, .kind = kind, .title = "", .attribution = "", .licence = "", .bytes = {}};
  };
  return {model("wave", Kind::network), model("night", Kind::style), model("wave", Kind::style)};
}

TEST(BuiltinModel, IsFoundByKindAndName) {
  const std::vector<BuiltinModel> models = made_up_models();
  EXPECT_EQ(&builtin_model(Kind::style, "wave", models), &models[2]);
  EXPECT_EQ(&builtin_model(Kind::network, "wave", models), &models[0]);
  EXPECT_TRUE(throws_error([&] { builtin_model(Kind::style, "wafe", models); },
                           "no built-in style 'wafe' (did you mean 'wave'?); there are: night, wave"));
  EXPECT_TRUE(throws_error([&] { builtin_model(Kind::network, "something else", models); },
                           "no built-in network 'something else'; there are: wave"));
  EXPECT_TRUE(
      throws_error([] { builtin_model(Kind::style, "wave", {}); }, "no built-in style 'wave': this build has none"));
}

TEST(BuiltinModel, PaintsAsItsFileDoes) {
  const test::TemporaryFolder folder;
  test::small_transform_net().save(folder / "net.safetensors", {}, Dtype::f16);
  const std::string file = test::read_bytes(folder / "net.safetensors");
  const BuiltinModel model{.name = "small",
                           .kind = Kind::style,
                           .title = "",
                           .attribution = "",
                           .licence = "",
                           .bytes = std::as_bytes(std::span(file))};
  const Tensor picture = test::wavy_picture(20, 30, 1);
  EXPECT_TRUE(test::same_bytes(Stylizer(layers::TransformNet::load(model.open()))(picture),
                               Stylizer(layers::TransformNet::load(folder / "net.safetensors"))(picture)));
  const BuiltinModel cut{.name = "cut",
                         .kind = Kind::style,
                         .title = "",
                         .attribution = "",
                         .licence = "",
                         .bytes = model.bytes.first(100)};
  EXPECT_TRUE(throws_error([&] { cut.open(); }, "'built-in cut'"));
}

/// What the repository promises of the models that it holds.
TEST(BuiltinModels, SayWhatTheyAreAndAreSmall) {
  std::set<std::string_view> names;
  for (const BuiltinModel& model : builtin_models()) {
    EXPECT_TRUE(names.insert(model.name).second) << model.name;
    EXPECT_FALSE(model.title.empty() || model.attribution.empty() || model.licence.empty()) << model.name;
    const double megabytes = 1e-6 * static_cast<double>(model.bytes.size());
    EXPECT_LE(megabytes, model.kind == Kind::style ? 0.9 : 4.0) << model.name;
    EXPECT_FALSE(model.open().tensors().empty()) << model.name;
    EXPECT_EQ(builtin_model(model.kind, model.name).bytes.data(), model.bytes.data());
  }
  EXPECT_EQ(builtin_models().size(), builtin_models(Kind::style).size() + builtin_models(Kind::network).size());
}

/// How well is measured by tests/bench/compare_networks.py.
TEST(BuiltinModels, TheNetworkStandsForVgg19InAStyleTransfer) {
  const std::vector<BuiltinModel> networks = builtin_models(Kind::network);
  ASSERT_EQ(networks.size(), 1u);
  layers::Vgg network = layers::Vgg::load(networks[0].open());
  EXPECT_TRUE(network.description().is_student());
  for (const auto& [tap, channels] : {std::pair<const char*, int64_t>{"relu1_1", 64},
                                      {"relu2_1", 128},
                                      {"relu3_1", 256},
                                      {"relu4_1", 512},
                                      {"relu4_2", 512},
                                      {"relu5_1", 512}})
    EXPECT_EQ(network.loss_channels(tap), channels) << tap;
  GatysSettings settings = GatysSettings::preset("default");
  settings.size = 64;
  settings.scales = 1;
  settings.iterations = 10;
  std::vector<double> losses;
  GatysPictures pictures;
  pictures.content = test::wavy_picture(48, 64, 2);
  pictures.styles = {{test::wavy_picture(64, 64, 7), 1.0}};
  Gatys(network, settings, pictures).run([&](const GatysProgress& progress) {
    losses.push_back(progress.losses.total);
    return true;
  });
  EXPECT_LT(losses.back(), 0.5 * losses.front());
}

TEST(BuiltinModels, StylesPaintPicturesThatAreNoPlainColour) {
  const Tensor picture = test::wavy_picture(48, 64, 2);
  for (const BuiltinModel& model : builtin_models(Kind::style)) {
    const Tensor painted = Stylizer(layers::TransformNet::load(model.open()))(picture);
    EXPECT_EQ(painted.shape(), picture.shape()) << model.name;
    const auto [darkest, brightest] = std::ranges::minmax(painted.span<float>());
    EXPECT_GT(brightest - darkest, 60.0f) << model.name;
  }
}

}  // namespace
}  // namespace minidl
