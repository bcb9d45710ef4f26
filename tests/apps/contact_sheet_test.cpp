#include <minidl/apps/common/contact_sheet.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/random_tensors.h>

namespace minidl::apps {
namespace {

using test::throws_error;

/// Red values of a sheet, one text line for each row.
std::string drawing(const Tensor& sheet) {
  std::string text;
  for (int64_t y = 0; y < sheet.shape()[1]; ++y) {
    for (int64_t x = 0; x < sheet.shape()[2]; ++x)
      text += static_cast<char>('0' + static_cast<int>(sheet.data<float>()[(y * sheet.shape()[2] + x) * 3]));
    text += "\n";
  }
  return text;
}
Tensor flat(int64_t n, int64_t height, int64_t width, float value) {
  return Tensor::full({n, height, width, 3}, value);
}

TEST(ContactSheet, PutsPicturesInRowsInTheMiddleOfTheirCells) {
  const std::vector<Tensor> pictures = {flat(1, 2, 3, 1), flat(2, 1, 1, 2), flat(1, 2, 2, 3)};
  EXPECT_EQ(drawing(contact_sheet(pictures, {.margin = 1, .background = 0})),
            "000000000\n"
            "011100200\n"
            "011100000\n"
            "000000000\n"
            "002003300\n"
            "000003300\n"
            "000000000\n");
  EXPECT_EQ(drawing(contact_sheet(pictures, {.columns = 3, .margin = 0, .background = 0})),
            "111020020\n"
            "111000000\n"
            "330000000\n"
            "330000000\n");
}

TEST(ContactSheet, OnePictureWithoutMarginIsItself) {
  const Tensor picture = test::random_integers({1, 5, 7, 3}, 1, 0, 255);
  EXPECT_TRUE(test::same_bytes(contact_sheet(std::span(&picture, 1), {.margin = 0}), picture));
  EXPECT_EQ(contact_sheet(std::span(&picture, 1), {.columns = 9}).shape(), Shape({1, 21, 23, 3}));
}

TEST(ContactSheet, RefusesWhatIsNoPicture) {
  const std::vector<Tensor> good = {flat(1, 2, 2, 1)}, grey = {Tensor::zeros({1, 2, 2, 1})};
  EXPECT_TRUE(throws_error([] { contact_sheet({}); }, "there are no pictures"));
  EXPECT_TRUE(throws_error([&] { contact_sheet(grey); }, "got f32 [1,2,2,1]"));
  EXPECT_TRUE(throws_error([] { contact_sheet(std::vector<Tensor>(1)); }, "needs f32 pictures"));
  EXPECT_TRUE(throws_error([&] { contact_sheet(good, {.margin = -1}); }, "margin of -1"));
}

}  // namespace
}  // namespace minidl::apps
