#include <fmt/format.h>
#include <minidl/apps/common/loss_plot.h>
#include <minidl/core/file.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace minidl::apps {
namespace {

constexpr double kWidth = 800, kHeight = 450;
constexpr double kLeft = 80, kRight = 780, kTop = 40, kBottom = 400;  // of the area of the curves
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"};

std::string escaped(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      default:
        result += letter;
    }
  }
  return result;
}

/// One axis: values [low, high] on [from, to] of the picture.
struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  double from = 0, to = 0;
  bool logarithmic = false;

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double scale(double value) const { return logarithmic ? std::log10(value) : value; }
  double place(double value) const {
    return from + (to - from) * (scale(value) - scale(low)) / (scale(high) - scale(low));
  }
  /// Makes it an axis that can be drawn, whatever was included.
  void finish() {
    if (low > high) low = high = 0;
    logarithmic = logarithmic && low > 0 && high >= 10 * low;
    if (low < high) return;
    const double around = low == 0 ? 1 : std::abs(low) / 2;
    low -= around;
    high += around;
  }
  std::vector<double> ticks() const {
    std::vector<double> values;
    if (logarithmic) {
      const bool few = std::log10(high / low) < 3;
      for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high; decade *= 10) {
        for (const double factor : {1.0, 2.0, 5.0}) {
          if (factor == 1.0 || few) values.push_back(decade * factor);
        }
      }
    } else {
      const double decade = std::pow(10, std::floor(std::log10((high - low) / 5)));
      const double wanted = (high - low) / 5 / decade;
      const double step = decade * (wanted > 5 ? 10 : wanted > 2 ? 5 : wanted > 1 ? 2 : 1);
      for (double i = std::ceil(low / step); i * step <= high; ++i) values.push_back(i * step);
    }
    std::erase_if(values, [this](double value) { return value < low || value > high; });
    return values;
  }
};

/// A curve as the data of two SVG paths. Where several points share a unit of x, the line goes through their mean, and
/// an upright stroke shows their range.
class CurvePaths {
 public:
  void add(double x, double y) {
    if (column_.count > 0 && std::floor(x) != std::floor(column_.x_sum / column_.count)) end_column();
    column_.x_sum += x;
    column_.y_sum += y;
    column_.top = column_.count > 0 ? std::min(column_.top, y) : y;
    column_.bottom = column_.count > 0 ? std::max(column_.bottom, y) : y;
    ++column_.count;
  }
  /// The next point is not joined to the last one.
  void gap() {
    end_column();
    joined_ = false;
  }

  std::string line, ranges;

 private:
  struct Column {
    double x_sum = 0, y_sum = 0, top = 0, bottom = 0;
    int count = 0;
  };

  void end_column() {
    if (column_.count == 0) return;
    const double x = column_.x_sum / column_.count, y = column_.y_sum / column_.count;
    line += fmt::format("{}{:.1f},{:.1f}", joined_ ? 'L' : 'M', x, y);
    if (!joined_) line += fmt::format("L{:.1f},{:.1f}", x, y);  // a lone point shows as a dot
    joined_ = true;
    if (column_.count > 1) ranges += fmt::format("M{0:.1f},{1:.1f}L{0:.1f},{2:.1f}", x, column_.top, column_.bottom);
    column_ = {};
  }

  Column column_;
  bool joined_ = false;
};

bool is_finite(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

void draw_grid(std::string& svg, const Axis& x, const Axis& y) {
  const auto line = [&](double x1, double y1, double x2, double y2) {
    svg += fmt::format("<path d=\"M{:.1f},{:.1f}L{:.1f},{:.1f}\" stroke=\"#ddd\"/>\n", x1, y1, x2, y2);
  };
  for (const double value : x.ticks()) {
    line(x.place(value), kTop, x.place(value), kBottom);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:g}</text>\n", x.place(value), kBottom + 18,
                       value);
  }
  for (const double value : y.ticks()) {
    line(kLeft, y.place(value), kRight, y.place(value));
    svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>\n", kLeft - 6, y.place(value) + 4,
                       value);
  }
  svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#888\"/>\n", kLeft,
                     kTop, kRight - kLeft, kBottom - kTop);
}

void draw_curve(std::string& svg, const PlotCurve& curve, const char* colour, const Axis& x, const Axis& y) {
  CurvePaths paths;
  for (const auto& point : curve.points) {
    if (is_finite(point)) {
      paths.add(x.place(point.first), y.place(point.second));
    } else {
      paths.gap();
    }
  }
  paths.gap();
  if (!paths.ranges.empty())
    svg += fmt::format("<path fill=\"none\" stroke=\"{}\" stroke-opacity=\"0.25\" d=\"{}\"/>\n", colour, paths.ranges);
  svg += fmt::format(
      "<path fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" stroke-linejoin=\"round\" stroke-linecap=\"round\" "
      "d=\"{}\"/>\n",
      colour, paths.line);
}

}  // namespace

std::string loss_plot_svg(const LossPlot& plot) {
  Axis x{.from = kLeft, .to = kRight}, y{.from = kBottom, .to = kTop, .logarithmic = true};
  for (const PlotCurve& curve : plot.curves) {
    for (const auto& point : curve.points) {
      if (!is_finite(point)) continue;
      x.include(point.first);
      y.include(point.second);
    }
  }
  x.finish();
  y.finish();
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
      "font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"#fff\"/>\n"
      "<text x=\"{2}\" y=\"24\" font-size=\"15\">{3}</text>\n",
      kWidth, kHeight, kLeft, escaped(plot.title));
  draw_grid(svg, x, y);
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (kLeft + kRight) / 2, kHeight - 12,
                     escaped(plot.x_label));
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    const char* colour = kColours[i % std::size(kColours)];
    draw_curve(svg, plot.curves[i], colour, x, y);
    const double line = kTop + 18.0 * static_cast<double>(i + 1);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"{}\">{}</text>\n", kRight - 10, line, colour,
                       escaped(plot.curves[i].name));
  }
  return svg + "</svg>\n";
}

void save_loss_plot(const std::filesystem::path& path, const LossPlot& plot) {
  const std::string svg = loss_plot_svg(plot);
  write_file_atomically(path, svg.data(), svg.size());
}

}  // namespace minidl::apps
