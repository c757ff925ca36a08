#include "worker/detail/session.h"

#include <onnxruntime_session_options_config_keys.h>

#include <sys/mman.h>

#include <algorithm>

#include "worker/detail/explain.h"
#include "worker/external_data.h"
#include "worker/inspect.h"

namespace mayfly::worker {
namespace {

// Paths start at the model's own folder.
Result<const os::Mapping*> file_of(const ModelData& data, const std::string& location) {
  TRY(const std::string path, resolve_external(data.files[0].path, location));
  const auto file = std::ranges::find(data.files, path, &ModelData::File::path);
  if (file == data.files.end()) return fail(Code::invalid_argument, "the model's weights are in '" + path + "', which is not there");
  return &file->bytes;
}

// Copies, under the names that the model uses, whose paths start at its own folder.
Result<void> add_external_data(const OrtApi& api, const ModelData& data, OrtSessionOptions* options) {
  if (data.files.size() < 2) return {};
  TRY(const Inspection seen, inspect_model(data.files[0].bytes.text()));
  std::vector<const char*> names;
  std::vector<char*> buffers;
  std::vector<std::size_t> sizes;
  for (const std::string& location : seen.external_data) {
    TRY(const os::Mapping* const file, file_of(data, location));
    names.push_back(location.c_str());
    buffers.push_back(reinterpret_cast<char*>(file->data()));
    sizes.push_back(file->size());
  }
  if (!names.empty())
    ORT_TRY(api, AddExternalInitializersFromFilesInMemory(options, names.data(), buffers.data(), sizes.data(), names.size()));
  return {};
}

Result<Owned<OrtSessionOptions>> make_options(const OrtApi& api, const LoadOptions& load) {
  Owned<OrtSessionOptions> options(api.ReleaseSessionOptions);
  ORT_TRY(api, CreateSessionOptions(options.out()));
  ORT_TRY(api, SetIntraOpNumThreads(options.get(), load.threads));
  ORT_TRY(api, SetInterOpNumThreads(options.get(), 1));
  ORT_TRY(api, SetSessionExecutionMode(options.get(), ORT_SEQUENTIAL));
  // Shapes vary with the batch: a plan of memory for each would only grow.
  ORT_TRY(api, DisableMemPattern(options.get()));
  const auto configure = [&](const char* key, const char* value) { return api.AddSessionConfigEntry(options.get(), key, value); };
  const auto set = [&](const char* key, const char* value) -> Result<void> {
    if (OrtStatus* status = configure(key, value)) return fail(take_error(api, status));
    return {};
  };
  TRY_VOID(set(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0"));
  if (!load.pack_weights) TRY_VOID(set(kOrtSessionOptionsConfigDisablePrepacking, "1"));
  if (load.compiled) {
    TRY_VOID(set(kOrtSessionOptionsConfigLoadModelFormat, "ORT"));
    TRY_VOID(set(kOrtSessionOptionsConfigUseORTModelBytesDirectly, "1"));
    TRY_VOID(set(kOrtSessionOptionsConfigUseORTModelBytesForInitializers, "1"));
    ORT_TRY(api, SetSessionGraphOptimizationLevel(options.get(), ORT_DISABLE_ALL));
    return options;
  }
  TRY_VOID(set(kOrtSessionOptionsConfigLoadModelFormat, "ONNX"));
  ORT_TRY(api,
          SetSessionGraphOptimizationLevel(options.get(), load.optimise == Optimise::everything ? ORT_ENABLE_ALL : ORT_DISABLE_ALL));
  return options;
}

Result<Owned<OrtSession>> create(Engine& engine, std::string_view model, const OrtSessionOptions* options) {
  const OrtApi& api = engine.api();
  Owned<OrtSession> session(api.ReleaseSession);
  if (OrtStatus* status = api.CreateSessionFromArray(&engine.environment(), model.data(), model.size(), options, session.out()))
    return fail(explain_load_failure(take_error(api, status)));
  return session;
}

// A row alone, and not what the disk would read around it, which would push out what a process with little room has.
void read_singly(const os::Mapping& file, std::uint64_t offset, std::uint64_t size) {
  constexpr std::uint64_t kPage = 4096;
  const std::uint64_t begin = (offset + kPage - 1) / kPage * kPage, end = (offset + size) / kPage * kPage;
  if (end > begin) ::madvise(file.data() + begin, end - begin, MADV_RANDOM);
}

// With the weights where they are mapped. Nothing is optimised, which could make other weights of them: then all but what the model
// computes would be in memory again.
Result<Owned<OrtSession>> open_in_place(Engine& engine, const ModelData& data, const InPlace& in_place, const LoadOptions& load,
                                        const OrtMemoryInfo& memory, Values& weights) {
  const OrtApi& api = engine.api();
  LoadOptions plain = load;
  plain.optimise = Optimise::nothing;
  plain.pack_weights = false;
  TRY(const auto options, make_options(api, plain));
  std::uint64_t total = 0;
  for (std::size_t i = 1; i < data.files.size(); ++i) total += data.files[i].bytes.size();
  for (const ExternalTensor& tensor : in_place.tensors) {
    TRY(const os::Mapping* const file, file_of(data, tensor.location));
    if (tensor.offset > file->size() || tensor.size > file->size() - tensor.offset)
      return fail(Code::invalid_argument, "weights '" + tensor.name + "' end behind the file '" + tensor.location + "'");
    OrtValue* value = nullptr;
    ORT_TRY(api, CreateTensorWithDataAsOrtValue(&memory, file->data() + tensor.offset, tensor.size, tensor.shape.data(),
                                                tensor.shape.size(), static_cast<ONNXTensorElementDataType>(tensor.type), &value));
    weights.raw.push_back(value);
    if (tensor.looked_up && total > load.room) read_singly(*file, tensor.offset, tensor.size);
    ORT_TRY(api, AddInitializer(options.get(), tensor.name.c_str(), value));
  }
  return create(engine, in_place.model, options.get());
}

// The engine takes no copy of 2 GiB or more of one tensor.
bool has_too_large_to_copy(const InPlace& in_place) {
  return std::ranges::any_of(in_place.tensors, [](const ExternalTensor& tensor) { return tensor.size >= 1ULL << 31; });
}

}  // namespace

Result<Opened> open_session(Engine& engine, const ModelData& data, const LoadOptions& load, const OrtMemoryInfo& memory, Values& weights) {
  Opened opened;
  const bool may = !load.compiled && data.files.size() > 1;
  const auto seen = may ? inspect_model(data.files[0].bytes.text()) : Inspection{};
  if (seen && seen->external_tensors > 0) {
    const auto in_place = weights_in_place(data.files[0].bytes.text(), seen->external_tensors);
    if (!in_place) opened.copied = in_place.error().message;
    if (in_place && (load.map_weights || has_too_large_to_copy(*in_place))) {
      auto session = open_in_place(engine, data, *in_place, load, memory, weights);
      if (session) return Opened{.session = std::move(*session), .copied = {}};
      opened.copied = session.error().message;
      weights.release();
      weights.raw.clear();
    }
  }
  TRY(const auto options, make_options(engine.api(), load));
  if (!load.compiled) TRY_VOID(add_external_data(engine.api(), data, options.get()));
  TRY(opened.session, create(engine, data.files[0].bytes.text(), options.get()));
  return opened;
}

Result<void> write_flat(Engine& engine, const ModelData& data, const std::string& path, StoredWeights stored) {
  const OrtApi& api = engine.api();
  TRY(const auto options, make_options(api, {.pack_weights = false}));
  ORT_TRY(api, AddSessionConfigEntry(options.get(), kOrtSessionOptionsConfigSaveModelFormat, "ORT"));
  // With the engine's pairs of 8 bits off, it folds what turns constants back, as it does other constants.
  if (stored == StoredWeights::become_floats) ORT_TRY(api, AddSessionConfigEntry(options.get(), kOrtSessionOptionsDisableQuantQDQ, "1"));
  ORT_TRY(api, SetOptimizedModelFilePath(options.get(), path.c_str()));
  TRY_VOID(add_external_data(api, data, options.get()));
  TRY(const auto session, create(engine, data.files[0].bytes.text(), options.get()));  // which writes it; the session itself is not needed
  return {};
}

}  // namespace mayfly::worker
