// mayfly optimize history: every candidate of every version that its node optimised, or does now.
#include "app/commands.h"
#include "app/optimize_report.h"

namespace mayfly::app {
namespace {

// "running: int8-dynamic,compile: measuring it", "optimised as version 2: alias 'live' gives it all calls"
std::string state_of(const Json& one) {
  const std::string state = one.value("state", "done"), line = one.value("line", ""), became = one.value("became", "");
  const int made = one.value("optimized", 0);
  if (state == "waiting") return "waits for its turn";
  if (state == "running") return "running" + (line.empty() ? "" : ": " + printable(line));
  const std::string what = made > 0 ? "optimised as version " + std::to_string(made) : state == "done" ? "" : state;
  return what + (what.empty() || became.empty() ? "" : ": ") + printable(became);
}

}  // namespace

Result<void> optimize_history(const Context& context, const HistoryOptions& options) {
  TRY(const Json told, context.client.get("/api/functions/" + encode(options.function) + "/optimizations"));
  const Json list = told.value("optimizations", Json::array());
  if (context.json) {
    print_json(told);
    return {};
  }
  if (list.empty()) print(options.function + ": no version was optimised: 'mayfly deploy PATH --optimize auto' does it\n");
  for (const Json& one : list) {
    print((&one == &list.front() ? "" : "\n") + context.terminal.paint(Tone::strong, "version " + std::to_string(one.value("version", 0))) +
          "  " + one.value("time", "") + "  " + state_of(one) + "\n");
    if (!one.contains("candidates")) continue;
    const auto report = report_from_json(one);
    if (report) print(table_of(*report, context.terminal) + remarks_of(*report, context.terminal));
    else print("its report can't be read by this version of mayfly: --json shows it\n");
  }
  return {};
}

}  // namespace mayfly::app
