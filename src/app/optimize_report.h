// What `mayfly optimize` found, as a value, and its forms: a table and its remarks for people, JSON for programs and for going on after an
// interruption, a picture of size against quality (SVG), and a page of all that (HTML, self-contained). Prints nothing itself.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/client.h"
#include "app/terminal.h"
#include "gate/judge.h"
#include "worker/trial.h"

namespace mayfly::app {

// The original, or a candidate. What was not measured is 0.
struct OptimizeRow {
  std::string recipe;                 // "original", "int8-dynamic,compile"
  std::string gate;                   // "original", "passed", "failed", "unsure", "error", "no change"
  std::string why;
  bool chosen = false;
  std::uint64_t size = 0, artifact = 0;  // bytes: of the model, of what was compiled of it
  std::uint64_t parameters = 0;
  int changed = 0;                    // places that its steps changed
  std::vector<std::string> left;      // places that they could not: "NODE: why"
  std::vector<std::string> notes;     // what the steps say of what they did
  // Layers that stay out of 8 bits so that the gate passes: "NODE: why", those first that are worth most for their size.
  std::vector<std::string> kept;
  worker::Trial trial;                // without the outputs
  std::vector<gate::Comparison> comparisons;
  double cost = 0;                    // of a million calls
  bool passed() const { return gate == "passed"; }
};

struct OptimizeReport {
  std::string model, output, goal, data;
  std::string calibration;            // what ranges were measured on; empty: none were
  std::uint64_t samples = 0, samples_of = 0;  // compared on, in the set
  bool labelled = false;
  std::vector<OptimizeRow> rows;      // the original first
  std::vector<std::string> not_tried;
  std::string currency = "USD";
};

// One number, as printf writes it: form("%.4f", 0.5).
[[nodiscard]] std::string form(const char* with, double value);
[[nodiscard]] Json to_json(const OptimizeRow& row);
[[nodiscard]] Json to_json(const OptimizeReport& report);
// As to_json wrote it; nothing where it is another form.
[[nodiscard]] std::optional<OptimizeRow> row_from_json(const Json& json);

[[nodiscard]] std::optional<OptimizeReport> report_from_json(const Json& json);

// Between 0 and 1: accuracy, or the worst of what was compared; nothing where it was not.
[[nodiscard]] std::optional<double> quality_of(const OptimizeRow& row, bool labelled);

// What is looked at beside quality: seconds of one call where the goal is latency, else bytes. 0: not measured.
[[nodiscard]] double worth_of(const OptimizeRow& row, const std::string& goal);
// The Pareto front: of each row, whether no other is both as good and as small or quick, and better in one.
[[nodiscard]] std::vector<bool> front_of(const OptimizeReport& report);

[[nodiscard]] std::string table_of(const OptimizeReport& report, const Terminal& terminal);
[[nodiscard]] std::string remarks_of(const OptimizeReport& report, const Terminal& terminal);
[[nodiscard]] std::string picture_of(const OptimizeReport& report);  // SVG
[[nodiscard]] std::string page_of(const OptimizeReport& report);     // HTML

}  // namespace mayfly::app
