#include "worker/jobs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/assert.h"
#include "worker/compile.h"
#include "worker/inspect.h"
#include "worker/made_up.h"

namespace mayfly::worker {
namespace {

constexpr std::uint64_t kFormatMax = (1ULL << 31) - (64 << 20);

// The engine writes files that it refuses to read: its check of the flat format has limits that its writer doesn't know (a graph of
// 100,000 nodes is over them). Found here, the model serves as uploaded; found later, no call would be answered.
Result<void> check_compiled(Engine& engine, os::Mapping bytes) {
  ModelData data;
  data.files.push_back({"model.ort", std::move(bytes)});
  const auto loaded = Model::load(engine, std::move(data), {.compiled = true, .pack_weights = false});
  if (!loaded) return fail(Code::unimplemented, "the engine can't read what it compiled: " + loaded.error().message);
  return {};
}

}  // namespace

Result<domain::CheckResult> check_model(Engine& engine, ModelData data) {
  ASSERT(!data.files.empty(), "a check without a model");
  TRY(const Inspection seen, inspect_model(data.files[0].bytes.text()));
  for (const std::string& location : seen.external_data) {
    TRY(const std::string path, resolve_external(data.files[0].path, location));
    if (std::ranges::none_of(data.files, [&](const auto& f) { return f.path == path; }))
      return fail(Code::invalid_argument,
                  "the model's weights are in '" + path + "', which was not deployed with it: deploy the folder that holds both");
  }
  domain::CheckResult result{.template_allowed = !seen.draws_random};
  const std::uint64_t bytes = data.size();
  TRY(const auto model, Model::load(engine, std::move(data), {.pack_weights = false, .optimise = Optimise::nothing, .map_weights = true}));
  result.signature = model->signature();
  result.notes = model->notes();
  if (bytes > kFormatMax && !model->copied_because().empty())
    result.notes.push_back("its weights can't be used where they lie, and are copied into memory: " + model->copied_because());
  if (const auto size = find_size(*model); !size) {
    result.notes.push_back("made-up input did not run, so requests are not batched: " + size.error().message);
    result.signature.batches = false;
  } else if (result.signature.batches && !rows_are_independent(*model, *size)) {
    result.signature.batches = false;
    result.notes.push_back("a row's outputs depend on the rows that come with it, so requests are not batched");
  }
  if (seen.draws_random) result.notes.push_back("it draws random numbers: no template, since forks would draw the same");
  return result;
}

Result<void> compile_model(Engine& engine, const ModelData& data, int output, std::uint64_t size_max) {
  const std::uint64_t bytes = data.size();
  if (bytes > kFormatMax) return fail(Code::unimplemented, "a model of " + to_text(Bytes{bytes}) + " does not fit the flat format's 2 GiB");
  const std::string path = "/tmp/mayfly-compiled-" + std::to_string(::getpid()) + ".ort";
  TRY_VOID(save_compiled(engine, data, path));
  const os::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return fail(os::os_error("open", "the compiled model"));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size_max && size > size_max)
    return fail(Code::exhausted,
                "the compiled model has " + to_text(Bytes{size}) + ", more than the " + to_text(Bytes{size_max}) +
                    " that it may: it is served as uploaded");
  TRY(os::Mapping compiled, os::map_file(file.get(), size, os::Access::read));
  for (std::uint64_t at = 0; at < size;) {
    const ssize_t written = ::pwrite(output, compiled.data() + at, size - at, static_cast<off_t>(at));
    if (written <= 0) return fail(os::os_error("pwrite", "the compiled model"));
    at += static_cast<std::uint64_t>(written);
  }
  ::unlink(path.c_str());
  return check_compiled(engine, std::move(compiled));
}

}  // namespace mayfly::worker
