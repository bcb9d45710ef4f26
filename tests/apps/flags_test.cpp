#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>
#include <minidl/version.h>
#include <support/compare.h>

namespace minidl::apps {
namespace {

/// A program with one flag of every kind.
struct Sample {
  std::string content, output = "out.png";
  std::vector<std::string> styles;
  int size = 512;
  std::optional<int64_t> history;
  double rate = 1.0;
  std::optional<double> alpha;
  int pooling = 2;
  bool original_colors = false;
  Flags flags{{.program = "sample", .summary = "a program", .example = "sample --content a.jpg"}};

  Sample() {
    flags.group("Pictures")
        .text("--content", content, "FILE", "the photo")
        .required()
        .texts("--style", styles, "FILE[:WEIGHT]", "the painting")
        .text("--output,-o", output, "FILE", "the result")
        .integer("--size", size, 0, 16384, "longer side");
    flags.group("Optimiser")
        .integer("--history", history, 1, 100, "pairs kept")
        .number("--lr", rate, NumberRange::positive(), "step length")
        .number("--alpha,--content-weight", alpha, NumberRange::at_least(0.0), "factor of the content")
        .choice<int, int>("--pooling", pooling, {{"avg", 1}, {"max", 2}}, "kind of pooling")
        .toggle("--original-colors", original_colors, "keep the colours");
  }

  bool parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "sample");
    return flags.parse(static_cast<int>(arguments.size()), arguments.data());
  }
};

/// The message of the UsageError for these arguments after a valid --content.
std::string usage_error(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"--content", "a.png"});
  try {
    Sample().parse(std::move(arguments));
  } catch (const UsageError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Flags, DefaultsStayWithoutFlags) {
  Sample sample;
  EXPECT_TRUE(sample.parse({"--content", "a.png"}));
  EXPECT_EQ(sample.content, "a.png");
  EXPECT_EQ(sample.output, "out.png");
  EXPECT_EQ(sample.size, 512);
  EXPECT_FALSE(sample.history.has_value());
  EXPECT_FALSE(sample.alpha.has_value());
  EXPECT_EQ(sample.pooling, 2);
  EXPECT_FALSE(sample.original_colors);
}

TEST(Flags, EveryKindIsRead) {
  Sample sample;
  EXPECT_TRUE(sample.parse({"--content=a.png", "--style", "b.jpg:0.5", "--style", "c.jpg", "-o", "d.png", "--size", "0",
                            "--history", "7", "--lr", "1e-3", "--content-weight", "5", "--pooling", "avg",
                            "--original-colors"}));
  EXPECT_EQ(sample.content, "a.png");
  EXPECT_EQ(sample.styles, (std::vector<std::string>{"b.jpg:0.5", "c.jpg"}));
  EXPECT_EQ(sample.output, "d.png");
  EXPECT_EQ(sample.size, 0);
  EXPECT_EQ(sample.history, 7);
  EXPECT_EQ(sample.rate, 1e-3);
  EXPECT_EQ(sample.alpha, 5.0);
  EXPECT_EQ(sample.pooling, 1);
  EXPECT_TRUE(sample.original_colors);
}

TEST(Flags, ARepeatableValueIsAssignedEachTime) {
  std::vector<std::string> single, repeatable;
  Flags flags({.program = "p", .summary = "s", .example = "e"});
  flags.value("--single", "X", "once", "", [&](const std::string& text) { single.push_back(text); });
  flags.value("--many", "X", "often", "", [&](const std::string& text) { repeatable.push_back(text); }).repeatable();
  const char* arguments[] = {"p", "--single", "a", "--many", "b", "--single", "c", "--many=d"};
  EXPECT_TRUE(flags.parse(8, arguments));
  EXPECT_EQ(single, std::vector<std::string>{"c"});
  EXPECT_EQ(repeatable, (std::vector<std::string>{"b", "d"}));
}

TEST(Flags, TheLastOfTwoSingleValuesCounts) {
  Sample sample;
  EXPECT_TRUE(sample.parse({"--content", "a.png", "--size", "100", "--size", "200"}));
  EXPECT_EQ(sample.size, 200);
}

TEST(Flags, UnknownFlagNamesTheNearest) {
  EXPECT_EQ(usage_error({"--sise", "3"}), "unknown flag --sise; did you mean --size? (see sample --help)");
  EXPECT_EQ(usage_error({"--original-colours"}),
            "unknown flag --original-colours; did you mean --original-colors? (see sample --help)");
  EXPECT_EQ(usage_error({"--poolin=max"}), "unknown flag --poolin; did you mean --pooling? (see sample --help)");
  EXPECT_EQ(usage_error({"--photographs"}), "unknown flag --photographs (see sample --help)");
  EXPECT_EQ(usage_error({"-x"}), "unknown flag -x; did you mean -o? (see sample --help)");
}

TEST(Flags, LeftOverArgumentIsNamed) {
  EXPECT_EQ(usage_error({"painting.jpg"}), "unexpected argument painting.jpg (see sample --help)");
}

TEST(Flags, BadValueNamesFlagValueAndWhatIsAccepted) {
  const std::string size = ": must be a whole number from 0 to 16384";
  for (const std::string text :
       {"-1", "1e9", "16385", "text", "nan", "inf", "12.5", " 12", "12 ", "0x10", "99999999999999999999"}) {
    EXPECT_EQ(usage_error({"--size", text.c_str()}), "--size " + text + size);
  }
  for (const std::string text : {"0", "-1", "nan", "inf", "1e999", "1,5", "abc", "1.5x"}) {
    EXPECT_EQ(usage_error({"--lr", text.c_str()}), "--lr " + text + ": must be a number greater than 0");
  }
  EXPECT_EQ(usage_error({"--alpha", "-0.5"}), "--alpha -0.5: must be a number of at least 0");
  EXPECT_EQ(usage_error({"--pooling", "min"}), "--pooling min: must be one of avg|max");
}

TEST(Flags, MissingValueIsNamed) {
  EXPECT_EQ(usage_error({"--size"}), "--size needs a value");
  EXPECT_EQ(usage_error({"-o", "--size", "3"}), "--output needs a value FILE, but --size follows");
  EXPECT_EQ(usage_error({"--output", ""}), "--output needs a value FILE");
  EXPECT_EQ(usage_error({"--original-colors=no"}), "--original-colors takes no value, no was given");
}

TEST(Flags, RequiredFlagIsNamed) {
  EXPECT_TRUE(test::throws_error([] { Sample().parse({}); }, "--content FILE is missing: the photo"));
}

TEST(Flags, HelpGroupsFlagsAndShowsDefaultsAndTheExample) {
  const std::string help = Sample().flags.help();
  const std::vector<std::string> in_order{
      "sample: a program\n",
      "Usage: sample --content FILE [flags]\n",
      "\nPictures\n",
      "  --content FILE              the photo\n",
      "  --style FILE[:WEIGHT]       the painting (repeatable)\n",
      "  -o, --output FILE           the result (default: out.png)\n",
      "(default: 512)\n",
      "\nOptimiser\n",
      "  --history N                 pairs kept\n",
      "  --alpha, --content-weight X\n                              factor of the content\n",
      "  --pooling avg|max           kind of pooling (default: max)\n",
      "\nExample\n  sample --content a.jpg\n"};
  size_t position = 0;
  for (const std::string& part : in_order) {
    position = help.find(part, position);
    ASSERT_NE(position, std::string::npos) << "missing or out of order: " << part << "\nin\n" << help;
  }
}

TEST(Flags, HelpAndVersionWinOverErrors) {
  for (const auto& [flag, words] :
       {std::pair{"--help", "Usage: sample"}, {"-h", "Usage: sample"}, {"--version", MINIDL_VERSION}}) {
    ::testing::internal::CaptureStdout();
    EXPECT_FALSE(Sample().parse({"--size", "text", "--unknown", flag}));
    EXPECT_NE(::testing::internal::GetCapturedStdout().find(words), std::string::npos);
  }
}

TEST(Flags, Positionals) {
  std::string first;
  std::vector<std::string> others;
  Flags flags({.program = "p", .summary = "s", .example = "e"});
  flags.positional("IN", first, "input").required().positionals("OUT", others, "outputs");
  const char* arguments[] = {"p", "IN", "[b]", "-", "--", "--d"};
  EXPECT_TRUE(flags.parse(6, arguments));
  EXPECT_EQ(first, "IN");
  EXPECT_EQ(others, (std::vector<std::string>{"[b]", "-", "--d"}));
  EXPECT_NE(flags.help().find("Usage: p IN [OUT...] [flags]"), std::string::npos);
}

TEST(FlagValues, Bytes) {
  EXPECT_EQ(parse_bytes("4096"), 4096);
  EXPECT_EQ(parse_bytes("12K"), 12 << 10);
  EXPECT_EQ(parse_bytes("800M"), 800 << 20);
  EXPECT_EQ(parse_bytes("800MB"), 800 << 20);
  EXPECT_EQ(parse_bytes("0.5GiB"), 1 << 29);
  for (const char* text : {"", "0", "-1G", "G", "B", "2X", "nanG", "infM", "1e30T", "2 G", "2GG"}) {
    EXPECT_TRUE(test::throws_error([&] { parse_bytes(text); }, "must be a size such as 800M")) << text;
  }
}

TEST(FlagValues, TextForPeople) {
  EXPECT_EQ(bytes_text(900), "900 bytes");
  EXPECT_EQ(bytes_text(5 << 20), "5 MiB");
  EXPECT_EQ(bytes_text(int64_t{3} << 29), "1.50 GiB");
  EXPECT_EQ(number_text(0.2), "0.2");
  EXPECT_EQ(number_text(1000.0), "1000");
}

TEST(FlagValues, IntegerWithoutUpperBound) {
  EXPECT_TRUE(test::throws_error([] { parse_integer("-1", 0, std::numeric_limits<int64_t>::max()); }, "of at least 0"));
  EXPECT_TRUE(
      test::throws_error([] { parse_number("2", {.minimum = 0.0, .maximum = 1.0}); }, "must be a number from 0 to 1"));
}

/// Exit code and standard error of a body.
std::pair<int, std::string> run_body(const std::function<int()>& body) {
  ::testing::internal::CaptureStderr();
  const int code = run_program(body);
  return {code, ::testing::internal::GetCapturedStderr()};
}

TEST(RunProgram, TurnsExceptionsIntoOneLineAndACode) {
  EXPECT_EQ(run_body([] { return 0; }), std::pair(0, std::string()));
  EXPECT_EQ(run_body([]() -> int { fail("no file {}", "a\nb\x1b[1m"); }),
            std::pair(1, std::string("error: no file a b [1m\n")));
  EXPECT_EQ(run_body([]() -> int { throw UsageError("unknown flag"); }),
            std::pair(2, std::string("error: unknown flag\n")));
  EXPECT_EQ(run_body([]() -> int { throw std::bad_alloc(); }).first, 1);
  EXPECT_EQ(run_body([]() -> int { throw std::runtime_error("x"); }), std::pair(1, std::string("error: x\n")));
}

}  // namespace
}  // namespace minidl::apps
