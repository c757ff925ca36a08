// An optimisation of a version that the node does in the background: what is wanted, as a client or a manifest says it, and what the
// process that does it in a sandbox is told and answers. Both of these ends are the same binary, but the answer comes from a process that
// has run a stranger's model: it is checked like any input. What was found is kept as a setting of the function (domain/settings.h).
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace mayfly::domain {

struct OptimizationOrder {
  std::vector<std::string> recipes;   // none, or "auto": a list by the goal; their steps are not checked here
  std::string goal = "latency";       // latency, size, cost
  std::string compare = "auto";       // auto, classes, values
  double accuracy_drop_max = 0.01;    // 0 to 1; with labels
  double same_min = 0.99;             // 0 to 1; without
  Duration time_max = std::chrono::minutes(10);  // 1 s to 24 h
  std::string data;                   // of a manifest: a file of the package, an .npz or .csv; of an order: how the samples are called
  std::string samples;                // SHA-256 of an artifact, an .npz or .csv as `mayfly optimize --data` reads it; "": made up
  std::string alias = "live";         // moved to what passes
  double canary = 1;                  // above 0, up to 1: the share of the alias's calls that it gets
  friend bool operator==(const OptimizationOrder&, const OptimizationOrder&) = default;
};

// An object of those names: numbers as numbers or "1%", times like "5m", "recipe" a text or a list of them. Error: invalid_argument,
// which says which value and what may be written.
[[nodiscard]] Result<OptimizationOrder> parse_optimization_order(std::string_view json);
[[nodiscard]] std::string to_json(const OptimizationOrder& order);

// What its process is told, and where it finds things in its sandbox.
struct OptimizationJob {
  OptimizationOrder order;
  std::string model;                  // its path below kPackagePlace
};
constexpr const char* kSamplesPlace = "/samples";          // one file: "npz" or "csv" by its ending below it
constexpr const char* kOptimizePlace = "/optimize";        // the folder that it may write to, and goes on in
constexpr const char* kOptimizedFile = "optimized.onnx";   // there: the best; its external data, if any, behind ".data"
constexpr std::size_t kOptimizationTextMax = 58 * 1024;    // of both: they travel in one packet
[[nodiscard]] std::string to_json(const OptimizationJob& job);
[[nodiscard]] Result<OptimizationJob> parse_optimization_job(std::string_view json);

// What it answers: the report of `mayfly optimize` (app/optimize_report.h), an object, of which the node looks at this much.
struct OptimizationFound {
  bool passed = false;                // something did, and lies in kOptimizedFile
  int changed = 0;                    // places of the model that its steps changed; 0: only compiled
  std::vector<std::string> weights;   // files beside the model that the original keeps its weights in, and the new one does not
  std::string report;                 // the whole, at most kOptimizationTextMax
};
[[nodiscard]] Result<OptimizationFound> parse_optimization_found(std::string_view json);

// What is kept of one, under kOptimization: its report with these beside it.
enum class OptimizationState : unsigned char { waiting, done, failed, stopped };
struct OptimizationRecord {
  OptimizationState state{};
  OptimizationOrder order;
  int optimized = 0;                  // the version that was made of it; 0: none
  std::string became;                 // for people: what the alias does, or why there is nothing
  std::string report;                 // as OptimizationFound's; "": none
};
[[nodiscard]] std::string to_document(const OptimizationRecord& record);
// Nothing where it is not one that to_document wrote: an older form, of which there is nothing left to do.
[[nodiscard]] std::optional<OptimizationRecord> parse_optimization_record(std::string_view document);

}  // namespace mayfly::domain
