#include <minidl/apps/common/loss_plot.h>
#include <minidl/core/error.h>
#include <support/compare.h>
#include <support/temporary_folder.h>

#include <limits>

namespace minidl::apps {
namespace {

/// What stands between `before` and `after`, wherever that occurs.
std::vector<std::string> between(const std::string& text, const std::string& before, const std::string& after) {
  std::vector<std::string> found;
  for (size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + 1)) {
    const size_t begin = at + before.size();
    found.push_back(text.substr(begin, text.find(after, begin) - begin));
  }
  return found;
}
/// The data of each curve's line.
std::vector<std::string> paths(const std::string& svg) {
  return between(svg, "stroke-linecap=\"round\" d=\"", "\"");
}
/// The texts with this anchor: labels of an axis, and what else stands there.
std::vector<std::string> labels(const std::string& svg, const std::string& anchor) {
  std::vector<std::string> found;
  for (const std::string& rest : between(svg, "text-anchor=\"" + anchor + "\"", "</text>"))
    found.push_back(rest.substr(rest.find('>') + 1));
  return found;
}
using Words = std::vector<std::string>;

TEST(LossPlot, LinearAxes) {
  const std::string svg = loss_plot_svg({.title = "run", .curves = {{"total", {{0, 10}, {50, 20}, {100, 12.5}}}}});
  EXPECT_EQ(paths(svg), Words{"M80.0,400.0L80.0,400.0L430.0,40.0L780.0,310.0"});
  EXPECT_EQ(labels(svg, "middle"), (Words{"0", "20", "40", "60", "80", "100", "step"}));
  EXPECT_EQ(labels(svg, "end"), (Words{"10", "12", "14", "16", "18", "20", "total"}));
}

TEST(LossPlot, LargeRangesAreLogarithmic) {
  const std::string svg = loss_plot_svg({.title = "", .curves = {{"a", {{0, 1e6}, {10, 1e3}}}, {"b", {{5, 1e4}}}}});
  EXPECT_EQ(paths(svg), (Words{"M80.0,40.0L80.0,40.0L780.0,400.0", "M430.0,280.0L430.0,280.0"}));
  EXPECT_EQ(labels(svg, "end"), (Words{"1000", "1e+04", "1e+05", "1e+06", "a", "b"}));
  const std::string with_zero = loss_plot_svg({.title = "", .curves = {{"a", {{0, 100}, {10, 0}, {20, 50}}}}});
  EXPECT_EQ(paths(with_zero), Words{"M80.0,40.0L80.0,40.0L430.0,400.0L780.0,220.0"});
}

TEST(LossPlot, ManyPointsKeepTheirPeaks) {
  LossPlot plot{.title = "", .curves = {{"a", {}}}};
  for (int i = 0; i < 200000; ++i) plot.curves[0].points.emplace_back(i, i == 77777 ? 5.0 : 1.0 + 0.5 * (i % 2));
  const std::string svg = loss_plot_svg(plot);
  EXPECT_LT(svg.size(), 50000u);
  EXPECT_NE(svg.find("stroke-opacity=\"0.25\" d=\"M80.5,355.0L80.5,400.0"), std::string::npos);
  EXPECT_NE(svg.find(",40.0L352.5,400.0"), std::string::npos);  // the peak
  EXPECT_TRUE(paths(svg).at(0).starts_with("M80.5,377.5L80.5,377.5L81.5,377.5")) << paths(svg).at(0).substr(0, 99);
}

TEST(LossPlot, ValuesThatAreNotFiniteLeaveGaps) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const std::string svg =
      loss_plot_svg({.title = "", .curves = {{"a", {{0, 1}, {1, 2}, {2, nan}, {3, infinity}, {4, 2}, {5, 1}}}}});
  const std::string path = paths(svg).at(0);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 2) << path;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(LossPlot, WhatHasNoRangeCanBeDrawn) {
  for (const LossPlot& plot : {LossPlot{.title = "none"}, LossPlot{.title = "empty", .curves = {{"a", {}}}},
                               LossPlot{.title = "one", .curves = {{"a", {{3, 4}}}}},
                               LossPlot{.title = "zero", .curves = {{"a", {{0, 0}, {0, 0}}}}},
                               LossPlot{.title = "flat", .curves = {{"a", {{1, -5}, {2, -5}}}}},
                               LossPlot{.title = "tiny", .curves = {{"a", {{1, 1e-300}, {2, 1e-290}}}}},
                               LossPlot{.title = "huge", .curves = {{"a", {{1, 1e300}, {2, -1e300}}}}}}) {
    const std::string svg = loss_plot_svg(plot);
    EXPECT_NE(svg.find(">" + plot.title + "</text>"), std::string::npos);
    EXPECT_TRUE(svg.ends_with("</svg>\n"));
    EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
    EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
    EXPECT_LT(svg.size(), 6000u) << svg;
  }
}

TEST(LossPlot, NamesAreEscapedAndFilesWritten) {
  const test::TemporaryFolder folder;
  const LossPlot plot{.title = "a<b & c>", .curves = {{"<script>", {{0, 1}}}}};
  save_loss_plot(folder / "loss.svg", plot);
  const std::string svg = test::read_bytes(folder / "loss.svg");
  EXPECT_EQ(svg, loss_plot_svg(plot));
  EXPECT_NE(svg.find("a&lt;b &amp; c&gt;"), std::string::npos);
  EXPECT_EQ(svg.find("<script>"), std::string::npos);
  EXPECT_TRUE(test::throws_error([&] { save_loss_plot(folder / "none/loss.svg", plot); }, "none/loss.svg"));
}

}  // namespace
}  // namespace minidl::apps
