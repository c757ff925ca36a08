#include "worker/compile.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/units.h"
#include "optimize/model.h"
#include "worker/calibrate.h"
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

// A file of its own that goes with this object, or before.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The model with the shapes of its sums' summands stated; nullopt where that would change nothing, or where it does not run so.
std::optional<ModelData> with_shapes(Engine& engine, const ModelData& data, const Inspection& seen, const std::string& scratch) {
  if (!seen.normalises || data.files.size() != 1 || data.size() > optimize::kInlineBytesMax) return std::nullopt;
  const Temporary file(scratch);
  {
    auto model = optimize::Model::parse(data.files[0].bytes.text());
    const auto runs = model ? observe_shapes(engine, *model, file.path()) : Result<std::vector<optimize::ShapesSeen>>();
    if (!runs || optimize::state_shapes(*model, *runs) == 0 || !model->write(file.path())) return std::nullopt;
  }
  auto mapped = map_model_file(file.path(), data.files[0].path);
  if (!mapped) return std::nullopt;
  ModelData stated;
  stated.files.push_back(std::move(*mapped));
  return stated;
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
  const Inspection seen = inspect_model(data.files[0].bytes.text()).value_or(Inspection{});  // the engine says what is wrong with it
  auto stated = with_shapes(engine, data, seen, path + ".shapes");
  if (stated && !write_flat(engine, *stated, path, StoredWeights::stay)) stated.reset();
  if (!stated) TRY_VOID(write_flat(engine, data, path, StoredWeights::stay));
  if (!seen.stores_bits || data.size() > kFloatsMax) return {};
  const Temporary floats(path + ".floats");
  const auto written = write_flat(engine, stated ? *stated : data, floats.path(), StoredWeights::become_floats);
  const auto quicker = written ? floats_are_quicker(engine, path, floats.path()) : Result<bool>(false);  // no room for both: the small one
  if (quicker && *quicker) ::rename(floats.path().c_str(), path.c_str());
  return {};
}

}  // namespace mayfly::worker
