#include <minidl/apps/common/style_mix.h>
#include <support/compare.h>

namespace minidl::apps {
namespace {

using test::throws_error;

TEST(StyleMix, IsAStyleOrSharesOfSeveral) {
  const auto shares = [](const std::string& text, int64_t styles) { return shares_of(parse_style_mix(text), styles); };
  EXPECT_EQ(shares("2", 3), (std::vector<float>{0, 0, 1}));
  EXPECT_EQ(shares("0:3,2:1", 3), (std::vector<float>{0.75f, 0, 0.25f}));
  EXPECT_EQ(shares("1,0", 2), (std::vector<float>{0.5f, 0.5f}));
  EXPECT_TRUE(throws_error([&] { shares("3", 3); }, "--style-index 3: the model has 3 styles, 0 to 2"));
  EXPECT_TRUE(throws_error([&] { shares("1", 1); }, "the model has one style, number 0"));
  for (const char* bad : {"", ",", "0,", "x", "0:x", "0:0", "0:-1", ":1", "0:nan", "-1"}) {
    EXPECT_TRUE(throws_error([&] { parse_style_mix(bad); }, "must be")) << bad;
  }
  EXPECT_TRUE(throws_error([] { parse_style_mix("1:1,1:2"); }, "names style 1 twice"));
}

}  // namespace
}  // namespace minidl::apps
