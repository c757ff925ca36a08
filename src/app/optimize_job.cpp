#include "app/optimize_job.h"

#include <algorithm>
#include <filesystem>

#include "app/optimize_find.h"
#include "domain/link.h"
#include "os/process.h"
#include "worker/model.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

std::string share_text(double share) { return form("%.9g", share); }

OptimizeOptions options_of(const domain::OptimizationOrder& order) {
  return {.recipes = order.recipes, .goal = order.goal, .compare = order.compare,
          .accuracy_drop_max = share_text(order.accuracy_drop_max), .same_min = share_text(order.same_min),
          .time_max = std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(order.time_max).count()) + "ms",
          .tells_lines = true};
}

std::string samples_file() {
  for (const char* ending : {".npz", ".npy", ".csv"})
    if (const std::string path = std::string(domain::kSamplesPlace) + ending; fs::exists(path)) return path;
  return "";
}

// Files beside the model that hold its weights, as the version has them.
Result<Json> weights_of(const std::string& model) {
  const std::string place = std::string(domain::kPackagePlace) + "/";
  TRY(const auto data, worker::map_model(model));
  Json weights = Json::array();
  for (const auto& file : data.files) {
    std::error_code error;
    const std::string path = (fs::path(model).parent_path() / file.path).lexically_normal().string();
    if (path.starts_with(place) && path != model && fs::exists(path, error)) weights.push_back(path.substr(place.size()));
  }
  return weights;
}

// One packet holds it: of long lists the first few, and what is longer even so without the lists.
std::string fit(Json report) {
  for (const std::size_t listed : {std::size_t{3}, std::size_t{0}}) {
    for (Json& row : report["candidates"])
      for (const char* list : {"left", "notes", "kept"})
        if (row[list].size() > listed) row[list].erase(row[list].begin() + static_cast<std::ptrdiff_t>(listed), row[list].end());
    if (report.dump().size() <= domain::kOptimizationTextMax) break;
  }
  return report.dump();
}

}  // namespace

Result<std::string> run_optimization(worker::Engine& engine, std::string_view text) {
  os::give_way();
  TRY(const domain::OptimizationJob job, domain::parse_optimization_job(text));
  OptimizeOptions options = options_of(job.order);
  options.model = std::string(domain::kPackagePlace) + "/" + job.model;
  options.output = std::string(domain::kOptimizePlace) + "/" + domain::kOptimizedFile;
  options.data = samples_file();
  options.keeps_room = domain::kOptimizePlace;
  const Context context{.client = Client(Address{}), .terminal = {}};
  TRY(OptimizeReport report, find_optimized(engine, context, options));
  report.model = job.model;
  report.output = "the best of them";
  if (!report.rows.empty() && !options.data.empty()) report.data = job.order.data.empty() ? "samples" : job.order.data;
  Json told = to_json(report);
  TRY(told["weights"], weights_of(options.model));
  return fit(std::move(told));
}

Result<void> check_optimization(const domain::OptimizationOrder& order) { return check_optimize(options_of(order)); }

}  // namespace mayfly::app
