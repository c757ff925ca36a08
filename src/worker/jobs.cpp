#include "worker/jobs.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <new>

#include "os/clock.h"
#include "worker/inspect.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;
using domain::Tuning;

// True if two rows give twice what one gives, row by row in shape: then requests may share a run.
bool rows_are_independent(Model& model) {
  for (const std::int64_t rows : {2, 3}) {
    if (!warm_up(model, rows)) return false;
    for (const std::int64_t size : {8, 32, 224, 320, 1}) {
      const MadeUpInput input(model.signature(), rows, size);
      const auto outputs = model.run(input.tensors());
      if (!outputs) continue;
      for (const TensorView& output : *outputs)
        if (output.shape.empty() || output.shape[0] != rows) return false;
      break;
    }
  }
  return true;
}

struct Measured {
  Duration first{Duration::max()};       // map, load, first run
  Duration steady{Duration::max()};
};

Duration timed(const std::function<bool()>& work) {
  const Instant begun = os::monotonic_now();
  return work() ? os::monotonic_now() - begun : Duration::max();
}

Duration steady_run(Model& model, Duration budget) {
  Duration best = Duration::max();
  const Instant end = os::monotonic_now() + budget;
  for (int i = 0; i < 200 && (i < 3 || os::monotonic_now() < end); ++i) best = std::min(best, timed([&] { return warm_up(model).has_value(); }));
  return best;
}

Result<std::unique_ptr<Model>> load_as(Engine& engine, const LoadData& load, bool pack, int threads) {
  TRY(ModelData data, load());
  return Model::load(engine, std::move(data), {.compiled = true, .pack_weights = pack, .threads = threads});
}

Result<Measured> measure(Engine& engine, const LoadData& load, bool pack, int threads) {
  Measured best;
  for (int round = 0; round < 2; ++round) {  // the first also warms the page cache
    const Instant begun = os::monotonic_now();
    TRY(const auto model, load_as(engine, load, pack, threads));
    TRY_VOID(warm_up(*model));
    best.first = std::min(best.first, os::monotonic_now() - begun);
    if (round == 1) best.steady = steady_run(*model, 200ms);
  }
  return best;
}

// Forks as a template does and times the child's first run; zero where that is not possible.
Duration fork_to_first_run(Model& model) {
  struct Shared { std::atomic<std::int64_t> took{-1}; };
  void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return {};
  Shared& shared = *new (at) Shared();
  Duration best{};
  for (int round = 0; round < 3; ++round) {
    shared.took = -1;
    const Instant begun = os::monotonic_now();
    const int child = ::fork();
    if (child == 0) {
      const bool ran = warm_up(model).has_value();
      shared.took = ran ? (os::monotonic_now() - begun).count() : 0;
      ::_exit(0);
    }
    if (child < 0) break;
    while (shared.took < 0 && os::monotonic_now() - begun < 20s) ::sched_yield();
    const Duration took(std::max<std::int64_t>(0, shared.took));
    if (took > Duration{} && (best == Duration{} || took < best)) best = took;
  }
  ::munmap(at, 4096);
  return best;
}

}  // namespace

Result<domain::CheckResult> check_model(Engine& engine, ModelData data) {
  TRY(const Inspection seen, inspect_model(data.files[0].bytes.text()));
  for (const std::string& path : seen.external_data)
    if (std::ranges::none_of(data.files, [&](const auto& f) { return f.path == path; }))
      return fail(Code::invalid_argument, "the model's weights are in '" + path + "', which was not deployed with it: deploy the folder that holds both");
  domain::CheckResult result{.template_allowed = !seen.draws_random};
  TRY(const auto model, Model::load(engine, std::move(data), {.pack_weights = false, .optimise = false}));
  result.signature = model->signature();
  if (const auto ran = warm_up(*model); !ran) {
    result.notes.push_back("made-up input did not run: " + ran.error().message);
    result.signature.batches = false;
  } else if (result.signature.batches) {
    result.signature.batches = rows_are_independent(*model);
  }
  if (seen.draws_random) result.notes.push_back("it draws random numbers: no template, since forks would draw the same");
  return result;
}

Result<void> compile_model(Engine& engine, ModelData data, int output, std::uint64_t size_max) {
  std::uint64_t bytes = 0;
  for (const auto& file : data.files) bytes += file.bytes.size();
  constexpr std::uint64_t kFormatMax = (1ULL << 31) - (64 << 20);
  if (bytes > kFormatMax) return fail(Code::unimplemented, "a model of " + to_text(Bytes{bytes}) + " does not fit the flat format's 2 GiB");
  const std::string path = "/tmp/compiled.ort";
  {
    // Written while the session is made; the session itself is not needed.
    TRY(const auto model, Model::load(engine, std::move(data), {.save_compiled_to = path}));
  }
  const os::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return fail(os::os_error("open", "the compiled model"));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size_max && size > size_max) return fail(Code::exhausted, "the compiled model has " + to_text(Bytes{size}) + ", more than the " + to_text(Bytes{size_max}) + " that it may");
  TRY(const os::Mapping compiled, os::map_file(file.get(), size, os::Access::read));
  for (std::uint64_t at = 0; at < size;) {
    const ssize_t written = ::pwrite(output, compiled.data() + at, size - at, static_cast<off_t>(at));
    if (written <= 0) return fail(os::os_error("pwrite", "the compiled model"));
    at += static_cast<std::uint64_t>(written);
  }
  ::unlink(path.c_str());
  return {};
}

Result<Tuning> tune_model(Engine& engine, const LoadData& load, int threads_max) {
  TRY(const Measured plain, measure(engine, load, false, 1));
  TRY(const Measured packed, measure(engine, load, true, 1));
  const auto count = [](Duration d) { return static_cast<std::uint64_t>(d.count()); };
  Tuning tuning;
  // A template packs once for all its forks: any gain in a run is worth it; 3 % is noise.
  tuning.pack_weights = packed.steady.count() * 100 < plain.steady.count() * 97;
  // A cold start packs for itself alone: only where that already pays in its first answer.
  tuning.pack_cold = packed.first < plain.first && tuning.pack_weights;
  tuning.cold_first_ns = count(tuning.pack_cold ? packed.first : plain.first);
  tuning.warm_run_ns = count(tuning.pack_weights ? packed.steady : plain.steady);
  Duration best_fork{};
  for (const bool large : {true, false}) {
    ::prctl(PR_SET_THP_DISABLE, large ? 0 : 1, 0, 0, 0);
    TRY(const auto model, load_as(engine, load, tuning.pack_weights, 1));
    TRY_VOID(warm_up(*model));
    const Duration took = fork_to_first_run(*model);
    if (took == Duration{}) continue;
    if (best_fork == Duration{} || took.count() * 100 < best_fork.count() * 97) {
      best_fork = took;
      tuning.large_pages = large;
    }
  }
  tuning.fork_first_ns = count(best_fork);
  ::prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
  // Threads cost the template and share the cores with other instances: only for a real gain.
  if (threads_max > 1) {
    TRY(const Measured threaded, measure(engine, load, true, threads_max));
    if (threaded.steady.count() * 16 < static_cast<Duration::rep>(tuning.warm_run_ns) * 10) {
      tuning.threads = threads_max;
      tuning.template_allowed = false;
      tuning.warm_run_ns = count(threaded.steady);
      tuning.pack_cold = true;
      tuning.cold_first_ns = count(threaded.first);
    }
  }
  return tuning;
}

}  // namespace mayfly::worker
