// mayfly bench: loads a function by app/load.h and prints what came of it.
#include <cstdio>

#include "app/commands.h"
#include "app/load.h"
#include "app/version.h"

namespace mayfly::app {
namespace {

constexpr Duration kDurationMax = std::chrono::hours(1);

Result<Duration> duration_of(const std::string& text, const char* option, Duration max) {
  auto duration = parse_duration(text);
  if (!duration) return fail(Code::invalid_argument, std::string(option) + ": " + duration.error().message);
  if (*duration > max)
    return fail(Code::invalid_argument, std::string(option) + " " + text + " is over its limit of " + to_text(max) + ": take less");
  return duration;
}

std::string path_of(const std::string& function, const std::string& format) {
  if (format == "plain") return "/functions/" + encode(function);
  const auto colon = function.find(':');
  const std::string model = "/v2/models/" + encode(function.substr(0, colon));
  return model + (colon == std::string::npos ? "" : "/versions/" + encode(function.substr(colon + 1))) + "/infer";
}

// The data as given, or zeros that fit the newest version's signature. Also finds a misspelt function before the load begins.
Result<std::string> body_of(const Context& context, const BenchOptions& options) {
  const std::string name = options.function.substr(0, options.function.find(':'));
  TRY(const Json function, context.client.get("/api/functions/" + encode(name)));
  if (!options.data.empty()) return read_data(options.data);
  const Json versions = function.value("versions", Json::array());
  if (versions.empty()) return fail(Code::not_found, "function '" + name + "' has no version: deploy one");
  return sample_body(versions.back().value("signature", Json::object()), options.format);
}

Result<LoadPlan> plan_of(const Context& context, const BenchOptions& options) {
  LoadPlan plan{
      .address = context.client.address(), .connections = options.concurrency, .requests_max = options.requests, .rate = options.rate};
  TRY(plan.duration, duration_of(options.duration, "--duration", kDurationMax));
  TRY(plan.timeout, duration_of(options.timeout, "--timeout", std::chrono::minutes(15)));
  if (!options.warmup.empty()) {
    TRY(plan.warmup, duration_of(options.warmup, "--warmup", plan.duration));
  } else if (plan.duration >= std::chrono::seconds(5) && options.requests == 0) {
    plan.warmup = std::chrono::seconds(1);
  }
  if (plan.duration <= Duration{} || plan.timeout <= Duration{})
    return fail(Code::invalid_argument, "--duration and --timeout are above 0: write 10s");
  TRY(const std::string body, body_of(context, options));
  plan.request = "POST " + plan.address.path + path_of(options.function, options.format) +
                 " HTTP/1.1\r\nHost: " + plan.address.host_header() + "\r\nUser-Agent: mayfly/" + std::string(kVersion) +
                 "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  return plan;
}

constexpr std::pair<const char*, double> kQuantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

std::uint64_t cold_count(const LoadReport& report) {
  std::uint64_t all = 0;
  for (const auto& [kind, count] : report.cold) all += count;
  return all;
}

Json to_json(const LoadReport& report, const LoadPlan& plan) {
  Json latency{{"mean_ms", to_ms(report.latency.mean())}, {"min_ms", to_ms(report.latency.min())}};
  for (const auto& [name, share] : kQuantiles) latency[std::string(name) + "_ms"] = to_ms(report.latency.quantile(share));
  latency["max_ms"] = to_ms(report.latency.max());
  Json out{{"rate", report.rate()},
           {"measured_s", to_seconds(report.measured)},
           {"counted", report.latency.count()},
           {"sent", report.sent},
           {"answered", report.answered},
           {"unsent", report.unsent},
           {"errors", report.errors_count()}};
  out["errors_by_kind"] = Json(report.errors);
  out["cold_starts"] = cold_count(report);
  out["cold_by_kind"] = Json(report.cold);
  out["latency"] = std::move(latency);
  out["connections"] = plan.connections;
  if (plan.rate > 0) out["rate_wanted"] = plan.rate;
  if (!report.first_error.empty()) out["first_error"] = report.first_error;
  return out;
}

void print_report(const Context& context, const LoadReport& report, const LoadPlan& plan, const std::string& function) {
  const Terminal& terminal = context.terminal;
  char rate[64];
  std::snprintf(rate, sizeof rate, report.rate() < 100 ? "%.1f" : "%.0f", report.rate());
  const std::string mode = plan.rate > 0 ? "open loop, latency from when each was due" : "closed loop";
  print(terminal.paint(Tone::strong, function) + ": " + terminal.paint(Tone::strong, std::string(rate) + " requests/s") + " over " +
        to_text(report.measured) + ", " + plural(static_cast<std::uint64_t>(plan.connections), "connection") + ", " + mode + "\n");
  Table table({"MEAN", "P50", "P90", "P99", "P99.9", "LONGEST"});
  std::vector<std::string> row{to_text(report.latency.mean())};
  for (const auto& [name, share] : kQuantiles) row.push_back(to_text(report.latency.quantile(share)));
  row.push_back(to_text(report.latency.max()));
  table.add(row);
  print(table.text(terminal));
  std::string cold;
  for (const auto& [kind, count] : report.cold) cold += (cold.empty() ? " (" : ", ") + printable(kind) + " " + grouped(count);
  print("cold starts: " + grouped(cold_count(report)) + (cold.empty() ? "" : cold + ")") + "\n");
  std::string errors;
  for (const auto& [why, count] : report.errors) errors += (errors.empty() ? " (" : ", ") + why + ": " + grouped(count);
  const std::uint64_t count = report.errors_count();
  print("errors: " + terminal.paint(count ? Tone::bad : Tone::good, grouped(count)) + (errors.empty() ? "" : errors + ")") + " of " +
        grouped(report.sent) + "\n");
  if (!report.first_error.empty()) print("the first said: " + printable(report.first_error) + "\n");
  if (report.unsent > 0)
    print(terminal.paint(Tone::warn, "late") + ": " + plural(report.unsent, "request") +
          " could not be sent before the end: every connection was waiting; raise --concurrency or lower --rate\n");
}

}  // namespace

Result<void> bench(const Context& context, const BenchOptions& options) {
  TRY(const LoadPlan plan, plan_of(context, options));
  TRY(os::Loop loop, os::Loop::create());
  const bool shows = context.terminal.err_is_terminal;
  std::uint64_t before = 0;
  Load load(loop, plan, [&](const LoadReport& report, Duration elapsed) {
    if (!shows) return;
    std::fprintf(stderr, "\r\x1b[K%.0f s  %s/s  p50 %s  p99 %s  errors %s", to_seconds(elapsed), grouped(report.answered - before).c_str(),
                 to_text(report.latency.quantile(0.5)).c_str(), to_text(report.latency.quantile(0.99)).c_str(),
                 grouped(report.errors_count()).c_str());
    before = report.answered;
  });
  const auto report = load.run();
  if (shows) std::fputs("\r\x1b[K", stderr);
  if (!report) return fail(report.error());
  if (context.json) print_json(to_json(*report, plan));
  else print_report(context, *report, plan, options.function);
  if (report->errors_count() > 0)
    return fail(Code::internal, grouped(report->errors_count()) + " of " + grouped(report->sent) + " requests failed");
  if (report->latency.count() == 0) return fail(Code::internal, "no answer came after the warm-up: take a longer --duration");
  return {};
}

}  // namespace mayfly::app
