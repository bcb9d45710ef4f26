#include <minidl/core/device.h>
#include <minidl/core/error.h>
#include <minidl/core/shape.h>
#include <support/compare.h>

namespace minidl {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Error, PutsValuesInPlaceOfBraces) {
  const std::string name = "weight";
  EXPECT_EQ(message_of([&] { fail("[op] {} has {} of {} channels", name, 3, int64_t{64}); }),
            "[op] weight has 3 of 64 channels");
  EXPECT_EQ(message_of([] { fail("[op] no values"); }), "[op] no values");
}

TEST(Error, WritesEveryKindOfValue) {
  EXPECT_EQ(message_of([] { fail("{} {}", "text", std::string_view("view")); }), "text view");
  EXPECT_EQ(message_of([] { fail("{} {} {}", true, false, int8_t{-5}); }), "true false -5");
  EXPECT_EQ(message_of([] { fail("{} {}", uint64_t{18446744073709551615u}, uint8_t{200}); }),
            "18446744073709551615 200");
  EXPECT_EQ(message_of([] { fail("{} {} {}", 0.1, 1e300, 2.5f); }), "0.1 1e+300 2.5");
  EXPECT_EQ(message_of([] { fail("{} {}", Shape{1, 512, 512, 3}, Device::cpu()); }), "[1,512,512,3] cpu");
}

TEST(Error, LeavesBracesInValuesAndWithoutValuesAlone) {
  EXPECT_EQ(message_of([] { fail("{} and {}", std::string("{}"), 1); }), "{} and 1");
  EXPECT_EQ(message_of([] { fail("{} and {}", 1); }), "1 and {}");
  EXPECT_EQ(message_of([] { fail("{", 1); }), "{");
}

TEST(Error, ACheckThrowsOnlyWhenItsConditionFails) {
  int evaluated = 0;
  const auto count = [&] { return ++evaluated; };
  MINIDL_CHECK(evaluated == 0, "not built unless needed: {}", count());
  EXPECT_EQ(evaluated, 0);
  EXPECT_EQ(message_of([&] { MINIDL_CHECK(evaluated > 0, "[op] call {}", count()); }), "[op] call 1");
}

TEST(Error, IsARuntimeError) {
  EXPECT_THROW(fail("x"), std::runtime_error);
}

}  // namespace
}  // namespace minidl
