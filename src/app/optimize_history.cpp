// mayfly optimize history: every candidate of every version that was optimised at its deploy, as the node keeps it.
#include "app/commands.h"
#include "app/optimize_report.h"

namespace mayfly::app {

Result<void> optimize_history(const Context& context, const HistoryOptions& options) {
  TRY(const Json told, context.client.get("/api/functions/" + encode(options.function) + "/optimizations"));
  const Json list = told.value("optimizations", Json::array());
  if (context.json) {
    print_json(told);
    return {};
  }
  if (list.empty()) print(options.function + ": no version was optimised: 'mayfly deploy PATH --optimize auto' does it\n");
  for (const Json& one : list) {
    const int made = one.value("optimized", 0);
    const std::string why = one.value("became", "");
    print((&one == &list.front() ? "" : "\n") + context.terminal.paint(Tone::strong, "version " + std::to_string(one.value("version", 0))) +
          "  " + one.value("time", "") + (made > 0 ? "  optimised as version " + std::to_string(made) : "") +
          (why.empty() ? "" : ": " + printable(why)) + "\n");
    const auto report = report_from_json(one);
    if (!report) {
      print("its report can't be read by this version of mayfly: --json shows it\n");
      continue;
    }
    print(table_of(*report, context.terminal) + remarks_of(*report, context.terminal));
  }
  return {};
}

}  // namespace mayfly::app
