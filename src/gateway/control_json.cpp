#include "gateway/control_json.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>

#include "base/units.h"
#include "control/plan.h"
#include "domain/json.h"
#include "domain/working_set.h"

namespace mayfly::gateway {
namespace {

double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

Json to_json(const std::vector<domain::TensorSpec>& tensors) {
  Json list = Json::array();
  for (const auto& tensor : tensors)
    list.push_back({{"name", tensor.name}, {"datatype", std::string(domain::name(tensor.datatype))}, {"shape", tensor.shape}});
  return list;
}

Json to_json(const std::vector<domain::Weight>& weights) {
  Json list = Json::array();
  for (const auto& weight : weights) list.push_back({{"version", weight.version}, {"share", weight.share}});
  return list;
}

// Null where it is not known.
Json working_set_to_json(const std::string& text) {
  const auto set = domain::parse_working_set(text);
  return set ? Json{{"size", domain::total_size(*set)}, {"ranges", set->ranges.size()}} : Json();
}

Json to_json(const domain::Compiled& compiled) {
  const auto& tuning = compiled.tuning;
  return {{"size", compiled.size.count},
          {"sha256", compiled.sha256},
          {"key", compiled.key},
          {"compile_ms", ms(compiled.compile_ns)},
          {"tuning",
           {{"pack_weights", tuning.pack_weights},
            {"pack_cold", tuning.pack_cold},
            {"large_pages", tuning.large_pages},
            {"threads", tuning.threads},
            {"template_allowed", tuning.template_allowed},
            {"cold_first_ms", ms(tuning.cold_first_ns)},
            {"warm_run_ms", ms(tuning.warm_run_ns)},
            {"fork_first_ms", ms(tuning.fork_first_ns)},
            {"private_memory", tuning.private_bytes},
            {"own_memory", tuning.own_bytes},
            {"own_memory_packed", tuning.own_packed_bytes},
            {"working_set", working_set_to_json(tuning.working_set)}}}};
}

std::uint64_t size_of(const domain::Version& version) {
  std::uint64_t size = 0;
  for (const auto& file : version.files) size += file.size.count;
  return size;
}

Json aliases_to_json(const domain::Function& function) {
  Json list = Json::array();
  for (const auto& alias : function.aliases)
    list.push_back({{"name", alias.name}, {"weights", to_json(alias.weights)}, {"before", to_json(alias.before)}});
  return list;
}

}  // namespace

std::string to_rfc3339(WallTime time) {
  using namespace std::chrono;
  const sys_time<microseconds> at(time.since_epoch);
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss<microseconds> clock(at - day);
  char text[48];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()),
                static_cast<int>(clock.subseconds().count()));
  return text;
}

Result<WallTime> parse_time(std::string_view text, WallTime now) {
  if (auto back = parse_duration(text))
    return WallTime{std::max(std::chrono::microseconds(0), now.since_epoch - std::chrono::duration_cast<std::chrono::microseconds>(*back))};
  if (auto time = parse_rfc3339(text)) return *time;
  return fail(Code::invalid_argument, "'" + std::string(text.substr(0, 64)) +
                                          "' is neither a duration back from now, for example 1h, nor a time "
                                          "in RFC 3339, for example 2026-11-24T05:46:03Z");
}

Json to_json(const Error& error) { return {{"error", {{"code", std::string(name(error.code))}, {"message", error.message}}}}; }

Json to_json(const domain::Signature& signature) {
  return {{"inputs", to_json(signature.inputs)}, {"outputs", to_json(signature.outputs)}, {"batches", signature.batches}};
}

Json to_json(std::string_view function, const domain::Version& version, control::Stage stage) {
  Json files = Json::array();
  for (const auto& file : version.files) {
    files.push_back({{"path", file.path}, {"sha256", file.sha256}, {"size", file.size.count}});
    if (file.archive) files.back()["archive"] = true;
  }
  Json out = {{"function", std::string(function)},
              {"version", version.number},
              {"stage", std::string(control::name(stage))},
              {"created", to_rfc3339(version.created)},
              {"size", size_of(version)},
              {"signature", to_json(version.signature)},
              {"notes", version.notes},
              {"compiled", version.compiled ? to_json(*version.compiled) : Json()},
              {"files", std::move(files)},
              {"manifest", domain::parse_json<Json>(domain::to_json(version.manifest))}};
  if (const std::string note = control::weights_note(version); !note.empty()) out["weights_note"] = note;
  if (!version.compile_error.empty()) out["compile_error"] = version.compile_error;
  for (const domain::LayerRef& layer : version.layers)
    out["layers"].push_back({{"name", layer.name}, {"version", layer.number}, {"size", layer.size.count}});
  if (const auto& had = version.dependencies)
    out["dependencies"] = {{"kind", had->kind}, {"key", had->key}, {"count", had->installed->size()}};
  return out;
}

Json dependencies_to_json(std::string_view function, const domain::Version& version) {
  Json out = {{"function", std::string(function)}, {"version", version.number}, {"kind", Json()}, {"key", Json()},
              {"installed", Json::array()}};
  if (!version.dependencies) return out;
  out["kind"] = version.dependencies->kind;
  out["key"] = version.dependencies->key;
  for (const domain::Dependency& each : *version.dependencies->installed)
    out["installed"].push_back({{"name", each.name}, {"version", each.version}, {"hash", each.hash}});
  return out;
}

Json to_json(const control::StartCacheView& cache) {
  constexpr const char* kStates[] = {"making", "ready", "failed"};
  Json out = {{"kind", cache.kind}, {"state", kStates[static_cast<std::size_t>(cache.state)]}, {"size", cache.size.count}};
  if (!cache.error.empty()) out["error"] = cache.error;
  return out;
}

Json to_json(const control::BuildView& build) {
  return {{"function", build.function}, {"kind", build.kind}, {"key", build.key}, {"since", to_rfc3339(build.since)}, {"line", build.line}};
}

Json to_json(std::string_view function, const domain::Alias& alias) {
  return {
      {"function", std::string(function)}, {"alias", alias.name}, {"weights", to_json(alias.weights)}, {"before", to_json(alias.before)}};
}

Json to_json(const control::InstanceView& instance) {
  return {{"process", instance.process},       {"function", instance.function},
          {"version", instance.version},       {"role", instance.role},
          {"state", instance.state},           {"frozen", instance.frozen},
          {"origin", instance.origin},
          {"age_s", to_seconds(instance.age)}, {"idle_s", to_seconds(instance.idle)},
          {"in_flight", instance.in_flight},   {"answered", instance.answered},
          {"memory", instance.memory.count},   {"cpu_ms", to_ms(instance.cpu)}};
}

Json to_json(const control::UsageReport& report) {
  Json sums = Json::array();
  for (const auto& sum : report.sums)
    sums.push_back({{"function", sum.function},
                    {"version", sum.version},
                    {"invocations", sum.invocations},
                    {"errors", sum.errors},
                    {"cold_starts", sum.cold_starts},
                    {"rows", sum.rows},
                    {"billed_s", sum.billed_seconds},
                    {"gb_s", sum.gb_seconds},
                    {"cpu_s", sum.cpu_seconds},
                    {"overhead_cpu_s", sum.overhead_cpu_seconds},
                    {"cost", sum.cost},
                    {"always_on_cost", sum.always_on_cost},
                    {"queue_mean_us", to_us(sum.queue_mean)},
                    {"run_mean_us", to_us(sum.run_mean)},
                    {"total_mean_us", to_us(sum.total_mean)},
                    {"total_max_us", to_us(sum.total_max)}});
  return {{"since", to_rfc3339(report.since)}, {"until", to_rfc3339(report.until)}, {"currency", report.currency},
          {"sums", std::move(sums)}, {"unknown_calls", report.unknown_calls}};
}

Json to_json(const control::NodeView& node) {
  return {{"version", node.version},
          {"up_s", to_seconds(node.up)},
          {"functions", node.functions},
          {"instances", node.instances},
          {"templates", node.templates},
          {"memory_used", node.memory_used.count},
          {"memory_budget", node.memory_budget.count},
          {"cpu_features", node.cpu_features},
          {"engine_version", node.engine_version},
          {"notes", node.notes}};
}

Json summary_to_json(const control::FunctionView& view) {
  Json out = {{"name", view.function.name}, {"created", to_rfc3339(view.function.created)}};
  const auto& versions = view.function.versions;
  out["latest"] = versions.empty() ? Json() : Json(versions.back().number);
  out["stage"] = view.stages.empty() ? Json() : Json(std::string(control::name(view.stages.back())));
  out["versions_count"] = versions.size();
  out["size"] = versions.empty() ? 0 : size_of(versions.back());
  out["aliases"] = aliases_to_json(view.function);
  out["instances"] = view.instances;
  out["templates"] = view.templates;
  out["waiting"] = view.waiting;
  out["in_flight"] = view.in_flight;
  out["memory"] = view.memory.count;
  return out;
}

Json to_json(const control::RecordingView& recording) {
  return {{"calls", recording.calls}, {"calls_max", recording.policy.calls}, {"share", recording.policy.share}, {"seen", recording.seen},
          {"size", recording.held.count}, {"size_max", recording.policy.size_max.count}};
}

Json to_json(const control::FunctionView& view) {
  Json out = summary_to_json(view);
  if (view.recording) out["recording"] = to_json(*view.recording);
  Json versions = Json::array(), decisions = Json::array(), starts = Json::array();
  for (std::size_t i = 0; i < view.function.versions.size(); ++i) {
    const auto stage = i < view.stages.size() ? view.stages[i] : control::Stage::checking;
    versions.push_back(to_json(view.function.name, view.function.versions[i], stage));
    const auto cache = view.start_caches.find(view.function.versions[i].number);
    if (cache != view.start_caches.end()) versions.back()["start_cache"] = to_json(cache->second);
  }
  for (const auto& decision : view.decisions)
    decisions.push_back({{"at", to_rfc3339(decision.at)},
                         {"version", decision.version},
                         {"before", decision.before},
                         {"after", decision.after},
                         {"reason", decision.reason}});
  for (const auto& start : view.cold_starts)
    starts.push_back({{"at", to_rfc3339(start.at)},
                      {"version", start.version},
                      {"origin", start.origin},
                      {"sandbox_ms", to_ms(start.sandbox)},
                      {"map_ms", to_ms(start.map)},
                      {"load_ms", to_ms(start.load)},
                      {"warm_ms", to_ms(start.warm)},
                      {"total_ms", to_ms(start.total)},
                      {"prefetched", start.prefetched.count},
                      {"first_answer_ms", start.first_answer == Duration() ? Json() : Json(to_ms(start.first_answer))}});
  Json failures = Json::array();
  for (const auto& failure : view.failures) {
    failures.push_back({{"at", to_rfc3339(failure.at)}, {"version", failure.version}, {"reason", failure.reason}, {"log", failure.log}});
    if (failure.process) failures.back()["process"] = failure.process;
  }
  out["failures"] = std::move(failures);
  out["versions"] = std::move(versions);
  out["decisions"] = std::move(decisions);
  out["cold_starts"] = std::move(starts);
  return out;
}

std::string to_json_line(const control::LogLine& line) {
  std::string out = "{\"sequence\":" + std::to_string(line.sequence);
  const auto open = line.json.find('{');
  const auto content = open == std::string::npos ? open : line.json.find_first_not_of(" \t", open + 1);
  if (content == std::string::npos) return out + "}";
  if (line.json[content] != '}') out += ',';
  return out.append(line.json, content);
}

}  // namespace mayfly::gateway
