#include "control/plan.h"

#include <algorithm>
#include <cmath>

#include "domain/recording.h"
#include "domain/settings.h"
#include "store/packages.h"

namespace mayfly::control {
namespace {

using domain::Role;
using domain::Version;

std::vector<instances::ModelFile> files_of(const Version& version, const Locate& locate) {
  if (version.manifest.is_container()) {
    std::vector<std::string> layers;
    Bytes size;
    for (const domain::FileRef& file : version.files) {
      layers.push_back(file.sha256);
      size.count += file.size.count;
    }
    return {{.path = "", .location = locate({.sha256 = store::image_name(layers), .archive = true}) + store::kImageRoot, .size = size}};
  }
  std::vector<instances::ModelFile> files;
  for (const domain::FileRef& file : version.files) {
    instances::ModelFile found{file.archive ? std::string() : file.path, locate(file), file.size};
    // The model leads; what it refers to follows.
    if (file.path == version.manifest.model) files.insert(files.begin(), std::move(found));
    else files.push_back(std::move(found));
  }
  return files;
}

int threads_of(const Version& version) { return static_cast<int>(std::max(1.0, std::floor(version.manifest.resources.cpu))); }

instances::StartOrder order_of(Role role, const std::string& name, const Version& version) {
  return {.role = role, .model_name = name, .version_number = version.number, .batches = version.signature.batches,
          .labels = version.manifest.labels, .rows_max = version.manifest.batch.rows_max, .batch_wait = version.manifest.batch.wait_max,
          .memory_max = version.manifest.resources.memory, .cpu = version.manifest.resources.cpu};
}

// Beside its limit a process may have as much of its file in memory, up to the limit once more: pages beyond that leave as others come.
void set_room(instances::StartOrder& order) {
  Bytes mapped;
  for (const instances::ModelFile& file : order.files) mapped.count += file.size.count;
  order.memory_beside.count = std::min(mapped.count, order.memory_max.count);
}

// As uploaded the engine reads the weights and copies them once more while it loads (measured: 2.04 times the file, packed 2.2). Where that
// does not fit, those in files of their own stay there (worker/external_data.h), and of these pages leave as others come.
constexpr std::uint64_t kCopiesOfUploaded = 2;

void set_room_of_uploaded(instances::StartOrder& order, const Version& version) {
  Bytes mapped;
  for (const instances::ModelFile& file : order.files) mapped.count += file.size.count;
  const std::uint64_t copies = kCopiesOfUploaded * mapped.count;
  order.memory_beside = mapped;
  order.pack_weights = copies <= order.memory_max.count;  // the engine's own default
  if (order.pack_weights) return;
  // Only for as long as it takes to compile it: from then on it maps them.
  if (version.compile_error.empty()) order.memory_beside.count += copies;
  else if (order.files.size() > 1) set_room(order);
}

}  // namespace

bool has_room_to_pack(const Version& version) {
  const std::uint64_t room = version.manifest.resources.memory.count;
  if (!version.compiled) return false;
  const domain::Tuning& tuning = version.compiled->tuning;
  // A quarter is left for what a larger batch takes.
  return tuning.own_packed_bytes > 0 ? tuning.own_packed_bytes <= room / 4 * 3 : version.compiled->size.count <= room;
}

std::string weights_note(const Version& version) {
  if (!version.compiled) return {};
  const domain::Compiled& compiled = *version.compiled;
  const domain::Tuning& tuning = compiled.tuning;
  const Bytes memory = version.manifest.resources.memory;
  if (tuning.own_bytes > memory.count)
    return "what it takes beside its weights, " + to_text(Bytes{tuning.own_bytes}) + ", does not fit its memory of " + to_text(memory) +
           ": raise resources.memory";
  std::string note;
  if (compiled.size > memory)
    note = "larger than its memory of " + to_text(memory) + ": of its " + to_text(compiled.size) +
           " pages are read when they are touched, and leave when others need the room";
  if ((tuning.pack_weights || tuning.pack_cold) && !has_room_to_pack(version))
    note += std::string(note.empty() ? "" : "; ") + "its weights are not packed, which would take " +
            to_text(Bytes{std::max(tuning.own_packed_bytes, tuning.own_bytes)}) + " of its memory of " + to_text(memory);
  return note;
}

std::string source_of(const Version& version) {
  std::string source = version.manifest.model + '\n';
  for (const domain::FileRef& file : version.files) source += file.path + '\n' + file.sha256 + '\n';
  return source;
}

std::string limits_of(const Version& version) {
  return std::to_string(version.manifest.resources.memory.count) + " bytes, " + std::to_string(threads_of(version)) + " threads";
}

bool is_compiled_for(const Version& version, std::string_view compile_key) {
  return version.compiled && version.compiled->key == compile_key;
}

namespace {

// As it is told there: of the text format no level.
void add_logging(const domain::Logging& logging, std::vector<std::pair<std::string, std::string>>& environment) {
  const bool json = logging.format == domain::LogFormat::json;
  environment.emplace_back("AWS_LAMBDA_LOG_FORMAT", json ? "JSON" : "Text");
  if (!json) return;
  std::string level(domain::name(logging.level));
  std::ranges::transform(level, level.begin(), [](char c) { return static_cast<char>(c - 'a' + 'A'); });
  environment.emplace_back("AWS_LAMBDA_LOG_LEVEL", std::move(level));
}

}  // namespace

instances::VersionPlan plan_of(const std::string& function_name, const Version& version, std::string_view compile_key,
                               const Locate& locate) {
  instances::VersionPlan plan{.version = version.id, .function = version.function, .function_name = function_name, .number = version.number,
                              .instance = order_of(Role::instance, function_name, version),
                              .concurrency_max = version.manifest.scaling.concurrency};
  if (version.manifest.is_code()) {
    const domain::Manifest& manifest = version.manifest;
    plan.instance.role = Role::code;
    plan.instance.files = files_of(version, locate);
    plan.instance.runtime = manifest.runtime;
    plan.instance.handler = manifest.handler;
    plan.instance.environment = manifest.environment;
    if (!manifest.serves_http()) add_logging(manifest.logging, plan.instance.environment);
    plan.instance.image = manifest.image.as_started();
    plan.instance.models = manifest.models;
    plan.instance.network = manifest.network;
    plan.instance.protocol = manifest.protocol;
    plan.instance.timeout = manifest.resources.timeout;
    plan.concurrency_max = manifest.scaling.concurrency.value_or(manifest.serves_http() ? domain::kHttpConcurrency : 1);
    plan.instance.concurrency = *plan.concurrency_max;
    if (manifest.scaling.freeze_after ? *manifest.scaling.freeze_after > Duration{} : *plan.concurrency_max == 1 && !manifest.serves_http())
      plan.freeze_after = manifest.scaling.freeze_after.value_or(domain::kFreezeAfter);
    // Where the node's models are is known to an instance alone, and a module may ask for it at import.
    if (manifest.runtime.starts_with("python") && manifest.fork != domain::Forks::never && manifest.models.empty()) {
      plan.template_ = plan.instance;
      plan.template_->role = Role::code_template;
      // Of several on one loopback only one could listen for its destinations.
      plan.forks_share = manifest.fork == domain::Forks::always && manifest.network.reach != domain::Reach::outbound;
    }
    return plan;
  }
  if (!is_compiled_for(version, compile_key)) {
    plan.instance.files = files_of(version, locate);
    set_room_of_uploaded(plan.instance, version);
    return plan;
  }
  const domain::Compiled& compiled = *version.compiled;
  const domain::Tuning& tuning = compiled.tuning;
  plan.instance.files = {{version.manifest.model, locate({.sha256 = compiled.sha256}), compiled.size}};
  plan.instance.compiled = true;
  plan.replaces_uploaded = tuning.cold_first_ns != 0;
  set_room(plan.instance);
  plan.instance.working_set = tuning.working_set;
  const bool may_pack = has_room_to_pack(version);
  plan.instance.pack_weights = tuning.pack_cold && may_pack;
  plan.instance.large_pages = tuning.large_pages;
  plan.instance.threads = tuning.threads;
  if (version.template_allowed && tuning.template_allowed && tuning.threads == 1) {
    plan.template_ = plan.instance;
    plan.template_->role = Role::template_;
    plan.template_->pack_weights = tuning.pack_weights && may_pack;
    plan.forks_run_better = plan.template_->pack_weights && !tuning.pack_cold;
  }
  return plan;
}

instances::StartOrder job_order(Role role, const std::string& function_name, const Version& version, const Locate& locate) {
  instances::StartOrder order = order_of(role, function_name, version);
  order.files = files_of(version, locate);
  order.pack_weights = true;
  Bytes model;
  for (const auto& file : order.files) model.count += file.size.count;
  order.memory_beside = model;
  // Checking and compiling hold the model several times over: as read, as a graph, as optimised, as written.
  order.memory_max.count = std::max(order.memory_max.count, (512_MiB).count + 6 * model.count);
  order.threads = threads_of(version);
  order.time_max = std::chrono::minutes(role == Role::check ? 2 : 10);
  return order;
}

serve::Target target_of(const Version& version) {
  return {.version = version.id, .function = version.function, .number = version.number, .timeout = version.manifest.resources.timeout,
          .body_max = version.manifest.body_max, .queue_max = version.manifest.queue_max, .http = version.manifest.serves_http()};
}

serve::Route route_of(const domain::Function& function) {
  serve::Route route{.aliases = function.aliases};
  const auto calls_max = domain::calls_max(function);
  const bool recorded = domain::recording_of(function).has_value();
  for (const Version& version : function.versions) {
    route.targets.push_back(target_of(version));
    route.targets.back().calls_max = calls_max;
    route.targets.back().recorded = recorded && !version.manifest.is_code();
  }
  std::ranges::sort(route.targets, {}, &serve::Target::number);
  return route;
}

}  // namespace mayfly::control
