#include "app/optimize_report.h"

#include <algorithm>
#include <cstdio>

#include "base/units.h"

namespace mayfly::app {

std::string form(const char* with, double value) {
  char text[48];
  std::snprintf(text, sizeof text, with, value);
  return text;
}

namespace {

std::string size_text(std::uint64_t bytes) { return bytes == 0 ? "-" : to_text(Bytes{bytes}); }
std::string time_text(Duration time) { return time == Duration{} ? "-" : to_text(time); }

Json latency_json(const worker::Latency& latency) {
  return {{"rows", latency.rows}, {"runs", latency.runs}, {"p50_ns", latency.p50.count()}, {"p99_ns", latency.p99.count()},
          {"rows_per_second", latency.per_second}};
}

worker::Latency latency_from(const Json& json) {
  worker::Latency latency;
  latency.rows = json.at("rows");
  latency.runs = json.at("runs");
  latency.p50 = Duration(json.at("p50_ns").get<std::int64_t>());
  latency.p99 = Duration(json.at("p99_ns").get<std::int64_t>());
  latency.per_second = json.at("rows_per_second");
  return latency;
}

// An interval's end that is infinite has no form in JSON: null.
Json number_or_null(double value) { return value > -1e300 && value < 1e300 ? Json(value) : Json(); }
double number_from(const Json& json, double otherwise) { return json.is_number() ? json.get<double>() : otherwise; }

Json comparison_json(const gate::Comparison& c) {
  return {{"output", c.output}, {"measure", gate::name(c.measure)}, {"rows", c.rows}, {"original", c.original}, {"candidate", c.candidate},
          {"value", c.value}, {"low", number_or_null(c.interval.low)}, {"high", number_or_null(c.interval.high)}, {"limit", c.limit},
          {"distance_mean", number_or_null(c.distance_mean)}, {"distance_max", number_or_null(c.distance_max)},
          {"verdict", gate::name(c.verdict)}, {"why", c.why}};
}

gate::Comparison comparison_from(const Json& json) {
  gate::Comparison c{.output = json.at("output"),
                     .rows = json.at("rows"),
                     .original = json.at("original"),
                     .candidate = json.at("candidate"),
                     .value = json.at("value"),
                     .limit = json.at("limit"),
                     .why = json.at("why")};
  for (const auto measure : {gate::Measure::accuracy, gate::Measure::agreement, gate::Measure::cosine, gate::Measure::closeness})
    if (json.at("measure") == gate::name(measure)) c.measure = measure;
  for (const auto verdict : {gate::Verdict::passed, gate::Verdict::failed, gate::Verdict::unsure})
    if (json.at("verdict") == gate::name(verdict)) c.verdict = verdict;
  c.interval = {number_from(json.at("low"), -1e308), number_from(json.at("high"), 1e308)};
  c.distance_mean = number_from(json.at("distance_mean"), 0);
  c.distance_max = number_from(json.at("distance_max"), 0);
  return c;
}

// What the gate looked at: of several outputs the worst.
const gate::Comparison* deciding(const OptimizeRow& row) {
  const auto badness = [](const gate::Comparison& c) {
    return std::pair(c.verdict == gate::Verdict::failed ? 2 : c.verdict == gate::Verdict::unsure ? 1 : 0,
                     c.measure == gate::Measure::accuracy ? c.value : -c.value);
  };
  const auto worst = std::ranges::max_element(row.comparisons, {}, badness);
  return worst == row.comparisons.end() ? nullptr : &*worst;
}

std::string quality_text(const OptimizeRow& row) {
  const gate::Comparison* c = deciding(row);
  if (!c) return "-";
  if (c->measure == gate::Measure::accuracy)
    return form("%.2f %%", 100 * c->candidate) + " (" + form("%+.2f", -100 * c->value) + ", down to " +
           form("%+.2f", -100 * c->interval.high) + ")";
  const bool counted = c->measure == gate::Measure::agreement;
  return std::string(name(c->measure)) + " " + (counted ? form("%.2f %%", 100 * c->value) : form("%.4f", c->value)) + " (down to " +
         (counted ? form("%.2f", 100 * c->interval.low) : form("%.4f", c->interval.low)) + ")";
}

std::string best_text(const worker::Latency& best) {
  return best.rows == 0 ? "-" : form(best.per_second < 100 ? "%.1f" : "%.0f", best.per_second) + "/s of " + std::to_string(best.rows);
}

std::string ratio(double original, double candidate) {
  if (original <= 0 || candidate <= 0) return "-";
  return original >= candidate ? form("%.1fx less", original / candidate) : form("%.1fx more", candidate / original);
}

// The first few, each on a line.
std::string some_of(const std::vector<std::string>& lines, const char* what) {
  constexpr std::size_t kShown = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, lines.size()); ++i) text += std::string("        ") + what + printable(lines[i]) + "\n";
  if (lines.size() > kShown)
    text += "        and " + std::to_string(lines.size() - kShown) + " more (--json tells all, of every candidate)\n";
  return text;
}

std::string gate_text(const OptimizeRow& row, const Terminal& terminal) {
  const std::string word = row.chosen ? row.gate + ", taken" : row.gate;
  return terminal.paint(row.gate == "original" ? Tone::plain
                        : row.passed()         ? Tone::good
                        : row.gate == "unsure" ? Tone::warn
                                               : Tone::bad,
                        word);
}

}  // namespace

Json to_json(const OptimizeRow& row) {
  Json comparisons = Json::array();
  for (const auto& c : row.comparisons) comparisons.push_back(comparison_json(c));
  return {{"recipe", row.recipe},
          {"gate", row.gate},
          {"why", row.why},
          {"chosen", row.chosen},
          {"size", row.size},
          {"artifact", row.artifact},
          {"parameters", row.parameters},
          {"changed", row.changed},
          {"left", row.left},
          {"notes", row.notes},
          {"kept", row.kept},
          {"load_ns", row.trial.load.count()},
          {"first_ns", row.trial.first.count()},
          {"one", latency_json(row.trial.one)},
          {"best", latency_json(row.trial.best)},
          {"memory", row.trial.memory},
          {"comparisons", std::move(comparisons)},
          {"cost_per_million", row.cost}};
}

std::optional<OptimizeRow> row_from_json(const Json& json) {
  try {
    OptimizeRow row{.recipe = json.at("recipe"), .gate = json.at("gate"), .why = json.at("why"), .size = json.at("size"),
                    .artifact = json.at("artifact"), .parameters = json.at("parameters"), .changed = json.at("changed"),
                    .left = json.at("left").get<std::vector<std::string>>(),
                    .notes = json.at("notes").get<std::vector<std::string>>(), .kept = json.at("kept").get<std::vector<std::string>>(),
                    .cost = json.at("cost_per_million")};
    row.trial.load = Duration(json.at("load_ns").get<std::int64_t>());
    row.trial.first = Duration(json.at("first_ns").get<std::int64_t>());
    row.trial.one = latency_from(json.at("one"));
    row.trial.best = latency_from(json.at("best"));
    row.trial.memory = json.at("memory");
    for (const Json& c : json.at("comparisons")) row.comparisons.push_back(comparison_from(c));
    return row;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

Json to_json(const OptimizeReport& report) {
  Json rows = Json::array();
  const std::vector<bool> front = front_of(report);
  for (std::size_t i = 0; i < report.rows.size(); ++i) {
    rows.push_back(to_json(report.rows[i]));
    rows.back()["front"] = static_cast<bool>(front[i]);
  }
  const bool passed = std::ranges::any_of(report.rows, &OptimizeRow::passed);
  return {{"model", report.model}, {"output", passed ? Json(report.output) : Json()}, {"passed", passed}, {"goal", report.goal},
          {"data", report.data}, {"calibration", report.calibration}, {"samples", report.samples}, {"samples_of", report.samples_of},
          {"labelled", report.labelled}, {"currency", report.currency}, {"candidates", std::move(rows)}, {"not_tried", report.not_tried}};
}

std::optional<OptimizeReport> report_from_json(const Json& json) {
  try {
    OptimizeReport report{.model = json.at("model"), .output = json.at("output").is_null() ? "" : json.at("output").get<std::string>(),
                          .goal = json.at("goal"), .data = json.at("data"), .calibration = json.at("calibration"),
                          .samples = json.at("samples"), .samples_of = json.at("samples_of"), .labelled = json.at("labelled"),
                          .not_tried = json.at("not_tried").get<std::vector<std::string>>(), .currency = json.at("currency")};
    for (const Json& one : json.at("candidates")) {
      auto row = row_from_json(one);
      if (!row) return std::nullopt;
      row->chosen = one.at("chosen");
      report.rows.push_back(std::move(*row));
    }
    if (report.rows.empty()) return std::nullopt;
    return report;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::optional<double> quality_of(const OptimizeRow& row, bool labelled) {
  const gate::Comparison* c = deciding(row);
  if (c) return labelled ? c->candidate : c->value;
  return std::nullopt;
}

double worth_of(const OptimizeRow& row, const std::string& goal) {
  return goal == "latency" ? to_seconds(row.trial.one.p50) : static_cast<double>(row.size);
}

std::vector<bool> front_of(const OptimizeReport& report) {
  std::vector<bool> front;
  for (const OptimizeRow& row : report.rows) {
    const auto quality = quality_of(row, report.labelled);
    const double worth = worth_of(row, report.goal);
    front.push_back(quality && worth > 0 && std::ranges::none_of(report.rows, [&](const OptimizeRow& other) {
      const auto theirs = quality_of(other, report.labelled);
      const double cost = worth_of(other, report.goal);
      return theirs && cost > 0 && cost <= worth && *theirs >= *quality && (cost < worth || *theirs > *quality);
    }));
  }
  return front;
}

std::string table_of(const OptimizeReport& report, const Terminal& terminal) {
  Table table({"RECIPE", "SIZE", "COMPILED", "LOAD", "FIRST", "P50", "P99", "BEST BATCH", "MEMORY", report.currency + "/M CALLS",
               report.labelled ? "ACCURACY" : "SAME", "FRONT", "GATE"});
  const std::vector<bool> front = front_of(report);
  for (std::size_t i = 0; i < report.rows.size(); ++i) {
    const OptimizeRow& row = report.rows[i];
    table.add({row.recipe, size_text(row.size), size_text(row.artifact), time_text(row.trial.load), time_text(row.trial.first),
               time_text(row.trial.one.p50), time_text(row.trial.one.p99), best_text(row.trial.best), size_text(row.trial.memory),
               row.cost > 0 ? form("%.3g", row.cost) : "-", quality_text(row), front[i] ? "yes" : "-", gate_text(row, terminal)});
  }
  return table.text(terminal);
}

std::string remarks_of(const OptimizeReport& report, const Terminal& terminal) {
  std::string text;
  if (!report.calibration.empty()) text += "ranges were measured on " + report.calibration + "\n";
  for (const OptimizeRow& row : report.rows) {
    if (row.gate == "original") continue;
    text += terminal.paint(row.passed() ? Tone::good : Tone::bad, row.gate) + "  " + row.recipe + ": " + printable(row.why) + "\n";
    text += some_of(row.kept, "kept out of 8 bits: ");
    if (!row.chosen) continue;
    text += some_of(row.notes, "") + some_of(row.left, "left as it was: ");
  }
  for (const std::string& recipe : report.not_tried) text += "not tried, the time was over: " + recipe + "\n";
  const OptimizeRow& original = report.rows[0];
  for (const OptimizeRow& row : report.rows)
    if (row.chosen)
      text += terminal.paint(Tone::strong, report.output) + ": " + row.recipe + ", size " +
              ratio(static_cast<double>(original.size), static_cast<double>(row.size)) + ", first answer " +
              ratio(to_ms(original.trial.first), to_ms(row.trial.first)) + ", p50 " +
              ratio(to_ms(original.trial.one.p50), to_ms(row.trial.one.p50)) + "\n";
  return text;
}

}  // namespace mayfly::app
