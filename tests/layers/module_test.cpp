#include <minidl/core/tape.h>
#include <minidl/layers/module.h>
#include <support/compare.h>
#include <support/random_tensors.h>

#include <fstream>

namespace minidl::layers {
namespace {

using test::equals;
using test::same_bytes;
using test::throws_error;

/// A filter, a bias and a buffer under names of its own.
class Leaf final : public Module {
 public:
  explicit Leaf(uint64_t seed = 1)
      : weight_(register_parameter("weight", test::random_integers({2, 1, 3, 2}, seed))),
        bias_(register_parameter("bias", test::random_integers({2}, seed + 1))),
        average_(register_buffer("average", test::random_integers({2}, seed + 2))) {}
  Variable forward(const Variable& input) override { return input; }
  const Variable& weight() const { return weight_; }
  const Variable& average() const { return average_; }

 private:
  Variable weight_, bias_, average_;
};

/// A parameter, and two leaves of which the second is added late.
class Tree final : public Module {
 public:
  Tree() : left_(&register_child("left", std::make_unique<Leaf>(10))) {
    register_parameter("gain", Tensor::full({1}, 3.0f));
  }
  Variable forward(const Variable& input) override { return left_->forward(input); }
  Leaf& left() { return *left_; }
  Leaf& add_right() { return register_child("right", std::make_unique<Leaf>(20)); }
  void add(const std::string& name) { register_parameter(name, Tensor::zeros({1})); }

 private:
  Leaf* left_;
};

template <typename Value>
std::vector<std::string> names_of(const std::vector<std::pair<std::string, Value>>& named) {
  std::vector<std::string> names;
  for (const auto& entry : named) names.push_back(entry.first);
  return names;
}

using Names = std::vector<std::string>;

TEST(Module, NamesFollowTheTree) {
  Tree tree;
  tree.add_right();
  EXPECT_EQ(names_of(tree.named_parameters()),
            (Names{"gain", "left.weight", "left.bias", "right.weight", "right.bias"}));
  EXPECT_EQ(names_of(tree.named_buffers()), (Names{"left.average", "right.average"}));
  EXPECT_EQ(tree.parameter_count(), 1 + 2 * (12 + 2));
}

TEST(Module, ANameIsTakenOnce) {
  Tree tree;
  EXPECT_TRUE(throws_error([&] { tree.add("gain"); }, "'gain' is taken"));
  EXPECT_TRUE(throws_error([&] { tree.add("left"); }, "'left' is taken"));
  EXPECT_TRUE(throws_error([&] { tree.add(""); }, "needs a name"));
  tree.add_right();
  EXPECT_TRUE(throws_error([&] { tree.add_right(); }, "'right' is taken"));
}

TEST(Module, FrozenParametersWantNoGradient) {
  Tree tree;
  EXPECT_EQ(tree.parameters().size(), 3u);
  EXPECT_FALSE(tree.left().average().requires_grad());
  tree.freeze();
  EXPECT_TRUE(tree.parameters().empty());
  EXPECT_FALSE(tree.left().weight().requires_grad());
  tree.unfreeze();
  EXPECT_EQ(tree.parameters().size(), 3u);
  EXPECT_FALSE(tree.left().average().requires_grad());
}

TEST(Module, TrainingReachesChildrenOfEveryAge) {
  Tree tree;
  EXPECT_TRUE(tree.training());
  tree.train(false);
  EXPECT_FALSE(tree.left().training());
  EXPECT_FALSE(tree.add_right().training());
  tree.train();
  EXPECT_TRUE(tree.training() && tree.left().training());
}

TEST(Module, HandlesSurviveAMove) {
  Tree original;
  const Variable weight = original.left().weight();
  Tree moved = std::move(original);
  EXPECT_TRUE(moved.left().weight().same_as(weight));
  EXPECT_TRUE(moved.named_parameters()[1].second.same_as(weight));
  moved.load_state(moved.state());
  moved.to(Device::cpu()).freeze();
  EXPECT_FALSE(weight.requires_grad());

  Tree assigned;
  assigned = std::move(moved);
  EXPECT_TRUE(assigned.left().weight().same_as(weight));
}

TEST(Module, ZeroGradForgetsEveryGradient) {
  Tree tree;
  Variable weight = tree.left().weight();
  weight.mutable_grad() = Tensor::zeros(weight.shape());
  tree.to(Device::cpu());
  EXPECT_TRUE(weight.grad()) << "a gradient survives a move to where it is";
  tree.zero_grad();
  EXPECT_FALSE(weight.grad());
}

TEST(Module, ADeviceThatIsNotThereChangesNothing) {
  Tree tree;
  EXPECT_TRUE(throws_error([&] { tree.to({Device::Kind::cuda, 9}); }, "cuda"));
  EXPECT_EQ(tree.left().weight().value().device(), Device::cpu());
}

TEST(ModuleState, HoldsCopiesInFileOrder) {
  Leaf leaf;
  const SafetensorsContent state = leaf.state();
  ASSERT_EQ(names_of(state.tensors), (Names{"weight", "bias", "average"}));
  const Tensor filters = state.tensors[0].second;
  ASSERT_EQ(filters.shape(), Shape({2, 2, 1, 3}));
  const Tensor weight = leaf.weight().value();
  for (int k = 0; k < 2; ++k) {
    for (int c = 0; c < 2; ++c) {
      for (int s = 0; s < 3; ++s) {
        EXPECT_EQ(filters.span<float>()[(k * 2 + c) * 3 + s], weight.span<float>()[(k * 3 + s) * 2 + c]);
      }
    }
  }
  for (const auto& [name, tensor] : state.tensors) {
    EXPECT_FALSE(tensor.shares_storage_with(leaf.average().value())) << name;
  }
}

TEST(ModuleState, LoadsIntoTheSameHandles) {
  Leaf source(1), target(2);
  const Variable weight = target.weight();
  target.freeze();
  target.load_state(source.state());
  EXPECT_TRUE(same_bytes(weight.value(), source.weight().value()));
  EXPECT_TRUE(same_bytes(target.average().value(), source.average().value()));
  EXPECT_FALSE(weight.requires_grad());
}

TEST(ModuleState, ConvertsHalfPrecision) {
  for (const Dtype dtype : {Dtype::f16, Dtype::bf16}) {
    Leaf source(1), target(2);
    SafetensorsContent state = source.state();
    for (auto& entry : state.tensors) entry.second = entry.second.to(dtype);
    target.load_state(state);
    EXPECT_TRUE(same_bytes(target.weight().value(), source.weight().value())) << to_string(dtype);
  }
}

TEST(ModuleState, SaysEverythingThatDoesNotFitAndChangesNothing) {
  Leaf source(1), target(2);
  const Tensor before = target.weight().value().clone();
  SafetensorsContent state = source.state();
  state.tensors[1].first = "offset";
  state.tensors[2].second = Tensor::zeros({3});
  const auto load = [&] { target.load_state(state); };
  EXPECT_TRUE(throws_error(load, "missing: bias"));
  EXPECT_TRUE(throws_error(load, "unexpected: offset"));
  EXPECT_TRUE(throws_error(load, "of another shape or type: average [3] instead of [2]"));
  EXPECT_TRUE(throws_error(load, "nothing was loaded"));
  EXPECT_TRUE(same_bytes(target.weight().value(), before));

  state = source.state();
  state.tensors[1].second = Tensor::zeros({2}, Dtype::i64);
  EXPECT_TRUE(throws_error(load, "bias of type i64 instead of f32"));
  EXPECT_TRUE(same_bytes(target.weight().value(), before));
}

TEST(ModuleState, LongListsAreCut) {
  Leaf leaf;
  SafetensorsContent state = leaf.state();
  for (int i = 10; i < 30; ++i) state.tensors.emplace_back("extra" + std::to_string(i), Tensor::zeros({1}));
  EXPECT_TRUE(throws_error([&] { leaf.load_state(state); }, "extra16, extra17 and 12 more"));
}

class ModuleFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / "minidl_module_test";
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(ModuleFile, RoundTripIsExact) {
  const std::filesystem::path path = folder_ / "tree.safetensors";
  Tree source, target;
  source.left().load_state(Leaf(5).state());
  source.save(path, {{"epoch", "3"}});
  target.load(path);
  EXPECT_TRUE(same_bytes(target.left().weight().value(), source.left().weight().value()));

  const SafetensorsReader reader(path);
  EXPECT_EQ(reader.metadata().at("epoch"), "3");
  EXPECT_NE(reader.metadata().at("producer").find("libminidl"), std::string::npos);
  EXPECT_EQ(reader.info("left.weight").shape, Shape({2, 2, 1, 3}));
}

TEST_F(ModuleFile, ErrorsNameTheFile) {
  Tree tree;
  const std::filesystem::path path = folder_ / "leaf.safetensors";
  Leaf().save(path);
  EXPECT_TRUE(throws_error([&] { tree.load(path); }, "leaf.safetensors does not fit this network; missing: gain"));
  EXPECT_TRUE(throws_error([&] { tree.load(folder_ / "none.safetensors"); }, "none.safetensors"));
  std::ofstream(path) << "not a safetensors file";
  EXPECT_TRUE(throws_error([&] { tree.load(path); }, "leaf.safetensors"));
  EXPECT_TRUE(throws_error([&] { tree.save(folder_ / "no_folder" / "x.safetensors"); }, "x.safetensors"));
}

}  // namespace
}  // namespace minidl::layers
