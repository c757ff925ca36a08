#include "worker/compile.h"

#include <unistd.h>

#include <algorithm>

#include "base/units.h"
#include "worker/detail/session.h"
#include "worker/inspect.h"
#include "worker/made_up.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;

// Its floats and what the engine copies of them while it compiles fit what a node's job may take (control/plan.cpp).
constexpr std::uint64_t kFloatsMax = 64 << 20;
constexpr Duration kRunsTime = 100ms;
constexpr int kRounds = 2;

bool only_stores_bits(const ModelData& data) {
  const auto seen = data.size() <= kFloatsMax ? inspect_model(data.files[0].bytes.text()) : Inspection{};
  return seen && seen->stores_bits;
}

Result<std::unique_ptr<Model>> load_flat(Engine& engine, const std::string& path) {
  ModelData data;
  TRY(ModelData::File flat, map_model_file(path, "model.ort"));
  data.files.push_back(std::move(flat));
  return Model::load(engine, std::move(data), {.compiled = true});
}

// In turns, so that what else the machine does meets both.
Result<bool> floats_are_quicker(Engine& engine, const std::string& stored, const std::string& floats) {
  TRY(const auto one, load_flat(engine, stored));
  TRY(const auto other, load_flat(engine, floats));
  TRY(const std::int64_t size, find_size(*one));
  TRY(const MadeUpInput input, MadeUpInput::make(one->signature(), 0, 1, size));
  Duration least_stored = Duration::max(), least_floats = Duration::max();
  for (int round = 0; round < kRounds; ++round) {
    least_stored = std::min(least_stored, least_run(*one, input, kRunsTime));
    least_floats = std::min(least_floats, least_run(*other, input, kRunsTime));
  }
  return least_floats > Duration{} && least_floats < least_stored / 4 * 3;
}

}  // namespace

Result<void> save_compiled(Engine& engine, const ModelData& data, const std::string& path) {
  if (data.files.empty() || data.files[0].bytes.size() == 0) return fail(Code::invalid_argument, "the model's file is empty");
  TRY_VOID(write_flat(engine, data, path, StoredWeights::stay));
  if (!only_stores_bits(data)) return {};
  const std::string floats = path + ".floats";
  const auto written = write_flat(engine, data, floats, StoredWeights::become_floats);
  const auto quicker = written ? floats_are_quicker(engine, path, floats) : Result<bool>(false);  // no room for both: the small one will do
  if (quicker && *quicker && ::rename(floats.c_str(), path.c_str()) == 0) return {};
  ::unlink(floats.c_str());
  return {};
}

}  // namespace mayfly::worker
