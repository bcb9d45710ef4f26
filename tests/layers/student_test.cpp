// Students: their shape, the projection that stands for the teacher's space in every loss, files of every storage, and
// files that are refused.
#include <minidl/core/safetensors.h>
#include <minidl/layers/ops.h>
#include <minidl/layers/student.h>
#include <minidl/layers/vgg.h>
#include <minidl/layers/vgg_weights.h>
#include <support/compare.h>
#include <support/random_tensors.h>
#include <support/temporary_folder.h>
#include <support/test_data.h>

namespace minidl::layers {
namespace {

constexpr int64_t kTeacherChannels = 9;

/// Weights, and projections made from random Qs, at relu1_1 and relu2_1.
NetworkDescription small_student(PoolKind pooling = PoolKind::average) {
  NetworkDescription network =
      student_description({.widths = {3, 4, 1, 1, 1}, .convolutions = {1, 2, 1, 1, 1}, .pooling = pooling});
  fill_random_weights(network, 2);
  for (LayerDescription& layer : network.layers) {
    if (layer.name != "relu1_1" && layer.name != "relu2_1") continue;
    const int64_t channels = layer.name == "relu1_1" ? 3 : 4;
    layer.imitated_c = kTeacherChannels;
    layer.projection = projection_of(test::random_uniform({kTeacherChannels, 1, 1, channels}, 7), 1.5);
  }
  network.notes = {{"attribution", "distilled from a network of \"ours\""}};
  return network;
}

class Student : public ::testing::Test {
 protected:
  std::filesystem::path write(const NetworkDescription& network, Dtype storage = Dtype::f32) const {
    write_network(folder_ / "student.safetensors", network, storage);
    return folder_ / "student.safetensors";
  }
  ::testing::AssertionResult rejects(const SafetensorsContent& content, const std::string& words) const {
    write_safetensors(folder_ / "damaged.safetensors", content);
    return test::throws_error([&] { read_network(folder_ / "damaged.safetensors"); }, words);
  }
  SafetensorsContent content_of(const std::filesystem::path& path) const {
    const SafetensorsReader reader(path);
    SafetensorsContent content{.tensors = {}, .metadata = reader.metadata()};
    for (const auto& [name, info] : reader.tensors()) content.tensors.emplace_back(name, reader.read(name));
    return content;
  }

  test::TemporaryFolder folder_;
};

TEST_F(Student, HasTheShapeThatWasAskedFor) {
  const NetworkDescription network =
      student_description({.widths = {2, 3, 4, 5, 6}, .convolutions = {1, 2, 1, 2, 1}, .pooling = PoolKind::max});
  std::string names;
  for (const LayerDescription& layer : network.layers) names += layer.name + " ";
  EXPECT_EQ(names,
            "conv1_1 relu1_1 pool1 conv2_1 relu2_1 conv2_2 relu2_2 pool2 conv3_1 relu3_1 pool3 conv4_1 relu4_1 conv4_2 "
            "relu4_2 pool4 conv5_1 relu5_1 ");
  EXPECT_EQ(network.layers[network.index_of("conv4_2")].in_c, 5);
  EXPECT_EQ(network.layers[network.index_of("pool2")].pool, PoolKind::max);
  EXPECT_FALSE(network.is_student());  // it stands for nothing yet
  EXPECT_TRUE(test::throws_error([] { student_description({.widths = {0, 1, 1, 1, 1}}); }, "block 1 is 0 channels"));
  EXPECT_TRUE(test::throws_error(
      [] {
        student_description({.convolutions = {1, 9, 1, 1, 1}});
      },
      "block 2 has 9 convolutions"));
}

// With D the difference of two feature maps, ||R D||^2 = ||unit Q D||^2, and likewise for their Gram matrices.
TEST_F(Student, ProjectionKeepsDistancesInTheTeachersSpace) {
  constexpr float kUnit = 2.5f;
  const Tensor q = test::random_uniform({kTeacherChannels, 1, 1, 4}, 3);
  const Tensor r = projection_of(q, kUnit);
  ASSERT_EQ(r.shape(), Shape({4, 1, 1, 4}));
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < i; ++j) EXPECT_EQ(r.data<float>()[i * 4 + j], 0.0f);
  }
  const Tensor a = test::random_uniform({1, 5, 6, 4}, 4), b = test::random_uniform({1, 5, 6, 4}, 5);
  const auto seen = [](const Tensor& x, const Tensor& matrix, float unit) {
    return ops::scale(ops::conv2d(Variable(x), Variable(matrix), Variable(), {}), unit);
  };
  const auto content = [&](const Tensor& matrix, float unit) {
    return ops::content_loss(seen(a, matrix, unit), seen(b, matrix, unit).value()).value().item();
  };
  const auto style = [&](const Tensor& matrix, float unit) {
    const auto channels = static_cast<float>(matrix.shape()[0]);
    const Tensor target = ops::gram_per_position(seen(b, matrix, unit).value());
    return ops::style_loss(seen(a, matrix, unit), target, channels * channels).value().item();
  };
  EXPECT_NEAR(content(r, 1.0f), content(q, kUnit), 1e-5f * content(q, kUnit));
  EXPECT_NEAR(style(r, 1.0f), style(q, kUnit), 1e-5f * style(q, kUnit));
}

TEST_F(Student, VggHandsOutProjectedValues) {
  const NetworkDescription description = small_student();
  NetworkDescription plain_description = description;
  for (LayerDescription& layer : plain_description.layers) {
    layer.imitated_c = 0;
    layer.projection = Tensor();
  }
  Vgg student(description), plain(plain_description);
  const Variable picture(test::random_uniform({1, 9, 11, 3}, 6, 0.0f, 255.0f));
  const auto taps = {std::string("relu1_1"), std::string("relu2_1"), std::string("relu2_2")};
  auto values = student(picture, taps), own = plain(picture, taps);
  for (const char* tap : {"relu1_1", "relu2_1"}) {
    const Tensor& projection = description.layers[description.index_of(tap)].projection;
    const Variable expected = ops::conv2d(own.at(tap), Variable(projection), Variable(), {});
    EXPECT_TRUE(test::same_bytes(values.at(tap).value(), expected.value())) << tap;
    EXPECT_EQ(student.loss_channels(tap), kTeacherChannels);
    EXPECT_EQ(student.feature_shape(tap, picture.shape()), values.at(tap).shape());
  }
  EXPECT_TRUE(test::same_bytes(values.at("relu2_2").value(), own.at("relu2_2").value()));
  EXPECT_EQ(plain.loss_channels("relu2_1"), 4);
  EXPECT_EQ(student.description().index_of_tap("relu2_1"), description.index_of("relu2_1"));
  EXPECT_TRUE(test::throws_error([&] { student.description().index_of_tap("relu2_2"); },
                                 "stands for none of VGG's; those that do are: relu1_1, relu2_1"));
}

// A value that the backward pass computes anew gives the same gradient as one that it kept.
TEST_F(Student, RecomputedTapsGiveTheSameGradient) {
  const Tensor target = test::random_uniform({1, 16, 24, 3}, 8);
  const auto gradient = [&](double limit) {
    Vgg student(small_student());
    student.freeze();
    student.set_recompute_limit(limit);
    const Variable picture(test::random_uniform({1, 16, 24, 3}, 6, 0.0f, 255.0f), true);
    EXPECT_EQ(student.recomputed(picture.shape(), std::vector<std::string>{"relu1_1"}).empty(), limit == 0);
    Tape tape;
    {
      const TapeScope recording(tape);
      const Variable seen = student(picture, {"relu1_1"}).at("relu1_1");
      tape.backward(ops::content_loss(seen, target) + ops::style_loss(seen, Tensor::zeros({1, 3, 3})));
    }
    return picture.grad();
  };
  EXPECT_TRUE(test::same_bytes(gradient(0), gradient(1e6)));
}

TEST_F(Student, FilesOfEveryStorage) {
  const NetworkDescription network = small_student();
  const NetworkDescription same = read_network(write(network));
  ASSERT_EQ(same.layers.size(), network.layers.size());
  EXPECT_TRUE(same.is_student());
  EXPECT_EQ(same.notes, network.notes);
  for (size_t i = 0; i < network.layers.size(); ++i) {
    EXPECT_EQ(same.layers[i].imitated_c, network.layers[i].imitated_c);
    const auto same_tensor = [](const Tensor& a, const Tensor& b) {
      return a && b ? bool(test::same_bytes(a, b)) : !a && !b;
    };
    EXPECT_TRUE(same_tensor(same.layers[i].projection, network.layers[i].projection));
    EXPECT_TRUE(same_tensor(same.layers[i].weight, network.layers[i].weight));
    EXPECT_EQ(same.layers[i].pool, network.layers[i].pool);
  }
  for (const auto& [storage, bound] :
       {std::pair{Dtype::f16, 5e-4}, std::pair{Dtype::bf16, 4e-3}, std::pair{Dtype::i8, 8e-3}}) {
    const std::filesystem::path path = write(network, storage);
    EXPECT_EQ(SafetensorsReader(path).info("conv2_1.weight").dtype, storage);
    const NetworkDescription read = read_network(path);
    for (size_t i = 0; i < network.layers.size(); ++i) {
      const LayerDescription& expected = network.layers[i];
      if (!expected.weight) continue;
      const auto values = expected.weight.span<float>();
      EXPECT_LT(test::normalised_error(read.layers[i].weight, std::vector<double>(values.begin(), values.end())), bound)
          << expected.name;
    }
    Vgg from_reader = Vgg::load(SafetensorsReader(path), {.taps = {"relu2_1"}});
    EXPECT_EQ(from_reader.layer_names().back(), "relu2_1");
  }
}

TEST_F(Student, RefusesWhatAHalfCannotHold) {
  NetworkDescription network = small_student();
  network.layers[0].bias.fill(70000.0f);
  EXPECT_TRUE(test::throws_error([&] { write(network, Dtype::f16); }, "'conv1_1.bias' has values up to 70000"));
  EXPECT_EQ(read_network(write(network, Dtype::bf16)).layers[0].bias.shape(), Shape({3}));
}

TEST_F(Student, FilesOfEightBitsKeepAnEmptyFilter) {
  NetworkDescription network = small_student();
  network.layers[0].weight = Tensor::zeros(network.layers[0].weight.shape());
  const Tensor weight = read_network(write(network, Dtype::i8)).layers[0].weight;
  for (const float value : weight.span<float>()) EXPECT_EQ(value, 0.0f);
}

TEST_F(Student, RefusesDamagedFiles) {
  const SafetensorsContent good = content_of(write(small_student(), Dtype::i8));
  const auto without = [&](const std::string& name) {
    SafetensorsContent content = good;
    std::erase_if(content.tensors, [&](const auto& entry) { return entry.first == name; });
    return content;
  };
  const auto with = [&](const std::string& name, const Tensor& value) {
    SafetensorsContent content = without(name);
    content.tensors.emplace_back(name, value);
    return content;
  };
  EXPECT_TRUE(rejects(without("relu2_1.projection"), "has no tensor 'relu2_1.projection'"));
  EXPECT_TRUE(rejects(with("relu2_1.projection", Tensor::zeros({4, 3})), "has shape [4,3], expected [4,4]"));
  EXPECT_TRUE(
      rejects(with("relu2_1.projection", Tensor::zeros({4, 4}, Dtype::i8)), "is i8, expected f32, f16 or bf16"));
  EXPECT_TRUE(rejects(without("conv2_1.weight_scale"), "has no tensor 'conv2_1.weight_scale'"));
  EXPECT_TRUE(rejects(with("conv2_1.weight_scale", Tensor::full({4}, INFINITY)), "not finite"));
  SafetensorsContent content = good;
  std::string& layers = content.metadata.at("layers");
  layers.replace(layers.find("\"imitates\":9"), 12, "\"imitates\":-1");
  EXPECT_TRUE(rejects(content, "'imitates' of a layer"));
  EXPECT_TRUE(test::throws_error([&] { write_network(folder_ / "student.mat", small_student()); },
                                 "MatConvNet has no place for a student's projections"));
}

}  // namespace
}  // namespace minidl::layers
