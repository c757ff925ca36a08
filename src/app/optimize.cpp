// mayfly optimize: makes smaller and faster candidates of a model file, measures each on this machine, and writes the best of those that
// the gate passes. Asks a node for nothing but calls that it recorded. The original is only read; the output appears whole, by a rename,
// or not at all.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "app/commands.h"
#include "app/npz_write.h"
#include "app/optimize_candidate.h"
#include "app/optimize_data.h"
#include "app/optimize_find.h"
#include "app/optimize_search.h"
#include "app/package.h"
#include "app/png.h"
#include "app/record.h"
#include "base/share.h"
#include "base/units.h"
#include "gate/class_names.h"
#include "gate/sizes.h"
#include "gate/split.h"
#include "os/clock.h"
#include "os/digest.h"
#include "os/disk.h"
#include "os/signals.h"
#include "worker/disk_room.h"
#include "worker/inspect.h"
#include "worker/trial.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

// The gate passes what 268 samples say without a difference; some more leave room for one.
constexpr std::uint64_t kMadeUpSamples = 400, kJudgedLeast = 300, kCalibrationMax = 100;
constexpr std::string_view kRecorded = "recorded:";  // and a function's name
constexpr Duration kTimeMax = std::chrono::hours(24);

Result<gate::Limits> limits_of(const OptimizeOptions& options) {
  gate::Limits limits;
  TRY(limits.drop_max, share_of(options.accuracy_drop_max, "--accuracy-drop-max", 1));
  TRY(limits.agreement_min, share_of(options.same_min, "--same-min", 1));
  limits.cosine_min = limits.agreement_min;
  limits.compare = options.compare == "classes" ? gate::Compare::classes
                   : options.compare == "values" ? gate::Compare::values : gate::Compare::automatic;
  return limits;
}

Result<std::string> output_of(const OptimizeOptions& options) {
  const fs::path model(options.model);
  const fs::path output =
      options.output.empty() ? model.parent_path() / (model.stem().string() + ".optimized.onnx") : fs::path(options.output);
  std::error_code error;
  if (fs::is_directory(output, error) || output.filename().empty())
    return fail(Code::invalid_argument, "-o '" + output.string() + "' is a folder: name a file in it");
  if (fs::exists(output, error) && fs::equivalent(output, model, error))
    return fail(Code::invalid_argument, "-o names the original itself, which is never overwritten: name another file");
  const fs::path folder = output.parent_path().empty() ? fs::path(".") : output.parent_path();
  if (!fs::is_directory(folder, error)) return fail(Code::not_found, "the folder '" + folder.string() + "' for -o is not there: make it");
  return output.string();
}

bool is_automatic(const OptimizeOptions& options) {
  return options.recipes.empty() || options.recipes == std::vector<std::string>{"auto"};
}

Result<std::vector<OptimizeRecipe>> recipes_of(const OptimizeOptions& options, bool convolutional) {
  std::vector<OptimizeRecipe> recipes;
  const auto texts = is_automatic(options) ? recipes_for(options.goal, convolutional) : options.recipes;
  for (const std::string& text : texts) {
    TRY(OptimizeRecipe recipe, read_recipe(text));
    if (std::ranges::find(recipes, recipe.text, &OptimizeRecipe::text) == recipes.end()) recipes.push_back(std::move(recipe));
  }
  return recipes;
}

// Of all that a row depends on: the model's bytes and its weights', the samples', the limits.
Result<std::string> key_of(const OptimizeOptions& options, const gate::Samples& samples) {
  std::string parts = options.accuracy_drop_max + "\n" + options.same_min + "\n" + options.compare + "\n";
  TRY(const auto data, worker::map_model(options.model));
  for (const auto& file : data.files) parts += os::sha256_hex(file.bytes.text()) + "\n";
  if (!samples.preparation.empty() || options.data.starts_with(kRecorded)) {
    for (std::size_t size = 0; size < gate::sizes_of(samples); ++size)
      for (const gate::Array& input : gate::arrays_of(samples, size)) {
        parts += os::sha256_hex({reinterpret_cast<const char*>(input.data.data()), input.data.size()}) + "\n";
        for (const std::string& text : input.strings) parts += os::sha256_hex(text) + "\n";
      }
    for (const std::string& label : samples.labels) parts += label + "\n";
  } else if (!options.data.empty()) {
    TRY(const os::Fd file, open_file(options.data));
    TRY(const std::string digest, hash_file(file.get(), [](std::uint64_t) {}));
    parts += digest;
  }
  return os::sha256_hex(parts);
}

Result<void> write_text(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (!file) return fail(os::os_error("open", path));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) return fail(Code::exhausted, "'" + path + "' can't be written: is the disk full?");
  return {};
}

// What is being done on a line that is redrawn, and what is done on lines that stay; both on stderr.
class Teller {
 public:
  Teller(const Context& context, bool lines)
      : context_(context), lines_(lines), progress_(context.terminal, "optimize", os::monotonic_now()) {}
  void says(const std::string& text) {
    if (lines_) note(text);
    else progress_.say(text, os::monotonic_now());
  }
  void note(const std::string& line) {
    progress_.clear();
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  void found(const OptimizeRow& row) {
    progress_.clear();
    if (context_.json) return;
    const std::string numbers = row.trial.one.runs == 0 ? "" : to_text(Bytes{row.size}) + ", first answer " + to_text(row.trial.first) +
                                                                     ", p50 " + to_text(row.trial.one.p50);
    std::fprintf(stderr, "%s: %s%s\n", row.recipe.c_str(), numbers.c_str(),
                 row.gate == "original" ? "" : ((numbers.empty() ? "" : ": ") + row.gate).c_str());
  }

 private:
  const Context& context_;
  const bool lines_;
  Progress progress_;
};

// A file that is wrong is a failure and no wrong usage.
Error as_failure(Error error) {
  if (error.code == Code::invalid_argument) error.code = Code::internal;
  return error;
}

Result<gate::Samples> samples_of(worker::Engine& engine, const OptimizeOptions& options, bool calibrates,
                                 const worker::ChildLimits& limits, const Context& context, Teller& teller) {
  TRY(const domain::Signature signature, worker::signature_of(engine, options.model, limits));
  if (options.data.starts_with(kRecorded)) {
    TRY(auto made, recorded_samples(context, options.data.substr(kRecorded.size()), signature, limits));
    if (const std::string left_out = left_out_of(made); !left_out.empty()) teller.note(left_out.substr(0, left_out.size() - 1));
    return std::move(made.samples);
  }
  TRY(const auto data, worker::map_model(options.model));
  TRY(const worker::Inspection seen, worker::inspect_model(data.files[0].bytes.text()));
  if (!options.data.empty())
    return read_samples(options.data, signature,
                        {.how = options.pictures,
                         .classes = gate::parse_class_names(seen.class_names),
                         .says = [&](const std::string& line) { teller.note(line); },
                         .limits = limits});
  return worker::made_up_samples(engine, options.model, signature, kMadeUpSamples + (calibrates ? kCalibrationMax : 0), limits);
}

// What ranges are measured on, for the report.
std::string calibration_text(const gate::Parts& parts) {
  return plural(parts.calibration.count, parts.calibration.generated ? "made-up sample" : "sample") +
         (parts.apart ? ", none of which is compared on" : ", which are compared on, too: there are too few to keep them apart") +
         (parts.calibration.generated ? "; real ones, given by --data, have other ranges" : "");
}

Result<OptimizeReport> finish(const OptimizeOptions& options, OptimizeWork& work, OptimizeReport& report) {
  OptimizeRow* best = best_of(report.rows, options.goal);
  if (best) {
    TRY_VOID(work.take(best->recipe, options.model));
    best->chosen = true;
  }
  if (!options.svg.empty()) TRY_VOID(write_text(options.svg, picture_of(report)));
  if (!options.png.empty()) TRY_VOID(write_png(options.png, picture_of(report)));
  if (!options.html.empty()) TRY_VOID(write_text(options.html, page_of(report)));
  return std::move(report);
}

}  // namespace

Result<double> share_of(const std::string& text, const char* option, double most) {
  const auto value = read_share(text);
  if (!value || !(*value >= 0) || *value > most)
    return fail(Code::invalid_argument, std::string(option) + ": '" + printable(text.substr(0, 40)) + "' is no share from 0% to " +
                                            percent(most) + ": write 1% or 0.01");
  return *value;
}

Result<void> check_optimize(const OptimizeOptions& options) {
  TRY(const Duration time_max, parse_duration(options.time_max));
  if (time_max <= Duration{} || time_max > kTimeMax) return fail(Code::invalid_argument, "--time-max is above 0 and at most 24h");
  TRY_VOID(limits_of(options));
  TRY_VOID(recipes_of(options, false));
  return {};
}

Result<gate::Samples> read_given_samples(const Context& context, const OptimizeOptions& options) {
  TRY(const os::HeldEndSignals signals, os::HeldEndSignals::hold());
  Teller teller(context, false);
  TRY(const auto engine, worker::Engine::open(""));
  TRY_VOID(engine->warm());
  auto samples = samples_of(*engine, options, false, {.stops = [&] { return signals.came(); }}, context, teller);
  if (!samples) return fail(as_failure(samples.error()));
  return samples;
}

Result<OptimizeReport> find_optimized(const Context& context, const OptimizeOptions& options) {
  TRY_VOID(check_optimize(options));
  TRY(const auto engine, worker::Engine::open(""));
  TRY_VOID(engine->warm());
  return find_optimized(*engine, context, options);
}

Result<OptimizeReport> find_optimized(worker::Engine& engine, const Context& context, const OptimizeOptions& options) {
  TRY(const Duration time_max, parse_duration(options.time_max));
  TRY(const gate::Limits limits, limits_of(options));
  if (!options.pictures.empty() && options.data.empty())
    return fail(Code::invalid_argument, "--pictures says how the pictures of a folder are prepared: name it with --data");
  if (!options.png.empty()) {
    TRY(const std::string renderer, find_renderer());
  }
  TRY(auto recipes, recipes_of(options, false));
  std::error_code error;
  if (!fs::exists(options.model, error)) return fail(Code::not_found, "'" + options.model + "' is not there: name an ONNX model");
  TRY(const std::string output, output_of(options));
  TRY(const os::HeldEndSignals signals, os::HeldEndSignals::hold());
  bool stopped = false;
  std::string full;  // why it ends, where that is the disk
  const auto stops = [&] {
    const auto room = options.keeps_room.empty() ? Result<void>() : worker::check_disk_room(options.keeps_room.c_str());
    if (!room) full = room.error().message;
    return stopped = stopped || !full.empty() || signals.came();
  };
  const auto failed = [&](Error why) { return fail(full.empty() ? as_failure(std::move(why)) : Error{Code::exhausted, full}); };
  Teller teller(context, options.tells_lines);
  SearchPlan plan{.model = options.model, .goal = options.goal, .recipes = std::move(recipes), .follows = is_automatic(options),
                  .limits = limits,
                  .end = os::monotonic_now() + time_max, .stops = stops, .says = [&](const std::string& text) { teller.says(text); },
                  .found = [&](const OptimizeRow& row) { teller.found(row); },
                  .notes = [&](const std::string& line) { teller.note(line); }};
  const worker::ChildLimits limits_of_reading{.time_max = time_max, .stops = stops};
  if (plan.follows) {
    const auto convolutional = is_convolutional(options.model, limits_of_reading);
    if (!convolutional) return failed(convolutional.error());
    TRY(plan.recipes, recipes_of(options, *convolutional));
  }
  const bool calibrates = std::ranges::any_of(plan.recipes, [](const OptimizeRecipe& recipe) {
    return measures_samples(recipe.steps);
  });
  auto samples = samples_of(engine, options, calibrates, limits_of_reading, context, teller);
  if (!samples) return failed(samples.error());
  if (!options.data_out.empty()) TRY_VOID(write_samples(options.data_out, *samples));
  gate::Parts parts;
  if (calibrates) {
    parts = gate::split(*samples, kCalibrationMax, kJudgedLeast);
    samples = std::move(parts.rest);
    plan.calibration = &parts.calibration;
  }
  const auto key = key_of(options, *samples);
  if (!key) return failed(key.error());
  TRY(OptimizeWork work, OptimizeWork::open(output, *key + (calibrates ? " calibrated" : "")));
  OptimizeReport report{.model = options.model, .output = output, .goal = options.goal,
                        .data = options.data.empty() ? "made up" : options.data, .calibration = calibrates ? calibration_text(parts) : "",
                        .samples_of = samples->count,
                        .labelled = !samples->labels.empty()};
  if (const auto searched = search(engine, plan, *samples, work, report); !searched) {
    if (!full.empty() || searched.error().code != Code::cancelled) return failed(searched.error());
    work.stay();
    return fail(Code::cancelled, "interrupted: nothing was written to '" + output + "'; the same command goes on after " +
                                     plural(work.done().size(), "candidate") + " that were measured");
  }
  return finish(options, work, report);
}

Result<void> optimize(const Context& context, const OptimizeOptions& options) {
  TRY(const OptimizeReport report, find_optimized(context, options));
  if (context.json) print_json(to_json(report));
  else print(table_of(report, context.terminal) + remarks_of(report, context.terminal));
  if (std::ranges::none_of(report.rows, &OptimizeRow::chosen))
    return fail(Code::internal, "no candidate passed the gate: nothing was written to '" + report.output + "'");
  return {};
}

}  // namespace mayfly::app
