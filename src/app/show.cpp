// The commands that show: list, describe, versions, instances, node, usage.
#include <algorithm>
#include <cstdio>
#include <sstream>

#include "app/commands.h"

namespace mayfly::app {
namespace {

std::string text_of(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string number_at(const Json& object, const char* key) { return grouped(object.value(key, std::uint64_t{0})); }
std::string size_at(const Json& object, const char* key) {
  const auto size = object.value(key, std::uint64_t{0});
  return size == 0 ? "-" : to_text(Bytes{size});
}
std::string seconds_at(const Json& object, const char* key) { return to_text(from_seconds(object.value(key, 0.0))); }
std::string ms_at(const Json& object, const char* key) { return to_text(from_seconds(object.value(key, 0.0) / 1e3)); }
std::string us_at(const Json& object, const char* key) { return to_text(Duration(object.value(key, std::int64_t{0}) * 1000)); }

std::string money(double amount, const std::string& currency) {
  const std::string sign = currency == "USD" ? "$" : currency == "EUR" ? "€" : "";
  const std::string number = text_of(amount == 0 || amount >= 0.01 ? "%.2f" : amount >= 0.0001 ? "%.4f" : "%.8f", amount);
  return sign.empty() ? number + " " + currency : sign + number;
}

std::string stage_text(const Terminal& terminal, const std::string& stage) {
  return terminal.paint(stage == "ready" ? Tone::good : stage == "failed" ? Tone::bad : Tone::warn, stage);
}

std::string aliases_text(const Json& aliases) {
  std::string text;
  for (const Json& alias : aliases)
    text += (text.empty() ? "" : " · ") + alias.value("name", "") + " → " + weights_text(alias.value("weights", Json::array()));
  return text;
}

// The aliases that name this version, with its share where it is not all of it.
std::string named_by(const Json& aliases, int version) {
  std::string text;
  for (const Json& alias : aliases)
    for (const Json& weight : alias.value("weights", Json::array()))
      if (weight.value("version", 0) == version) {
        const double share = weight.value("share", 1.0);
        text += (text.empty() ? "" : ", ") + alias.value("name", "") + (share < 1 ? " " + percent(share) : "");
      }
  return text;
}

std::string start_cache_text(const Json& cache) {
  const std::string kind = cache.value("kind", "") == "class-data" ? "class-data archive" : "compile cache";
  const std::string state = cache.value("state", "");
  if (state == "failed") return "it has no " + kind + ": " + printable(cache.value("error", ""));
  return kind + (state == "ready" ? ", " + size_at(cache, "size") : " is being made");
}

void print_versions(const Context& context, const Json& versions, const Json& aliases) {
  Table table({"VERSION", "STAGE", "CREATED", "SIZE", "COMPILED", "FIRST RUN", "FORKED", "STEADY RUN", "ALIASES"});
  for (auto at = versions.rbegin(); at != versions.rend(); ++at) {
    const Json compiled = at->value("compiled", Json());
    const bool known = compiled.is_object();
    const Json tuning = known ? compiled.value("tuning", Json::object()) : Json::object();
    table.add({std::to_string(at->value("version", 0)), stage_text(context.terminal, at->value("stage", "")),
               clock_of(at->value("created", "")), size_at(*at, "size"), known ? ms_at(compiled, "compile_ms") : "-",
               known ? ms_at(tuning, "cold_first_ms") : "-", known ? ms_at(tuning, "fork_first_ms") : "-",
               known ? ms_at(tuning, "warm_run_ms") : "-", named_by(aliases, at->value("version", 0))});
  }
  print(table.text(context.terminal));
  for (const Json& version : versions) {
    const std::string which = "version " + std::to_string(version.value("version", 0));
    if (const Json cache = version.value("start_cache", Json()); cache.is_object()) print(which + ": " + start_cache_text(cache) + "\n");
    if (version.contains("compile_error")) print(which + " is not compiled: " + printable(version.value("compile_error", "")) + "\n");
    if (version.contains("weights_note")) print(which + ": " + printable(version.value("weights_note", "")) + "\n");
    for (const Json& note : version.value("notes", Json::array())) print(which + ": " + printable(note.get<std::string>()) + "\n");
  }
}

void print_heading(const Context& context, const std::string& text) { print("\n" + context.terminal.paint(Tone::strong, text) + "\n"); }

// The newest, each with what its program printed last.
void print_failures(const Context& context, const Json& failures) {
  constexpr std::size_t kShown = 5, kLinesMax = 10;
  if (failures.empty()) return;
  print_heading(context, "latest failures");
  for (std::size_t i = 0; i < std::min(kShown, failures.size()); ++i) {
    const Json& failure = failures[i];
    const auto process = failure.value("process", std::uint64_t{0});
    const std::string who = process ? "instance " + std::to_string(process) : "a start";
    print(clock_of(failure.value("at", "")) + "  version " + std::to_string(failure.value("version", 0)) + ", " + who + ": " +
          context.terminal.paint(Tone::bad, printable(failure.value("reason", ""))) + "\n");
    std::vector<std::string> lines;
    std::istringstream log(failure.value("log", ""));
    for (std::string line; std::getline(log, line);) lines.push_back(std::move(line));
    if (lines.size() > kLinesMax) lines.erase(lines.begin(), lines.end() - kLinesMax);
    for (const std::string& line : lines) print("    " + printable(line) + "\n");
  }
}

Result<void> show_dependencies(const Context& context, const Json& function) {
  const std::string name = function.value("name", "");
  TRY(const Json had, context.client.get("/api/functions/" + encode(name) + "/versions/" + std::to_string(function.value("latest", 0)) +
                                         "/dependencies"));
  if (context.json) return print_json(had), Result<void>();
  if (!had.value("kind", Json()).is_string()) {
    print("version " + std::to_string(had.value("version", 0)) + " of '" + name + "' is its package and nothing else\n");
    return {};
  }
  Table table({"NAME", "VERSION", "HASH"});
  for (const Json& each : had.value("installed", Json::array()))
    table.add({printable(each.value("name", "")), printable(each.value("version", "")), printable(each.value("hash", ""))});
  print("installed for version " + std::to_string(had.value("version", 0)) + " by " + had.value("kind", "") + ":\n");
  print(table.text(context.terminal));
  return {};
}

}  // namespace

Result<void> list(const Context& context) {
  TRY(const Json answer, context.client.get("/api/functions"));
  if (context.json) return print_json(answer), Result<void>();
  const Json functions = answer.value("functions", Json::array());
  if (functions.empty()) {
    print("no functions yet: deploy one with 'mayfly deploy model.onnx'\n");
    return {};
  }
  Table table({"FUNCTION", "VERSION", "STAGE", "SIZE", "INSTANCES", "TEMPLATES", "IN FLIGHT", "MEMORY", "ALIASES"});
  for (const Json& f : functions)
    table.add({f.value("name", ""), f.value("latest", Json()).is_number() ? std::to_string(f.value("latest", 0)) : "-",
               f.value("stage", Json()).is_string() ? stage_text(context.terminal, f.value("stage", "")) : "-", size_at(f, "size"),
               number_at(f, "instances"), number_at(f, "templates"), number_at(f, "in_flight"), size_at(f, "memory"),
               aliases_text(f.value("aliases", Json::array()))});
  print(table.text(context.terminal));
  return {};
}

Result<void> describe(const Context& context, const DescribeOptions& options) {
  TRY(const Json f, context.client.get("/api/functions/" + encode(options.function)));
  if (options.dependencies) return show_dependencies(context, f);
  if (context.json) return print_json(f), Result<void>();
  const Terminal& terminal = context.terminal;
  print(terminal.paint(Tone::strong, f.value("name", "")) + ", created " + clock_of(f.value("created", "")) + " UTC\n");
  const Json versions = f.value("versions", Json::array()), aliases = f.value("aliases", Json::array());
  print("aliases:  " + aliases_text(aliases) + "\n");
  print("now:      " + plural(f.value("instances", std::uint64_t{0}), "instance") + ", " +
        plural(f.value("templates", std::uint64_t{0}), "template") + ", " + number_at(f, "in_flight") + " in flight, " +
        number_at(f, "waiting") + " waiting, memory " + size_at(f, "memory") + "\n");
  if (const Json recording = f.value("recording", Json()); recording.is_object())
    print("recorded: " + plural(recording.value("calls", std::uint64_t{0}), "call") + " of at most " + number_at(recording, "calls_max") +
          ", " + size_at(recording, "size") + ", kept as samples ('mayfly record " + f.value("name", "") + "')\n");
  if (!versions.empty()) {
    const Json signature = versions.back().value("signature", Json::object());
    const Json manifest = versions.back().value("manifest", Json::object());
    if (const std::string runtime = manifest.value("runtime", ""); !runtime.empty()) {
      print("runtime:  " + printable(runtime + " " + manifest.value("handler", "")) + "\n");
    } else {
      print("inputs:   " + tensors_text(signature.value("inputs", Json::array())) + "\n");
      print("outputs:  " + tensors_text(signature.value("outputs", Json::array())) + "\n");
    }
    print_heading(context, "versions");
    print_versions(context, versions, aliases);
  }
  print_failures(context, f.value("failures", Json::array()));
  if (const Json starts = f.value("cold_starts", Json::array()); !starts.empty()) {
    print_heading(context, "latest starts");
    Table table({"AT", "VERSION", "FROM", "SANDBOX", "MAP", "LOAD", "WARM", "TOTAL", "FIRST ANSWER"});
    for (const Json& s : starts)
      table.add({clock_of(s.value("at", "")), std::to_string(s.value("version", 0)), s.value("origin", ""), ms_at(s, "sandbox_ms"),
                 ms_at(s, "map_ms"), ms_at(s, "load_ms"), ms_at(s, "warm_ms"), ms_at(s, "total_ms"),
                 s.value("first_answer_ms", Json()).is_number() ? ms_at(s, "first_answer_ms") : "-"});
    print(table.text(terminal));
  }
  if (const Json decisions = f.value("decisions", Json::array()); !decisions.empty()) {
    print_heading(context, "latest decisions");
    Table table({"AT", "VERSION", "INSTANCES", "BECAUSE"});
    for (const Json& d : decisions)
      table.add({clock_of(d.value("at", "")), std::to_string(d.value("version", 0)),
                 std::to_string(d.value("before", 0)) + " → " + std::to_string(d.value("after", 0)), printable(d.value("reason", ""))});
    print(table.text(terminal));
  }
  return {};
}

Result<void> versions(const Context& context, const std::string& function) {
  TRY(const Json answer, context.client.get("/api/functions/" + encode(function) + "/versions"));
  if (context.json) return print_json(answer), Result<void>();
  print_versions(context, answer.value("versions", Json::array()), answer.value("aliases", Json::array()));
  return {};
}

Result<void> instances(const Context& context, const std::string& function) {
  TRY(Json answer, context.client.get("/api/instances"));
  Json kept = Json::array();
  for (const Json& i : answer.value("instances", Json::array()))
    if (function.empty() || i.value("function", "") == function) kept.push_back(i);
  answer["instances"] = kept;
  if (context.json) return print_json(answer), Result<void>();
  if (kept.empty()) {
    print(function.empty() ? "nothing runs: every function is at zero\n" : "nothing of '" + function + "' runs\n");
    return {};
  }
  Table table({"PROCESS", "FUNCTION", "ROLE", "STATE", "FROM", "AGE", "IDLE", "IN FLIGHT", "ANSWERED", "MEMORY", "CPU"});
  for (const Json& i : kept)
    table.add({std::to_string(i.value("process", std::uint64_t{0})), i.value("function", "") + ":" + std::to_string(i.value("version", 0)),
               i.value("role", ""), i.value("frozen", false) ? "frozen" : i.value("state", ""), i.value("origin", ""),
               seconds_at(i, "age_s"), seconds_at(i, "idle_s"),
               number_at(i, "in_flight"), number_at(i, "answered"), size_at(i, "memory"), ms_at(i, "cpu_ms")});
  print(table.text(context.terminal));
  return {};
}

Result<void> node(const Context& context) {
  TRY(const Json n, context.client.get("/api/node"));
  if (context.json) return print_json(n), Result<void>();
  print("Mayfly " + n.value("version", "") + " at " + context.client.address().url() + ", up " + seconds_at(n, "up_s") + "\n");
  print("functions " + number_at(n, "functions") + ", instances " + number_at(n, "instances") + ", templates " + number_at(n, "templates") +
        "\n");
  print("memory    " + size_at(n, "memory_used") + " of " + size_at(n, "memory_budget") + "\n");
  print("engine    ONNX Runtime " + n.value("engine_version", "") + ", CPU " + n.value("cpu_features", "") + "\n");
  for (const Json& note : n.value("notes", Json::array()))
    print(context.terminal.paint(Tone::warn, "note") + "      " + printable(note.get<std::string>()) + "\n");
  return {};
}

Result<void> usage(const Context& context, const UsageOptions& options) {
  std::string path = "/api/usage?since=" + encode(options.since);
  if (!options.until.empty()) path += "&until=" + encode(options.until);
  if (!options.function.empty()) path += "&function=" + encode(options.function);
  TRY(const Json report, context.client.get(path));
  if (context.json) return print_json(report), Result<void>();
  const std::string currency = report.value("currency", "");
  const Json sums = report.value("sums", Json::array());
  if (const auto unknown = report.value("unknown_calls", std::uint64_t{0}); unknown > 0)
    print(plural(unknown, "call") + " named no function, version or alias that there was: see 'mayfly logs'\n");
  if (sums.empty()) {
    print("nothing was called since " + clock_of(report.value("since", "")) + " UTC\n");
    return {};
  }
  Table table({"FUNCTION", "CALLS", "ERRORS", "COLD", "ROWS", "MEAN", "LONGEST", "GB-S", "CPU", "OVERHEAD", "COST", "ALWAYS ON"});
  double cost = 0, always_on = 0;
  for (const Json& s : sums) {
    const int version = s.value("version", 0);
    cost += s.value("cost", 0.0);
    always_on += s.value("always_on_cost", 0.0);
    table.add({s.value("function", "") + (version > 0 ? ":" + std::to_string(version) : ""), number_at(s, "invocations"),
               number_at(s, "errors"), number_at(s, "cold_starts"), number_at(s, "rows"), us_at(s, "total_mean_us"),
               us_at(s, "total_max_us"), text_of("%.3g", s.value("gb_s", 0.0)), seconds_at(s, "cpu_s"), seconds_at(s, "overhead_cpu_s"),
               money(s.value("cost", 0.0), currency), money(s.value("always_on_cost", 0.0), currency)});
  }
  print(clock_of(report.value("since", "")) + " to " + clock_of(report.value("until", "")) + " UTC\n");
  print(table.text(context.terminal));
  print("cost " + money(cost, currency) + "; servers of the same size, always on, would have cost " + money(always_on, currency) + "\n");
  return {};
}

}  // namespace mayfly::app
