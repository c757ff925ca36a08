// mayfly deploy --optimize: deploys the original, which serves at once; makes it smaller on this machine as `mayfly optimize` does; deploys
// what passed the gate as one more version beside it, and moves the alias once the node has it ready. Nothing passed: the alias stays.
#include "app/deploy_optimized.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "app/image.h"
#include "app/package.h"
#include "app/sam.h"
#include "domain/image_reference.h"
#include "domain/manifest.h"
#include "worker/model.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

// What the optimised version is packed in; gone with the command.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::error_code error;
    std::string name = (fs::temp_directory_path(error) / "mayfly-optimized-XXXXXX").string();
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

// The files beside the model go along, but not its weights: what was written holds them.
Result<void> pack(const Package& package, const PackageFile& model, const fs::path& folder) {
  TRY(const auto data, worker::map_model(model.location));
  const fs::path from = fs::path(model.file.path).parent_path();
  std::error_code error;
  for (const PackageFile& file : package.files) {
    const bool weights = std::ranges::any_of(data.files, [&](const auto& each) {
      return fs::equivalent(each.path, file.location, error) || (from / each.path).lexically_normal() == fs::path(file.file.path) ||
             fs::equivalent(fs::path(model.location).parent_path() / each.path, file.location, error);
    });
    if (weights || file.file.path == model.file.path) continue;
    fs::create_directories((folder / file.file.path).parent_path(), error);
    fs::copy_file(file.location, folder / file.file.path, error);
    if (error) return fail(Code::exhausted, "'" + file.location + "' can't be copied to " + folder.string() + ": " + error.message());
  }
  std::ofstream manifest(folder / "function.yaml");
  manifest << (package.manifest.empty() ? "model: " + Json(model.file.path).dump() + "\n" : package.manifest);
  manifest.close();
  if (!manifest) return fail(Code::exhausted, "the manifest can't be written to " + folder.string() + ": is the disk full?");
  return {};
}

// Somebody may have moved it meanwhile: then it is theirs.
Result<bool> names_only(const Context& context, const std::string& function, const std::string& alias, int version) {
  TRY(const Json view, context.client.get("/api/functions/" + encode(function)));
  for (const Json& each : view.value("aliases", Json::array()))
    if (each.value("name", "") == alias) {
      const Json weights = each.value("weights", Json::array());
      return weights.size() == 1 && weights[0].value("version", 0) == version;
    }
  return false;
}

// All calls, or `share` of them beside the original.
Result<void> move_alias(const Context& context, const std::string& function, const std::string& alias, int from, int to, double share) {
  Json body = Json::object();
  body["weights"] = Json::array();
  if (share < 1) body["weights"].push_back({{"version", from}, {"share", 1 - share}});
  body["weights"].push_back({{"version", to}, {"share", share}});
  TRY_VOID(context.client.json({.method = "PUT", .path = "/api/functions/" + encode(function) + "/aliases/" + encode(alias),
                                .body = body.dump(), .headers = {"Content-Type: application/json"}}));
  return {};
}

// What becomes of the calls, for people.
std::string became_of(const std::string& why, double share, const std::string& alias) {
  if (!why.empty()) return "the alias stays: " + why;
  return "alias '" + alias + "' gives it " + (share < 1 ? form("%g", 100 * share) + " % of the calls" : "all calls");
}

// Kept on the node with the version; of long lists the first few.
Result<void> keep_history(const Context& context, const Json& original, const OptimizeReport& report, const Json& version,
                          const std::string& became) {
  constexpr std::size_t kListed = 3;
  Json kept = to_json(report);
  for (Json& row : kept["candidates"])
    for (const char* list : {"left", "notes", "kept"})
      if (row[list].size() > kListed) row[list].erase(row[list].begin() + kListed, row[list].end());
  kept["optimized"] = version.is_object() ? version.value("version", 0) : 0;
  kept["became"] = became;
  const std::string path = "/api/functions/" + encode(original.value("function", "")) + "/optimizations/" +
                           std::to_string(original.value("version", 0));
  TRY(const HttpReply reply, context.client.call({.method = "PUT", .path = path, .body = kept.dump(),
                                                  .headers = {"Content-Type: application/json"}}));
  return check(reply);
}

void tell(const Context& context, const Json& original, const OptimizeReport& report, const Json& version, const std::string& why,
          double share) {
  if (context.json) {
    print_json({{"original", original}, {"optimize", to_json(report)}, {"optimized", version}, {"moved", why.empty()}, {"why", why}});
    return;
  }
  print(table_of(report, context.terminal) + remarks_of(report, context.terminal));
  const std::string name = original.value("function", "");
  if (!why.empty())
    print(name + ": the alias stays at version " + std::to_string(original.value("version", 0)) + ": " + printable(why) + "\n");
  else
    print(name + (share < 1 ? ": " + form("%g", 100 * share) + " % of the calls go to version " : ": the alias is at version ") +
          std::to_string(version.value("version", 0)) + ", " +
          to_text(Bytes{version.value("size", std::uint64_t{0})}) + " instead of " +
          to_text(Bytes{original.value("size", std::uint64_t{0})}) + "; 'mayfly rollback " + name + "' goes back" +
          (share < 1 ? ", 'mayfly alias' gives it more" : "") + "\n");
}

}  // namespace

Result<void> deploy_optimized(const Context& context, const DeployOptions& deploy, const OptimizeOptions& typed) {
  TRY_VOID(check_optimize(typed));
  TRY(const double share, share_of(typed.canary, "--canary", 1));
  if (share <= 0) return fail(Code::invalid_argument, "--canary is above 0, like 10%");
  TRY(const Package package, package_of(deploy));
  TRY(const Scratch scratch, Scratch::make());
  TRY(const Json original, deploy_version(context, deploy));
  const std::string function = original.value("function", "");
  const int number = original.value("version", 0);
  const std::string named = original.value("manifest", Json::object()).value("model", "");
  const auto model = std::ranges::find(package.files, named, [](const PackageFile& file) { return file.file.path; });
  if (original.value("stage", "") == "failed" || model == package.files.end())
    return fail(Code::internal, "version " + std::to_string(number) + " of '" + function + "' failed: see 'mayfly logs " + function + "'");
  if (!context.json) std::fprintf(stderr, "%s: version %d serves\n", function.c_str(), number);
  OptimizeOptions options = typed;
  options.model = model->location;
  options.output = (scratch.path() / named).string();
  std::error_code error;
  fs::create_directories(fs::path(options.output).parent_path(), error);
  TRY(const OptimizeReport report, find_optimized(context, options));
  const auto best = std::ranges::find_if(report.rows, &OptimizeRow::chosen);
  Json version;
  std::string why;
  if (best == report.rows.end()) why = "no candidate passed the gate";
  else if (best->changed == 0) why = "what the node serves already is the best of them";
  else {
    fs::remove(fs::path(options.output).replace_extension(".ort"), error);  // a node compiles for itself
    TRY_VOID(pack(package, *model, scratch.path()));
    DeployOptions next = deploy;
    next.path = scratch.path().string();
    next.name = function;
    next.overrides = {};
    next.no_alias = true;
    TRY(version, deploy_version(context, next));
    if (version.value("stage", "") == "failed") why = "the optimised version failed: see 'mayfly logs " + function + "'";
    else {
      TRY(const bool still, names_only(context, function, deploy.alias, number));
      if (!still) why = "the alias '" + deploy.alias + "' was moved meanwhile";
      else TRY_VOID(move_alias(context, function, deploy.alias, number, version.value("version", 0), share));
    }
  }
  const auto kept = keep_history(context, original, report, version, became_of(why, share, deploy.alias));
  tell(context, original, report, version, why, share);
  if (!kept) std::fprintf(stderr, "%s: the candidates are not kept on the node: %s\n", function.c_str(), kept.error().message.c_str());
  return {};
}

}  // namespace mayfly::app
