// What is done once at deploy, each in a sandbox of its own: is it a model (check), one flat file for
// this CPU (compile), how to run it best (tune).
#pragma once
#include <functional>
#include <string>

#include "base/result.h"
#include "domain/function.h"
#include "domain/job_results.h"
#include "worker/model.h"

namespace mayfly::worker {

// Loads it, describes it, and finds out by running it whether rows are independent.
[[nodiscard]] Result<domain::CheckResult> check_model(Engine& engine, ModelData data);

// Writes the flat file to `output`. Error unimplemented: the file would pass the format's 2 GiB; the model as uploaded serves.
[[nodiscard]] Result<void> compile_model(Engine& engine, const ModelData& data, int output, std::uint64_t size_max);

// Measures the flat file: packing, large pages, threads up to threads_max. Takes about two seconds at most for small
// models, four loads and a few runs for large ones. `load` maps the file anew.
using LoadData = std::function<Result<ModelData>()>;
[[nodiscard]] Result<domain::Tuning> tune_model(Engine& engine, const LoadData& load, int threads_max);

}  // namespace mayfly::worker
