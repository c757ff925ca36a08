#include "worker/trial.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/units.h"
#include "domain/job_results.h"
#include "os/clock.h"
#include "os/process.h"
#include "worker/compile.h"
#include "worker/detail/sample_input.h"
#include "worker/detail/trial_wire.h"
#include "worker/inspect.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;

constexpr int kStarts = 3;
constexpr std::uint64_t kRunsMin = 5, kRunsMax = 2000;
constexpr Duration kOneRowTime = 1s, kBatchTime = 300ms;
constexpr std::int64_t kBatches[] = {2, 4, 8, 16, 32};
constexpr std::uint64_t kOutputsMax = 256 << 20;

Result<std::unique_ptr<Model>> load(Engine& engine, const std::string& path, bool compiled, bool pack) {
  ModelData data;
  if (compiled) {
    TRY(ModelData::File file, map_model_file(path, "model.ort"));
    data.files.push_back(std::move(file));
  } else {
    TRY(data, map_model(path));
  }
  return Model::load(engine, std::move(data), {.compiled = compiled, .pack_weights = pack});
}

gate::Array copy_of(const TensorView& view, domain::Datatype type) {
  gate::Array array{.datatype = type, .shape = view.shape, .data = {view.data.begin(), view.data.end()}};
  for (const std::string_view text : view.strings) array.strings.emplace_back(text);
  return array;
}

Latency latency_of(std::vector<Duration> times, std::int64_t rows) {
  std::ranges::sort(times);
  Duration all{};
  for (const Duration time : times) all += time;
  const auto at = [&](double share) { return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1) + 0.5)]; };
  return {.rows = rows, .runs = times.size(), .p50 = at(0.5), .p99 = at(0.99),
          .per_second = static_cast<double>(rows) * static_cast<double>(times.size()) / to_seconds(all)};
}

// Each sample once, as one call: its outputs and its time.
Result<std::vector<Duration>> answer_samples(Model& model, const gate::Samples& samples, Duration time_max, gate::Outputs& outputs) {
  std::vector<Duration> times;
  const Instant end = os::monotonic_now() + time_max;
  const auto rows = static_cast<std::uint64_t>(samples.rows);
  std::uint64_t held = 0;
  outputs.specs = model.signature().outputs;
  for (std::uint64_t i = 0; i < samples.count && held < kOutputsMax && (i == 0 || os::monotonic_now() < end); ++i) {
    const SampleInput input(samples, i, rows);
    const Instant begun = os::monotonic_now();
    const auto ran = model.run(input.views);
    if (!ran) return fail(ran.error().code, "sample " + std::to_string(i) + " does not run: " + ran.error().message);
    times.push_back(os::monotonic_now() - begun);
    auto& kept = outputs.samples.emplace_back();
    for (std::size_t o = 0; o < ran->size(); ++o) {
      kept.push_back(copy_of((*ran)[o], outputs.specs[o].datatype));
      held += kept.back().data.size() + 64;
    }
  }
  return times;
}

// More runs until there are enough for a p99, or the time is over. Of a set of several sizes each sample in turn, where one is a run.
std::vector<Duration> repeat(Model& model, const gate::Samples& samples, std::uint64_t rows, Duration time_max) {
  std::vector<Duration> times;
  const bool in_turn = gate::sizes_of(samples) > 1 && rows == static_cast<std::uint64_t>(samples.rows);
  std::optional<SampleInput> input;
  const Instant end = os::monotonic_now() + time_max;
  while (times.size() < kRunsMin || (times.size() < kRunsMax && os::monotonic_now() < end)) {
    if (!input || in_turn) input.emplace(samples, times.size() % samples.count, rows);
    const Instant begun = os::monotonic_now();
    if (!model.run(input->views)) return {};
    times.push_back(os::monotonic_now() - begun);
  }
  return times;
}

Latency best_batch(Model& model, const gate::Samples& samples, const Latency& one) {
  Latency best = one;
  if (!model.signature().batches) return best;
  for (const std::int64_t rows : kBatches) {
    if (one.p50 * rows > 10s) break;  // a run alone would take too long
    const auto times = repeat(model, samples, static_cast<std::uint64_t>(rows), kBatchTime);
    if (times.empty()) break;  // it fixes its rows inside
    const Latency latency = latency_of(times, rows);
    if (latency.per_second > best.per_second * 1.03) best = latency;
  }
  return best;
}

Result<std::string> measure_start(Engine& engine, const std::string& path, const gate::Samples& samples, bool compiled, Instant begun) {
  TRY(const auto model, load(engine, path, compiled, !compiled));
  const Duration loaded = os::monotonic_now() - begun;
  const SampleInput input(samples, 0, static_cast<std::uint64_t>(samples.rows));
  const auto ran = model->run(input.views);
  if (!ran) return fail(ran.error());
  const Duration first = os::monotonic_now() - begun;
  return wire::packed(loaded) + wire::packed(first);
}

Result<std::string> measure_answers(Engine& engine, const std::string& path, const gate::Samples& samples, const TrialOptions& options) {
  const std::uint64_t before = os::process_memory(::getpid()).count;
  TRY(const auto model, load(engine, path, options.compiled, true));
  Trial trial;
  TRY(std::vector<Duration> times, answer_samples(*model, samples, options.answers_max, trial.outputs));
  times.erase(times.begin());  // the first run is no warm one
  const auto more = repeat(*model, samples, static_cast<std::uint64_t>(samples.rows), kOneRowTime);
  times.insert(times.end(), more.begin(), more.end());
  trial.memory = os::process_memory(::getpid()).count;
  trial.memory -= std::min(trial.memory, before);
  std::uint64_t held = 0;  // the outputs are the measurement's own
  for (const auto& sample : trial.outputs.samples)
    for (const gate::Array& array : sample) held += array.data.size();
  trial.memory -= std::min(trial.memory, held);
  trial.one = latency_of(std::move(times), samples.rows);
  trial.best = best_batch(*model, samples, trial.one);
  return wire::packed(trial);
}

}  // namespace

Result<ModelData> map_model(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  const std::string file = path.substr(folder.size());
  ModelData data;
  TRY(ModelData::File model, map_model_file(path, file));
  TRY(const Inspection seen, inspect_model(model.bytes.text()));
  data.files.push_back(std::move(model));
  for (const std::string& location : seen.external_data) {
    TRY(const std::string relative, resolve_external(file, location));
    TRY(ModelData::File weights, map_model_file(folder + relative, relative));
    data.files.push_back(std::move(weights));
  }
  return data;
}

Result<Trial> try_model(Engine& engine, const std::string& path, const gate::Samples& samples, const TrialOptions& options) {
  std::vector<Duration> loads, firsts;
  for (int i = 0; i < kStarts; ++i) {
    const Instant begun = os::monotonic_now();
    TRY(const std::string bytes,
        in_a_process([&] { return measure_start(engine, path, samples, options.compiled, begun); }, options.limits));
    wire::Reader reader(bytes);
    loads.push_back(reader.duration());
    firsts.push_back(reader.duration());
    if (!reader.good()) return fail(Code::internal, "a process that measured the model's start sent no result");
    if (firsts.back() > 20s) break;  // one that takes so long is not measured three times
  }
  std::ranges::sort(loads);
  std::ranges::sort(firsts);
  TRY(const std::string bytes, in_a_process([&] { return measure_answers(engine, path, samples, options); }, options.limits));
  TRY(Trial trial, wire::trial_of(bytes));
  trial.load = loads[loads.size() / 2];
  trial.first = firsts[firsts.size() / 2];
  return trial;
}

Result<domain::Signature> signature_of(Engine& engine, const std::string& path, const ChildLimits& limits) {
  TRY(const std::string json, in_a_process([&]() -> Result<std::string> {
    TRY(ModelData data, map_model(path));
    TRY(const auto model, Model::load(engine, std::move(data), {.pack_weights = false, .optimise = Optimise::nothing}));
    return domain::to_json(model->signature());
  }, limits));
  return domain::parse_signature(json);
}

Result<gate::Samples> made_up_samples(Engine& engine, const std::string& path, const domain::Signature& signature, std::uint64_t count,
                                      const ChildLimits& limits) {
  constexpr std::int64_t kSizes[] = {16, 32, 64, 224, 320, 1};
  constexpr int kWholes[] = {1000, 100, 9, 1};
  TRY(const std::string bytes, in_a_process([&]() -> Result<std::string> {
    TRY(const auto model, load(engine, path, false, false));
    Error last{Code::internal, "no size was tried"};
    for (const std::int64_t size : kSizes)
      for (const int whole : kWholes) {
        TRY(const gate::Samples samples, gate::make_samples(signature, {.count = 8, .size = size, .whole_max = whole}));
        bool all = true;
        for (std::uint64_t i = 0; all && i < samples.count; ++i) {
          const auto rows = static_cast<std::uint64_t>(samples.rows);
          const auto ran = model->run(SampleInput(samples, i, rows).views);
          all = ran.has_value();
          if (!ran) last = ran.error();
        }
        if (all) return wire::packed(static_cast<std::uint64_t>(size)) + wire::packed(static_cast<std::uint64_t>(whole));
      }
    return fail(Code::invalid_argument, "no made-up input runs (" + last.message + "): give samples with --data");
  }, limits));
  wire::Reader reader(bytes);
  const auto size = static_cast<std::int64_t>(reader.number());
  const int whole = static_cast<int>(reader.number());
  return gate::make_samples(signature, {.count = count, .size = size, .whole_max = whole});
}

Result<void> compile_to(Engine& engine, const std::string& path, const std::string& output, const ChildLimits& limits) {
  TRY(const std::string none, in_a_process([&]() -> Result<std::string> {
    TRY(const ModelData data, map_model(path));
    TRY_VOID(save_compiled(engine, data, output));
    return std::string();
  }, limits));
  return {};
}

}  // namespace mayfly::worker
