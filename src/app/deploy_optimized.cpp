// mayfly deploy --optimize: deploys the original, which serves at once; sends the samples as an artifact; orders the search of the node,
// which goes on without this command (control/node_optimize.cpp). With --wait it looks until that has ended, and shows what was found.
#include "app/deploy_optimized.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "app/image.h"
#include "app/npz_write.h"
#include "app/optimize_find.h"
#include "app/package.h"
#include "app/sam.h"
#include "app/upload.h"
#include "domain/image_reference.h"
#include "domain/manifest.h"
#include "os/clock.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr Duration kLook = std::chrono::milliseconds(250);

// What the samples are written to; gone with the command.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::error_code error;
    std::string name = (fs::temp_directory_path(error) / "mayfly-samples-XXXXXX").string();
    if (error || !::mkdtemp(name.data()))
      return fail(Code::exhausted, "no folder can be made at '" + name + "': is TMPDIR there and writable?");
    return Scratch(name);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  fs::path path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A model and what lies with it, before any node is asked.
Result<Package> package_of(const DeployOptions& options) {
  const bool image = options.path.starts_with(kImagePrefix) || options.path.starts_with(domain::kPullPrefix);
  const Error no_model{Code::invalid_argument,
                       "--optimize is for an ONNX model, and '" + options.path.substr(0, 200) + "' is code or an image"};
  if (image || !find_sam(options.path).empty()) return fail(no_model);
  TRY(const std::string manifest, read_manifest_of(options.path));
  TRY(const std::string whole, with_overrides(manifest, options.overrides));
  if (const auto read = domain::parse_manifest(whole); read && (read->is_code() || read->image.is_wanted())) return fail(no_model);
  TRY(Package package, read_package(options.path));
  TRY(package.manifest, with_overrides(package.manifest, options.overrides));
  return package;
}

// The artifact's SHA-256; what is wrong with them is said before anything is ordered.
Result<std::string> send_samples(const Context& context, OptimizeOptions options, const std::string& model) {
  options.model = model;
  TRY(const gate::Samples samples, read_given_samples(context, options));
  TRY(const Scratch scratch, Scratch::make());
  PackageFile file{.file = {.path = "samples.npz"}, .location = (scratch.path() / "samples.npz").string()};
  TRY_VOID(write_samples(file.location, samples));
  TRY_VOID(hash_and_upload(context, file));
  return file.file.sha256;
}

std::string path_of(const std::string& function) { return "/api/functions/" + encode(function) + "/optimizations"; }

// Of that version; null: there is none.
Result<Json> find_one(const Context& context, const std::string& function, int version) {
  TRY(const Json told, context.client.get(path_of(function)));
  for (const Json& one : told.value("optimizations", Json::array()))
    if (one.value("version", 0) == version) return one;
  return Json();
}

Json order_of(const OptimizeOptions& options, const std::string& alias, int version, const std::string& samples) {
  Json order = {{"version", version}, {"recipe", options.recipes}, {"goal", options.goal}, {"compare", options.compare},
                {"accuracy_drop_max", options.accuracy_drop_max}, {"same_min", options.same_min}, {"time_max", options.time_max},
                {"alias", alias}, {"canary", options.canary}};
  if (!samples.empty()) {
    order["samples"] = samples;
    order["data"] = fs::path(options.data).filename().string() + ".npz";
  }
  return order;
}

// Until it has ended.
Result<Json> follow(const Context& context, const std::string& function, int version) {
  Progress progress(context.terminal, "optimize", os::monotonic_now());
  for (;;) {
    TRY(const Json one, find_one(context, function, version));
    const std::string state = one.is_object() ? one.value("state", "") : "";
    if (state.empty()) return fail(Code::not_found, "version " + std::to_string(version) + " of '" + function + "' was deleted meanwhile");
    if (state != "waiting" && state != "running") return one;
    progress.say(state == "waiting" ? "waits for its turn" : printable(one.value("line", "")), os::monotonic_now());
    pause(kLook);
  }
}

void tell(const Context& context, const std::string& function, const Json& found) {
  const auto report = report_from_json(found);
  if (report && !report->rows.empty()) print(table_of(*report, context.terminal) + remarks_of(*report, context.terminal));
  const int made = found.value("optimized", 0);
  const std::string which = made > 0 ? "version " + std::to_string(made) + " is the smaller one: " : "";
  print(function + ": " + which + printable(found.value("became", "")) +
        (made > 0 ? "; 'mayfly rollback " + function + "' goes back" : "") + "\n");
}

}  // namespace

Result<void> deploy_optimized(const Context& context, const DeployOptions& deploy, const OptimizeOptions& options) {
  TRY_VOID(check_optimize(options));
  TRY(const double share, share_of(options.canary, "--canary", 1));
  if (share <= 0) return fail(Code::invalid_argument, "--canary is above 0, like 10%");
  TRY(const Package package, package_of(deploy));
  TRY(const Json original, deploy_version(context, deploy));
  const std::string function = original.value("function", "");
  const int number = original.value("version", 0);
  const std::string named = original.value("manifest", Json::object()).value("model", "");
  const auto model = std::ranges::find(package.files, named, [](const PackageFile& file) { return file.file.path; });
  if (original.value("stage", "") == "failed" || model == package.files.end())
    return fail(Code::internal, "version " + std::to_string(number) + " of '" + function + "' failed: see 'mayfly logs " + function + "'");
  TRY(Json found, find_one(context, function, number));
  const std::string before = found.is_object() ? found.value("state", "") : "";
  const bool made = before == "done" && found.value("optimized", 0) > 0 && original.value("unchanged", false);
  if (!made && before != "waiting" && before != "running") {
    std::string samples;
    if (!options.data.empty()) {
      TRY(samples, send_samples(context, options, model->location));
    }
    TRY_VOID(context.client.json({.method = "POST", .path = path_of(function),
                                  .body = order_of(options, deploy.alias, number, samples).dump(),
                                  .headers = {"Content-Type: application/json"}}));
    TRY(found, find_one(context, function, number));
  }
  if (!context.json) std::fprintf(stderr, "%s: version %d serves\n", function.c_str(), number);
  if (options.wait) {
    TRY(found, follow(context, function, number));
  }
  if (context.json) {
    print_json({{"original", original}, {"optimization", found}});
  } else if (options.wait || made) {
    tell(context, function, found);
  } else {
    print(function + ": the node searches for a smaller one in the background: 'mayfly optimize history " + function +
          "' shows how far it is, 'mayfly optimize stop " + function + "' ends it\n");
  }
  if (options.wait && found.value("state", "") == "failed") return fail(Code::internal, found.value("became", ""));
  return {};
}

Result<void> optimize_stop(const Context& context, const StopOptions& options) {
  TRY(const Json told, context.client.get(path_of(options.function)));
  int version = options.version;
  for (const Json& one : told.value("optimizations", Json::array())) {
    const std::string state = one.value("state", "");
    if (version == 0 && (state == "waiting" || state == "running")) version = one.value("version", 0);
  }
  if (version == 0) return fail(Code::not_found, "no version of '" + options.function + "' is being optimised");
  TRY(const HttpReply reply, context.client.call({.method = "DELETE", .path = path_of(options.function) + "/" + std::to_string(version)}));
  TRY_VOID(check(reply));
  if (context.json) print_json({{"function", options.function}, {"version", version}, {"stopped", true}});
  else print(options.function + ": version " + std::to_string(version) + " is no longer optimised; it serves as it is\n");
  return {};
}

}  // namespace mayfly::app
