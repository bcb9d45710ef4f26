// Distillation on tiny networks and pictures: its gradient, that it learns, what the student is for style transfer,
// exact resumption, the pool, the judge, and what is refused.
#include <minidl/apps/distill_pool.h>
#include <minidl/core/tape.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/ops.h>
#include <support/compare.h>
#include <support/sanitizer.h>
#include <support/small_distill.h>
#include <support/temporary_folder.h>
#include <support/test_data.h>
#include <support/threads.h>

#include <limits>

namespace minidl::test {
namespace {

class DistillRun : public ::testing::Test {
 protected:
  layers::Vgg teacher_{tiny_network()};
  TemporaryFolder folder_;
};

/// Of everything but the time that a run took.
void expect_same_state(const SafetensorsContent& actual, const SafetensorsContent& expected) {
  ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
  EXPECT_EQ(actual.metadata, expected.metadata);
  for (size_t i = 0; i < actual.tensors.size(); ++i) {
    const std::string& name = actual.tensors[i].first;
    EXPECT_EQ(name, expected.tensors[i].first);
    if (name == "position" || name == "history") continue;
    EXPECT_TRUE(same_bytes(actual.tensors[i].second, expected.tensors[i].second)) << name;
  }
}

// Of the whole loss along a random direction of each parameter, chain and predictions alike.
TEST_F(DistillRun, GradientIsThatOfTheLoss) {
  const DistillSettings settings = small_distill_settings();
  DistillObjective objective(teacher_, settings);
  DistillStudent student(settings, teacher_, objective.units(small_photos(0, 3)));
  const Tensor picture = wavy_picture(32, 32, 4);
  const DistillObjective::Targets targets = objective.targets(picture, student.units());
  const auto loss = [&] {
    DistillErrors errors;
    objective.loss(student, picture, targets, 1.0, errors);
    return errors.total;
  };
  DistillErrors errors;
  Tape tape;
  {
    const TapeScope recording(tape);
    tape.backward(objective.loss(student, picture, targets, 1.0, errors));
  }
  EXPECT_EQ(errors.features.size(), 6u);
  EXPECT_EQ(errors.grams.size(), 6u);
  uint64_t seed = 1;
  for (auto [name, parameter] : student.named_parameters()) {
    const Tensor direction = random_uniform(parameter.shape(), ++seed);
    const Tensor original = parameter.value().clone();
    const auto at = [&](float offset) {
      add_scaled(1.0f, original, offset, direction, parameter.mutable_value());
      const double value = loss();
      parameter.mutable_value().copy_from(original);
      return value;
    };
    constexpr float kStep = 2e-3f;
    const double difference = (8.0 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12.0 * kStep);
    ASSERT_TRUE(parameter.grad()) << name;
    const double slope = dot(parameter.grad(), direction);
    EXPECT_NEAR(slope, difference, 0.02 * std::abs(difference) + 2e-3) << name;
  }
}

// A student as wide as its teacher begins as the teacher; a thinner one, or one with fewer convolutions, far nearer to
// it than random weights are; a wider one stays as it is.
TEST_F(DistillRun, BeginsWithWhatTheTeacherAnswers) {
  const auto error_of = [&](layers::StudentOptions shape, bool expected) {
    DistillSettings settings = small_distill_settings();
    settings.student = shape;
    DistillObjective objective(teacher_, settings);
    DistillStudent student(settings, teacher_, objective.units(small_photos(0, 3)));
    const Tensor picture = wavy_picture(32, 32, 4);
    DistillErrors before, after;
    const DistillObjective::Targets targets = objective.targets(picture, student.units());
    objective.loss(student, picture, targets, 1.0, before);
    EXPECT_EQ(student.start_from(teacher_, {small_photos(0, 3), small_photos(5, 3), small_photos(9, 3)}), expected);
    objective.loss(student, picture, targets, 1.0, after);
    return std::pair(before.total, after.total);
  };
  const auto [same_before, same] = error_of({.widths = {4, 4, 4, 4, 4}, .convolutions = {2, 2, 4, 4, 1}}, true);
  EXPECT_LT(same, 1e-4);
  EXPECT_GT(same_before, 1.0);
  const auto [thin_before, thin] = error_of({.widths = {3, 3, 3, 3, 3}, .convolutions = {2, 2, 4, 4, 1}}, true);
  EXPECT_LT(thin, 0.5 * thin_before);
  const auto [few_before, few] = error_of({.widths = {3, 3, 3, 3, 3}, .convolutions = {1, 1, 1, 2, 1}}, true);
  EXPECT_LT(few, 0.7 * few_before);
  const auto [wide_before, wide] = error_of({.widths = {5, 4, 4, 4, 4}, .convolutions = {2, 2, 4, 4, 1}}, false);
  EXPECT_EQ(wide, wide_before);
}

// The deployed network's losses are those of the predicted features, in the teacher's own unit.
TEST_F(DistillRun, DeployedStudentStandsForItsPredictions) {
  const DistillSettings settings = small_distill_settings();
  DistillObjective objective(teacher_, settings);
  DistillStudent student(settings, teacher_, objective.units(small_photos(0, 3)));
  student.update();
  const Tensor a = wavy_picture(32, 32, 2), b = wavy_picture(32, 32, 6);
  std::map<std::string, Tensor> of_a;
  student.visit(a, [&](const std::string& tap, const Variable& x) { of_a[tap] = x.value(); });
  student.visit(b, [&](const std::string& tap, const Variable& x) {
    const double unit = student.units().at(tap);
    const double expected = unit * unit * squared_distance(of_a.at(tap), x.value());
    layers::Vgg& deployed = student.deployed();
    const Tensor own_a = deployed(Variable(a), {tap}).at(tap).value();
    const Tensor own_b = deployed(Variable(b), {tap}).at(tap).value();
    EXPECT_NEAR(squared_distance(own_a, own_b), expected, 1e-3 * expected) << tap;
    EXPECT_EQ(deployed.loss_channels(tap), 4);
  });
  EXPECT_TRUE(student.deployed().description().is_student());
}

TEST_F(DistillRun, ARunBeginsWithTheFitOrSaysThatItDoesNot) {
  DistillSettings settings = small_distill_settings();
  const auto first = [&] {
    DistillProgress progress;
    Distill(teacher_, settings, small_distill_data()).run([&](const DistillProgress& now) {
      progress = now;
      return false;
    });
    return progress;
  };
  const DistillProgress fitted = first();
  EXPECT_TRUE(fitted.note.empty()) << fitted.note;
  settings.fit_teacher = false;
  const DistillProgress random = first();
  EXPECT_TRUE(random.note.empty()) << random.note;
  EXPECT_LT(fitted.given.total, 0.8 * random.given.total);
  settings.fit_teacher = true;
  settings.student.widths = {5, 4, 4, 4, 4};
  EXPECT_NE(first().note.find("the first weights are random"), std::string::npos);
}

TEST_F(DistillRun, Learns) {
  DistillSettings settings = small_distill_settings();
  settings.steps = 120;
  settings.pretraining = 60;
  settings.lr = 1e-2f;
  settings.fit_teacher = false;
  Distill training(teacher_, settings, small_distill_data());
  std::vector<double> given, pool;
  const DistillResult result = training.run([&](const DistillProgress& progress) {
    given.push_back(progress.given.total);
    EXPECT_EQ(progress.pool.features.empty(), progress.step <= 60);
    if (!progress.pool.features.empty()) pool.push_back(progress.pool.total);
    return true;
  });
  EXPECT_EQ(result.steps, 120);
  EXPECT_LT(given[59], 0.5 * given[0]);
  EXPECT_EQ(training.history().back().step, 120);
  EXPECT_GT(training.history().back().pool, 0.0);
  EXPECT_EQ(training.pool_pictures(9).size(), 3u);
  EXPECT_TRUE(training.student().is_student());
}

TEST_F(DistillRun, GoesOnBitForBit) {
  const DistillSettings settings = small_distill_settings();
  DistillData data = small_distill_data();
  data.validation = {{wavy_picture(32, 40, 2), wavy_picture(36, 32, 5)}};
  const DistillWatch watch{.validate_every = 4, .iterations = 2};
  Distill whole(teacher_, settings, data, watch);
  whole.run();
  for (const int64_t cut : kUnderSanitizer ? std::vector<int64_t>{3} : std::vector<int64_t>{1, 3, 6}) {
    Distill first(teacher_, settings, data, watch);
    EXPECT_TRUE(first.run([&](const DistillProgress& progress) { return progress.step < cut; }).cancelled);
    write_safetensors(folder_ / "state", first.state());
    Distill second(teacher_, settings, data, watch);
    second.load_state(folder_ / "state");
    EXPECT_EQ(second.step(), cut);
    second.run();
    expect_same_state(second.state(), whole.state());
    ASSERT_EQ(second.validations().size(), 3u);
    EXPECT_EQ(second.validations()[2].score.style_share, whole.validations()[2].score.style_share);
    ASSERT_EQ(second.history().size(), 9u);
    for (size_t i = 0; i < 9; ++i) EXPECT_EQ(second.history()[i].given, whole.history()[i].given);
  }
}

TEST_F(DistillRun, SameForEveryNumberOfThreads) {
  DistillSettings settings = small_distill_settings();
  settings.steps = 4;
  std::optional<SafetensorsContent> expected;
  for (const int threads : kUnderSanitizer ? std::vector<int>{1, 5} : std::vector<int>{1, 2, 5}) {
    const WithThreads scope(threads);
    Distill training(teacher_, settings, small_distill_data());
    training.run();
    if (expected) expect_same_state(training.state(), *expected);
    expected = training.state();
  }
}

TEST_F(DistillRun, PoolTurnsAreAFunctionOfTheStep) {
  const DistillSettings settings = small_distill_settings();
  const Tensor photos = small_photos(1, 3), paintings = small_photos(2, 3);
  DistillPool one(settings), other(settings);
  for (int64_t step = 0; step < 5; ++step) {
    const size_t number = one.take_turn(step, photos, paintings, teacher_);
    EXPECT_EQ(number, static_cast<size_t>(step % 3));
    EXPECT_EQ(other.take_turn(step, photos, paintings, teacher_), number);
    EXPECT_TRUE(same_bytes(one.picture(number), other.picture(number)));
    EXPECT_FALSE(same_bytes(one.picture(number), photos.slice(0, 1)));
    EXPECT_EQ(one.others(step, number, 9), other.others(step, number, 9));
    for (const size_t also : one.others(step, number, 1)) EXPECT_NE(also, number);
  }
  EXPECT_EQ(one.size(), 3u);
}

TEST_F(DistillRun, GivenPicturesAreAFunctionOfTheStep) {
  const Tensor photos = small_photos(1, 3), paintings = small_photos(2, 3);
  bool is_painting_seen = false, is_photo_seen = false, is_other_seen = false;
  for (int64_t step = 0; step < 12; ++step) {
    const Tensor pictures = given_pictures(photos, paintings, 3, step);
    EXPECT_TRUE(same_bytes(pictures, given_pictures(photos, paintings, 3, step)));
    for (int64_t i = 0; i < 3; ++i) {
      const Tensor picture = pictures.slice(i, i + 1);
      const bool is_photo = same_bytes(picture, photos.slice(i, i + 1));
      const bool is_painting = same_bytes(picture, paintings.slice(i, i + 1));
      is_photo_seen |= is_photo;
      is_painting_seen |= is_painting;
      is_other_seen |= !is_photo && !is_painting;
      EXPECT_TRUE(all_finite(picture));
    }
  }
  EXPECT_TRUE(is_photo_seen && is_painting_seen && is_other_seen);
}

// The teacher itself is as good as the teacher.
TEST_F(DistillRun, JudgeMeasuresBesideTheTeacher) {
  const std::vector<DistillPair> pairs{{wavy_picture(32, 40, 2), wavy_picture(36, 32, 5)},
                                       {wavy_picture(40, 32, 3), wavy_picture(32, 32, 1)}};
  DistillJudge judge(teacher_, small_distill_settings(), pairs, 6);
  const DistillScore score = judge.score(teacher_);
  EXPECT_DOUBLE_EQ(score.style_share, 1.0);
  EXPECT_DOUBLE_EQ(score.paper_share, 1.0);
  EXPECT_DOUBLE_EQ(score.content_ratio, 1.0);
  ASSERT_EQ(judge.pictures().size(), 2u);
  EXPECT_TRUE(same_bytes(judge.pictures()[1], judge.teacher_pictures()[1]));
  layers::Vgg stranger(tiny_network(77));
  EXPECT_LT(judge.score(stranger).style_share, 0.9);
}

TEST_F(DistillRun, AStepThatIsNotFiniteChangesNothing) {
  DistillSettings settings = small_distill_settings();
  settings.on_policy = 0;
  DistillData data = small_distill_data();
  const auto broken = [](int64_t step) {
    Tensor photos = small_photos(step, 3);
    if (step == 1) photos.fill(std::numeric_limits<float>::quiet_NaN());
    return photos;
  };
  data.photos = data.paintings = broken;
  Distill training(teacher_, settings, data);
  std::vector<Tensor> weights;
  std::vector<std::string> notes;
  training.run([&](const DistillProgress& progress) {
    weights.push_back(training.student().layers.front().weight);
    notes.push_back(progress.note);
    return progress.step < 3;
  });
  EXPECT_NE(notes.at(1).find("not finite"), std::string::npos);
  EXPECT_TRUE(notes.at(2).empty());
  EXPECT_TRUE(same_bytes(weights.at(1), weights.at(0)));
  EXPECT_FALSE(same_bytes(weights.at(2), weights.at(1)));
}

TEST_F(DistillRun, RefusesStatesOfOtherRuns) {
  const DistillSettings settings = small_distill_settings();
  Distill training(teacher_, settings, small_distill_data());
  training.run([](const DistillProgress& progress) { return progress.step < 3; });
  SafetensorsContent state = training.state();
  write_safetensors(folder_ / "state", state);
  const auto refused = [&](layers::Vgg& teacher, const DistillSettings& other, const std::string& words) {
    Distill run(teacher, other, small_distill_data());
    const auto result = throws_error([&] { run.load_state(folder_ / "state"); }, words);
    EXPECT_EQ(run.step(), 0);
    return result;
  };
  DistillSettings other = settings;
  other.lr = 1e-3f;
  EXPECT_TRUE(refused(teacher_, other, "lr was 0.005, is now 0.001"));
  layers::Vgg other_teacher(tiny_network(3));
  for (auto [name, parameter] : other_teacher.named_parameters())
    if (name == "conv1_1.bias") parameter.mutable_value().fill(0.5f);
  EXPECT_TRUE(refused(other_teacher, settings, "teacher was"));
  std::erase_if(state.tensors, [](const auto& entry) { return entry.first == "pool.0.style"; });
  write_safetensors(folder_ / "state", state);
  EXPECT_TRUE(refused(teacher_, settings, "pool.0.style"));
  write_safetensors(folder_ / "state", SafetensorsContent{});
  EXPECT_TRUE(refused(teacher_, settings, "is not a state file of a distillation"));
}

TEST_F(DistillRun, RefusesSettingsThatCannotWork) {
  const auto refused = [&](const std::function<void(DistillSettings&)>& change, const std::string& words) {
    DistillSettings settings = small_distill_settings();
    change(settings);
    return throws_error([&] { Distill(teacher_, settings, small_distill_data()); }, words);
  };
  EXPECT_TRUE(refused([](auto& s) { s.on_policy = 4; }, "on_policy is 4; it must be a number from 0 to 3"));
  EXPECT_TRUE(refused([](auto& s) { s.lr = 0; }, "lr is 0"));
  EXPECT_TRUE(refused([](auto& s) { s.student.convolutions[3] = 1; }, "relu4_2"));
  EXPECT_TRUE(refused([](auto& s) { s.content_layers = {{"pool4", 1.0}}; }, "'pool4' is none"));
  EXPECT_TRUE(refused([](auto& s) { s.feature_weight = s.gram_weight = 0; }, "nothing to learn"));
  EXPECT_TRUE(refused([](auto& s) { s.batch = 2; }, "must have [2,32,32,3]"));
  DistillStudent student(small_distill_settings(), teacher_,
                         DistillObjective(teacher_, small_distill_settings()).units(small_photos(0, 3)));
  layers::Vgg no_teacher(student.description());
  EXPECT_TRUE(throws_error([&] { Distill(no_teacher, small_distill_settings(), small_distill_data()); },
                           "the teacher is a student itself"));
  EXPECT_TRUE(throws_error([&] { Distill(teacher_, small_distill_settings(), {}); }, "no source of photos"));
}

}  // namespace
}  // namespace minidl::test
