// The memory plan against what the allocator measures in a real run.
#include <minidl/apps/memory_plan.h>
#include <minidl/core/allocator.h>
#include <support/compare.h>
#include <support/sanitizer.h>
#include <support/small_gatys.h>

#include <numeric>

namespace minidl::test {
namespace {

/// Channels that double from block to block as VGG's: layers differ in size as they do there.
layers::NetworkDescription growing_vgg() {
  layers::NetworkDescription network = tiny_vgg({2, 2, 2, 2, 1}, 8);
  int64_t in_c = 3;
  for (layers::LayerDescription& layer : network.layers) {
    if (layer.kind != layers::LayerDescription::Kind::conv) continue;
    const int64_t block = layer.name[4] - '0';
    layer.in_c = in_c;
    layer.out_c = in_c = 8 << std::min<int64_t>(block - 1, 3);
    layer.weight = layer.bias = {};
  }
  layers::fill_random_weights(network, 1);
  return network;
}

MemoryPlan plan_for(const layers::Vgg& network, const GatysSettings& settings, const Gatys& gatys,
                    const GatysPictures& pictures) {
  const std::vector<Extent> sizes = gatys.scale_sizes();
  std::vector<Extent> styles;
  for (const GatysObjective::Style& style : pictures.styles) {
    styles.push_back(gatys.style_size(style.picture, static_cast<int>(sizes.size()) - 1));
  }
  return plan_memory(network, settings, sizes, styles);
}

struct PlanCase {
  std::string name;
  GatysOptimizer optimizer;
  PoolKind pooling;
  int64_t height, width, style_side;
  int scales = 1;
  double recompute_limit = layers::Vgg::kCheapRecompute;
  Precision precision = Precision::fp32;
};

std::ostream& operator<<(std::ostream& stream, const PlanCase& tested) {
  return stream << tested.name;
}

class PlannedMemory : public ::testing::TestWithParam<PlanCase> {
 protected:
  ~PlannedMemory() override { execution::set_precision(Precision::fp32); }
};

TEST_P(PlannedMemory, IsThatOfTheRun) {
  if (kUnderSanitizer) GTEST_SKIP() << "counts memory, of which there is as much without a sanitizer";
  const PlanCase& tested = GetParam();
  execution::set_precision(tested.precision);
  Allocator& memory = allocator(Device::cpu());
  const int64_t before = memory.stats().in_use;
  layers::Vgg network(growing_vgg());
  network.set_recompute_limit(tested.recompute_limit);
  GatysSettings settings = small_settings();
  settings.pooling = tested.pooling;
  settings.optimizer = tested.optimizer;
  settings.scales = tested.scales;
  settings.history = 3;
  settings.iterations = tested.optimizer == GatysOptimizer::lbfgs ? 5 : 1;  // the history is full
  const GatysPictures pictures{.content = wavy_picture(tested.height, tested.width, 1),
                               .styles = {{wavy_picture(tested.style_side, tested.style_side, 2)}},
                               .init = {}};
  Gatys gatys(network, settings, pictures);
  const MemoryPlan plan = plan_for(network, settings, gatys, pictures);
  memory.reset_peak();
  gatys.run();
  const double measured = static_cast<double>(memory.stats().peak_in_use - before);
  std::string rows;
  for (const MemoryPlan::Row& row : plan.rows) rows += row.what + " " + std::to_string(row.bytes) + "\n";
  EXPECT_NEAR(static_cast<double>(plan.peak_bytes) / measured, 1.0, 0.1) << rows << "measured " << measured;
  RecordProperty("planned_by_measured", std::to_string(static_cast<double>(plan.peak_bytes) / measured));
}

INSTANTIATE_TEST_SUITE_P(
    Runs, PlannedMemory,
    ::testing::Values(PlanCase{"lbfgs_max", GatysOptimizer::lbfgs, PoolKind::max, 448, 512, 384},
                      PlanCase{"lbfgs_avg", GatysOptimizer::lbfgs, PoolKind::average, 448, 512, 384},
                      PlanCase{"adam_max", GatysOptimizer::adam, PoolKind::max, 512, 448, 384},
                      PlanCase{"adam_avg", GatysOptimizer::adam, PoolKind::average, 512, 448, 384},
                      PlanCase{"sgd_two_scales", GatysOptimizer::sgd, PoolKind::max, 512, 448, 384, 2},
                      PlanCase{"all_features_kept", GatysOptimizer::adam, PoolKind::max, 512, 448, 384, 1, 0},
                      PlanCase{"features_in_bf16", GatysOptimizer::adam, PoolKind::max, 512, 448, 384, 1, 0,
                               Precision::bf16},
                      PlanCase{"no_features_kept", GatysOptimizer::adam, PoolKind::max, 512, 448, 384, 1, 1e9},
                      PlanCase{"large_style", GatysOptimizer::adam, PoolKind::max, 128, 128, 768}),
    [](const auto& tested) { return tested.param.name; });

class MemoryPlanShapes : public ::testing::Test {
 protected:
  MemoryPlan plan(Extent size, const GatysSettings& settings = small_settings(), Extent style = {64, 64}) const {
    return plan_memory(network_, settings, {size}, {style});
  }

  layers::Vgg network_{growing_vgg()};
};

TEST_F(MemoryPlanShapes, RowsSumToThePeak) {
  for (const Extent style : {Extent{64, 64}, Extent{1000, 1000}}) {
    const MemoryPlan planned = plan({200, 300}, small_settings(), style);
    const auto add = [](int64_t sum, const MemoryPlan::Row& row) { return sum + row.bytes; };
    EXPECT_EQ(std::accumulate(planned.rows.begin(), planned.rows.end(), int64_t{0}, add), planned.peak_bytes);
    for (const MemoryPlan::Row& row : planned.rows) EXPECT_GE(row.bytes, 0) << row.what;
  }
}

TEST_F(MemoryPlanShapes, MoreOfEverythingNeedsMore) {
  const MemoryPlan small = plan({400, 600}), large = plan({800, 1200});
  EXPECT_NEAR(static_cast<double>(large.peak_bytes) / static_cast<double>(small.peak_bytes), 4.0, 0.4);
  EXPECT_NEAR(large.flops_per_evaluation / small.flops_per_evaluation, 4.0, 0.05);
  GatysSettings settings = small_settings();
  settings.iterations = 45;
  settings.history = 10;
  const int64_t short_history = plan({400, 600}, settings).peak_bytes;
  settings.history = 50;  // a pair for each iteration
  EXPECT_EQ(plan({400, 600}, settings).peak_bytes - short_history, 2 * 35 * 400 * 600 * 3 * 2);  // as bf16
  EXPECT_GT(plan({400, 600}, small_settings(), {2000, 2000}).peak_bytes, small.peak_bytes);
  settings = small_settings();
  settings.iterations *= 3;
  EXPECT_DOUBLE_EQ(plan({400, 600}, settings).flops_of_run, 3.0 * small.flops_of_run);
}

class FitMemory : public MemoryPlanShapes {
 protected:
  ~FitMemory() override { execution::set_filter_cache(before_); }
  /// What is kept under a limit.
  int64_t cache_for(int64_t limit) {
    execution::set_filter_cache(before_);
    network_.set_recompute_limit(kCheap);
    fit_memory(
        network_,
        [&] {
          return plan({400, 600});
        },
        limit);
    return execution::filter_cache();
  }
  MemoryPlan plan_with(int64_t cache, double recompute_limit = kCheap) {
    execution::set_filter_cache(cache);
    network_.set_recompute_limit(recompute_limit);
    return plan({400, 600});
  }
  static constexpr double kCheap = layers::Vgg::kCheapRecompute;

  const int64_t before_ = execution::filter_cache();
};

TEST_F(FitMemory, KeepsAsManyFiltersAsFit) {
  const int64_t with_all = plan_with(before_).peak_bytes, with_none = plan_with(0).peak_bytes;
  EXPECT_EQ(cache_for(2 * with_all), before_);
  EXPECT_EQ(cache_for((11 * with_none + 9) / 10), 0);  // a tenth for what the plan does not know
  EXPECT_EQ(network_.recompute_limit(), kCheap);
  const int64_t between = (11 * with_none + 11 * with_all) / 20;
  const int64_t some = cache_for(between);
  EXPECT_GT(some, 0);
  EXPECT_LT(some, before_);
  EXPECT_LE(1.1 * static_cast<double>(plan_with(some).peak_bytes), static_cast<double>(between));
  EXPECT_TRUE(throws_error([&] { cache_for(with_none / 2); }, "the limit is " + std::to_string(with_none / 2)));
}

class MemoryPlanVgg : public ::testing::Test {
 protected:
  MemoryPlanVgg() { execution::set_filter_cache(0); }
  ~MemoryPlanVgg() override { execution::set_filter_cache(before_); }
  static layers::NetworkDescription vgg19() {
    layers::NetworkDescription network = layers::vgg_description(19, false);
    layers::fill_random_weights(network, 1);
    return network;
  }
  MemoryPlan plan() const { return plan_memory(network_, settings_, {{512, 512}}, {{512, 512}}); }
  std::set<std::string> recomputed() const { return network_.recomputed({1, 512, 512, 3}, settings_.taps()); }

  const int64_t before_ = execution::filter_cache();
  const GatysSettings settings_;
  layers::Vgg network_{vgg19()};
};

// 2 x 189 GFLOP: the network of the paper at 512 x 512 up to relu5_1.
TEST_F(MemoryPlanVgg, WorkOfOneEvaluation) {
  EXPECT_NEAR(plan().flops_per_evaluation, 397e9, 20e9);
}

TEST_F(MemoryPlanVgg, WithoutFiltersFeaturesAreComputedAnewToFit) {
  using Set = std::set<std::string>;
  EXPECT_EQ(recomputed(), Set{"relu1_1"});
  const int64_t cheap = plan().peak_bytes;
  network_.set_recompute_limit(0);
  const int64_t all_kept = plan().peak_bytes;
  EXPECT_GT(all_kept, cheap + (32 << 20));
  network_.set_recompute_limit(1e9);
  const int64_t least = plan().peak_bytes;
  EXPECT_LT(least, cheap - (16 << 20));

  const auto names_below = [&](int64_t limit) {
    network_.set_recompute_limit(layers::Vgg::kCheapRecompute);
    fit_memory(
        network_, [&] { return plan(); }, limit);
    return recomputed();
  };
  EXPECT_EQ(names_below(2 * cheap), Set{"relu1_1"});
  EXPECT_EQ(names_below(11 * cheap / 10 - 1000), (Set{"relu1_1", "relu2_1"}));
  EXPECT_EQ(names_below(least), (Set{"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2"}));
  EXPECT_TRUE(throws_error([&] { names_below(least / 2); }, "the limit is " + std::to_string(least / 2)));
}

}  // namespace
}  // namespace minidl::test
