// The report as a picture and as a page. The picture is written as SVG by hand: a few circles, a line and some words.
#include <algorithm>
#include <cmath>

#include "app/optimize_report.h"
#include "base/units.h"

namespace mayfly::app {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else if (static_cast<unsigned char>(c) >= 0x20 || c == '\n') out += c;
  }
  return out;
}

struct Point {
  double x = 0, y = 0;  // what was measured, then where it stands
  const OptimizeRow* row = nullptr;
  bool on_front = false;
};

struct Frame {
  double left = 90, right = 690, top = 40, bottom = 330;
};

const char* color_of(const OptimizeRow& row) {
  return row.gate == "original" ? "#4a6fa5" : row.passed() ? "#2e8b57" : row.gate == "unsure" ? "#c98a1b" : "#b23b3b";
}

// Where a name stands; its width is estimated, as no font is at hand.
struct Label {
  double x = 0, y = 0, wide = 0;
  bool meets(const Label& other) const {
    constexpr double kLine = 14;
    return x < other.x + other.wide && other.x < x + wide && std::fabs(y - other.y) < kLine;
  }
};

// White around it, so that the lines behind do not cross it.
std::string circle(const Point& at, const Label& label) {
  return "<circle cx=\"" + form("%.1f", at.x) + "\" cy=\"" + form("%.1f", at.y) + "\" r=\"" + (at.row->chosen ? "8" : "5") + "\" fill=\"" +
         color_of(*at.row) + "\"/>\n<text x=\"" + form("%.1f", label.x) + "\" y=\"" + form("%.1f", label.y) + "\" fill=\"" +
         color_of(*at.row) + "\" stroke=\"white\" stroke-width=\"3\" paint-order=\"stroke\">" + escaped(at.row->recipe) + "</text>\n";
}

// Names of points that are near one another stand below one another.
std::string circles(std::vector<Point> points) {
  constexpr double kLine = 15, kLetter = 6.6;
  std::ranges::sort(points, {}, &Point::y);
  std::string text;
  std::vector<Label> labels;
  for (const Point& point : points) {
    Label label{point.x + 11, point.y + 4, kLetter * static_cast<double>(point.row->recipe.size())};
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (label.meets(labels[i])) {
        label.y = labels[i].y + kLine;
        i = static_cast<std::size_t>(-1);  // which may be another's place
      }
    labels.push_back(label);
    text += circle(point, label);
  }
  return text;
}

std::string legend(double y) {
  std::string text;
  double x = 95;
  for (const auto& [name, color] : {std::pair("original", "#4a6fa5"), std::pair("passed", "#2e8b57"), std::pair("unsure", "#c98a1b"),
                                    std::pair("failed", "#b23b3b")}) {
    text += "<rect x=\"" + form("%.0f", x - 5) + "\" y=\"" + form("%.0f", y - 9) + "\" width=\"10\" height=\"10\" fill=\"" + color +
            "\"/>\n<text x=\"" + form("%.0f", x + 10) + "\" y=\"" + form("%.0f", y) + "\">" + name + "</text>\n";
    x += 85;
  }
  return text + "<text x=\"" + form("%.0f", x) + "\" y=\"" + form("%.0f", y) +
         "\">the large one is taken; nothing is better than the line in both</text>\n";
}

std::string axis_marks(const Frame& frame, double low, double high, double worst, double best, bool time) {
  std::string text;
  for (int i = 0; i <= 4; ++i) {
    const double share = i / 4.0, x = frame.left + share * (frame.right - frame.left),
                 y = frame.bottom - share * (frame.bottom - frame.top);
    const double value = std::exp(std::log(low) + share * (std::log(high) - std::log(low)));
    const std::string name = time ? to_text(from_seconds(value)) : to_text(Bytes{static_cast<std::uint64_t>(value)});
    text +=
        "<text x=\"" + form("%.0f", x) + "\" y=\"" + form("%.0f", frame.bottom + 20) + "\" text-anchor=\"middle\">" + name + "</text>\n";
    text += "<text x=\"" + form("%.0f", frame.left - 8) + "\" y=\"" + form("%.0f", y + 4) + "\" text-anchor=\"end\">" +
            form("%.2f", 100 * (worst + share * (best - worst))) + " %</text>\n";
    text += "<line x1=\"" + form("%.0f", frame.left) + "\" x2=\"" + form("%.0f", frame.right) + "\" y1=\"" + form("%.1f", y) + "\" y2=\"" +
            form("%.1f", y) + "\" stroke=\"#ddd\"/>\n";
  }
  return text;
}

std::string cell(const std::string& text, const char* tag = "td") {
  return std::string("<") + tag + ">" + escaped(text) + "</" + tag + ">";
}

}  // namespace

std::string picture_of(const OptimizeReport& report) {
  const bool time = report.goal == "latency";
  std::vector<Point> points;
  const std::vector<bool> on_front = front_of(report);
  for (std::size_t i = 0; i < report.rows.size(); ++i) {
    const auto quality = quality_of(report.rows[i], report.labelled);
    const double x = worth_of(report.rows[i], report.goal);
    if (quality && x > 0) points.push_back({x, *quality, &report.rows[i], on_front[i]});
  }
  const std::string head =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"400\" viewBox=\"0 0 860 400\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"860\" height=\"400\" fill=\"white\"/>\n";
  if (points.empty()) return head + "<text x=\"20\" y=\"40\">nothing was measured</text>\n</svg>\n";
  const auto [smallest, largest] = std::ranges::minmax(points, {}, &Point::x);
  const auto [worst, best] = std::ranges::minmax(points, {}, &Point::y);
  const double low = smallest.x / 1.2, high = largest.x * 1.2, margin = std::max((best.y - worst.y) * 0.1, 1e-4);
  const double bottom = worst.y - margin, top = std::min(best.y + margin, 1.0);
  const Frame frame;
  std::vector<Point> front, placed;
  for (const Point& point : points) {
    const Point at{frame.left + (std::log(point.x) - std::log(low)) / (std::log(high) - std::log(low)) * (frame.right - frame.left),
                   frame.bottom - (point.y - bottom) / (top - bottom) * (frame.bottom - frame.top), point.row, point.on_front};
    placed.push_back(at);
    if (at.on_front) front.push_back(at);
  }
  std::ranges::sort(front, {}, &Point::x);
  std::string text = head + axis_marks(frame, low, high, bottom, top, time);
  text += "<text x=\"90\" y=\"22\" font-size=\"14\">" + escaped(report.model.substr(report.model.find_last_of('/') + 1)) + ": " +
          (report.labelled ? "accuracy" : "sameness") + " against " + (time ? "p50 of one call" : "size") +
          " (up and to the left is better)</text>\n<polyline fill=\"none\" stroke=\"#999\" points=\"";
  for (const Point& point : front) text += form("%.1f", point.x) + "," + form("%.1f", point.y) + " ";
  text += "\"/>\n";
  return text + circles(std::move(placed)) + legend(382) + "</svg>\n";
}

std::string page_of(const OptimizeReport& report) {
  std::string page =
      "<!doctype html>\n<meta charset=\"utf-8\"><title>mayfly optimize</title>\n<style>body{font:14px sans-serif;margin:2em}"
      "table{border-collapse:collapse}td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:right}"
      "td:first-child,th:first-child{text-align:left}.passed{color:#2e8b57}.failed,.error{color:#b23b3b}.unsure{color:#c98a1b}"
      "</style>\n<h1>" +
      escaped(report.model) + "</h1>\n<p>Compared on " + std::to_string(report.samples) + " samples (" + escaped(report.data) +
      "), goal: " + escaped(report.goal) + ".</p>\n" + picture_of(report) + "<table><tr>";
  for (const char* name : {"recipe", "size", "compiled", "load", "first answer", "p50", "p99", "rows/s", "memory"})
    page += cell(name, "th");
  page +=
      cell(report.currency + " a million calls", "th") + cell(report.labelled ? "accuracy" : "same", "th") + cell("gate", "th") + "</tr>\n";
  for (const OptimizeRow& row : report.rows) {
    const auto quality = quality_of(row, report.labelled);
    page += "<tr>" + cell(row.recipe) + cell(to_text(Bytes{row.size})) + cell(row.artifact ? to_text(Bytes{row.artifact}) : "") +
            cell(to_text(row.trial.load)) + cell(to_text(row.trial.first)) + cell(to_text(row.trial.one.p50)) +
            cell(to_text(row.trial.one.p99)) + cell(form("%.0f", row.trial.best.per_second)) + cell(to_text(Bytes{row.trial.memory})) +
            cell(form("%.3g", row.cost)) + cell(quality ? form("%.3f %%", 100 * *quality) : "") + "<td class=\"" + escaped(row.gate) +
            "\">" + escaped(row.gate) + (row.chosen ? ", taken" : "") + "</td></tr>\n";
  }
  page += "</table>\n<ul>\n";
  for (const OptimizeRow& row : report.rows)
    if (!row.why.empty()) page += "<li><b>" + escaped(row.recipe) + "</b>: " + escaped(row.why) + "</li>\n";
  return page + "</ul>\n";
}

}  // namespace mayfly::app
