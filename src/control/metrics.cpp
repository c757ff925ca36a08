#include "control/metrics.h"

#include <array>
#include <cstdio>

namespace mayfly::control {
namespace {

class Page {
 public:
  void family(const char* name, const char* type, const char* help) {
    name_ = name;
    text_ += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void sample(const std::string& labels, double value, const char* suffix = "") {
    char number[64];
    std::snprintf(number, sizeof number, value == static_cast<double>(static_cast<long long>(value)) ? " %.0f\n" : " %.9g\n", value);
    text_ += name_ + suffix + (labels.empty() ? "" : "{" + labels + "}") + number;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string name_, text_;
};

struct Row {
  std::string labels;
  const Counters* counters;
};

std::string labels_of(const Books::Name& name) {
  return "model=\"" + name.function + "\",version=\"" + std::to_string(name.version) + "\"";
}
std::string with(const std::string& labels, std::string_view key, std::string_view value) {
  return (labels + ",").append(key).append("=\"").append(value).append("\"");
}

constexpr double real(std::uint64_t count) { return static_cast<double>(count); }

struct Family {
  const char* name;
  const char* help;
  double (*value)(const Counters&);
};

// Triton's counters: names, meanings and units as in its documentation ("Metrics"); then our own.
constexpr std::array kCounters = {
    Family{"nv_inference_request_success", "Number of successful inference requests", [](const Counters& c) { return real(c.success); }},
    Family{"nv_inference_count", "Number of inferences performed (rows)", [](const Counters& c) { return real(c.rows); }},
    Family{"nv_inference_exec_count", "Number of model executions performed", [](const Counters& c) { return c.executions; }},
    Family{"nv_inference_request_duration_us", "Cumulative inference request duration in microseconds",
           [](const Counters& c) { return real(c.total_us); }},
    Family{"nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds",
           [](const Counters& c) { return real(c.queue_us); }},
    Family{"nv_inference_compute_input_duration_us", "Cumulative compute input duration in microseconds",
           [](const Counters& c) { return real(c.decode_ns) / 1e3; }},
    Family{"nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds",
           [](const Counters& c) { return real(c.run_ns) / 1e3; }},
    Family{"nv_inference_compute_output_duration_us", "Cumulative inference compute output duration in microseconds",
           [](const Counters& c) { return real(c.encode_ns) / 1e3; }},
    Family{"mayfly_billed_seconds_total", "Time in instances that is billed", [](const Counters& c) { return real(c.billed_us) / 1e6; }},
    Family{"mayfly_cpu_seconds_total", "CPU time that invocations caused", [](const Counters& c) { return real(c.cpu_ns) / 1e9; }},
    Family{"mayfly_overhead_cpu_seconds_total", "CPU time of instances that no invocation caused",
           [](const Counters& c) { return real(c.overhead_cpu_ns) / 1e9; }},
    Family{"mayfly_instances_ended_badly_total", "Instances that ended by themselves, or were killed for what they did",
           [](const Counters& c) { return real(c.ended_badly); }},
};

const char* triton_reason(std::size_t code) {
  switch (static_cast<Code>(code)) {
    case Code::exhausted: case Code::unavailable: case Code::deadline_exceeded: return "REJECTED";
    case Code::cancelled: return "CANCELED";
    case Code::internal: return "BACKEND";
    default: return "OTHER";
  }
}

void failures(Page& page, const std::vector<Row>& rows) {
  page.family("nv_inference_request_failure", "counter", "Number of failed inference requests");
  for (const Row& row : rows)
    for (const char* reason : {"REJECTED", "CANCELED", "BACKEND", "OTHER"}) {
      double sum = 0;
      for (std::size_t code = 1; code < row.counters->failures.size(); ++code)
        if (std::string_view(triton_reason(code)) == reason) sum += real(row.counters->failures[code]);
      page.sample(with(row.labels, "reason", reason), sum);
    }
}

void first_responses(Page& page, const std::vector<Row>& rows) {
  page.family("nv_inference_first_response_histogram_ms", "histogram", "Duration from request to first response in milliseconds");
  constexpr std::array kEdges = {"100", "500", "2000", "5000", "+Inf"};
  for (const Row& row : rows) {
    double sum = 0;
    for (std::size_t i = 0; i < kEdges.size(); ++i)
      page.sample(with(row.labels, "le", kEdges[i]), sum += real(row.counters->first_response[i]), "_bucket");
    page.sample(row.labels, real(row.counters->total_us) / 1e3, "_sum");
    page.sample(row.labels, sum, "_count");
  }
}

void fleet(Page& page, const MetricsSources& from) {
  page.family("mayfly_instances", "gauge", "Processes by version, role and state");
  for (const auto& [version, group] : from.fleet.groups()) {
    const auto name = from.name_of(version);
    if (!name) continue;
    const std::string labels = labels_of(*name), instance = with(labels, "role", "instance");
    for (const auto state : {instances::State::starting, instances::State::ready, instances::State::draining})
      if (const int count = group->count(state)) page.sample(with(instance, "state", instances::name(state)), count);
    if (const auto frozen = std::ranges::count_if(group->instances, &instances::Process::frozen))
      page.sample(with(instance, "state", "frozen"), static_cast<double>(frozen));  // of those that are ready
    if (group->template_) page.sample(with(with(labels, "role", "template"), "state", instances::name(group->template_->state)), 1);
  }
  page.family("nv_inference_pending_request_count", "gauge", "Instantaneous number of pending requests awaiting execution");
  from.dispatcher.for_each_lane([&](serve::Lane& lane) {
    if (const auto name = from.name_of(lane.version)) page.sample(labels_of(*name), lane.waiting);
  });
}

}  // namespace

std::string metrics_text(const MetricsSources& from) {
  Page page;
  std::vector<Row> rows;
  for (const auto& [version, counters] : from.books.all())
    if (const auto name = from.name_of(version))
      rows.push_back({labels_of(*name), &counters});
  for (const Family& family : kCounters) {
    page.family(family.name, "counter", family.help);
    for (const Row& row : rows) page.sample(row.labels, family.value(*row.counters));
  }
  failures(page, rows);
  first_responses(page, rows);
  page.family("mayfly_starts_total", "counter", "Instances started, by where they came from");
  for (const Row& row : rows) {
    page.sample(with(row.labels, "origin", "fork"), real(row.counters->started_fork));
    page.sample(with(row.labels, "origin", "artifact"), real(row.counters->started_artifact));
  }
  fleet(page, from);
  const auto gauge = [&page](const char* name, const char* help, double value) {
    page.family(name, "gauge", help);
    page.sample("", value);
  };
  gauge("mayfly_functions", "Functions deployed", real(from.functions));
  gauge("mayfly_invocations_in_flight", "Calls that wait or run", real(from.dispatcher.in_flight()));
  gauge("mayfly_memory_used_bytes", "Measured memory of instances and templates", real(from.fleet.memory_used().count));
  gauge("mayfly_memory_budget_bytes", "What instances and templates may use", real(from.memory_budget.count));
  gauge("mayfly_up_seconds", "Time since the node started", to_seconds(from.up));
  gauge("mayfly_usage_records_lost", "Usage records that did not reach the disk", real(from.usage_records_lost));
  return page.take();
}

}  // namespace mayfly::control
