#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace minidl::apps {

struct PlotCurve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (x, y), x ascending; a y that is not finite leaves a gap
};

struct LossPlot {
  std::string title;
  std::string x_label = "step";
  std::vector<PlotCurve> curves = {};
};

/// The curves as an SVG document of 800 x 450 units that needs nothing else: axes with labels, a grid, a legend. The y
/// axis is logarithmic where all values are positive and the largest is at least 10 times the smallest. Where several
/// points fall into one column of the picture, the line shows their mean and a pale band their range, so that the size
/// is bounded and no peak is lost.
std::string loss_plot_svg(const LossPlot& plot);
/// Writes it atomically. Throws Error naming the file.
void save_loss_plot(const std::filesystem::path& path, const LossPlot& plot);

}  // namespace minidl::apps
