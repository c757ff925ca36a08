// tune_model(): every measurement runs in a fork of its own, with a heap that no other has touched, as an instance would.
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <optional>

#include "os/clock.h"
#include "worker/jobs.h"
#include "worker/made_up.h"
#include "worker/touch_watch.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;
using domain::Tuning;

constexpr Duration kSteadyBudget = 150ms;
constexpr Duration kFinishMax = 2min;             // of one measurement; the node ends the whole job after ten
constexpr int kForks = 3;
constexpr std::uint64_t kPage = 4096;

// What a measuring process writes for its parent. Zero: not measured.
struct Measured {
  bool done = false;
  bool draws_random = false;
  Duration first{};            // map, load, first run
  Duration steady{};           // one run of one row
  Duration fork_first{};       // fork, first run
  std::uint64_t private_bytes = 0;
  std::uint64_t own_bytes = 0;       // allocated since before the load
  Code code = Code::internal;  // why it isn't done
  std::array<char, 256> reason{};

  void give_up(const Error& error) {
    code = error.code;
    std::strncpy(reason.data(), error.message.c_str(), reason.size() - 1);
  }
};

// Runs `work` in a fork, which writes its result to memory that both share. The filter of jobs has no wait(): a pidfd tells the end.
template <class Work>
Result<Measured> in_a_fork(const Work& work) {
  void* room = ::mmap(nullptr, sizeof(Measured), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return fail(os::os_error("mmap"));
  const os::Mapping owner(room, sizeof(Measured));
  Measured& shared = *new (room) Measured();
  int pidfd = -1;
  const auto child = static_cast<int>(::syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, nullptr, &pidfd, nullptr, nullptr));
  if (child < 0) return fail(os::os_error("clone"));
  if (child == 0) {
    try {
      work(shared);
    } catch (const std::exception& error) {
      shared.give_up({Code::exhausted, error.what()});
    }
    ::_exit(0);
  }
  const os::Fd ended(pidfd);
  pollfd wait{.fd = ended.get(), .events = POLLIN, .revents = 0};
  ::poll(&wait, 1, static_cast<int>(to_ms(kFinishMax)));
  if (shared.done) return shared;
  if (shared.reason[0] != 0) return fail(shared.code, shared.reason.data());
  return fail(Code::internal, "a process that measured the model ended or hung without a result; was it out of memory?");
}

struct Config {
  bool pack = false;
  int threads = 1;
  bool large_pages = true;
};

struct Loaded {
  std::unique_ptr<Model> model;
  std::span<const std::byte> file;
  std::int64_t size = 0;       // of free dimensions
};

Result<Loaded> load_and_run(Engine& engine, const LoadData& load, const Config& config) {
  ::prctl(PR_SET_THP_DISABLE, config.large_pages ? 0 : 1, 0, 0, 0);
  Loaded loaded;
  TRY(ModelData data, load());
  loaded.file = {data.files[0].bytes.data(), data.files[0].bytes.size()};
  TRY(loaded.model, Model::load(engine, std::move(data), {.compiled = true, .pack_weights = config.pack, .threads = config.threads}));
  TRY(loaded.size, find_size(*loaded.model));
  return loaded;
}

std::vector<std::byte> run_to_bytes(Model& model, const MadeUpInput& input) {
  std::vector<std::byte> bytes;
  if (const auto outputs = model.run(input.tensors()))
    for (const TensorView& output : *outputs) bytes.insert(bytes.end(), output.data.begin(), output.data.end());
  return bytes;
}

void measure_steady(Loaded& loaded, Measured& into) {
  const auto input = MadeUpInput::make(loaded.model->signature(), 0, 1, loaded.size);
  if (!input) return;
  into.draws_random = run_to_bytes(*loaded.model, *input) != run_to_bytes(*loaded.model, *input);
  into.steady = least_run(*loaded.model, *input, kSteadyBudget);
}

// What the allocator has handed out: the heap and what it mapped. The engine takes all its memory from it.
std::uint64_t allocated() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

// Twice: the first also brings the file into the page cache.
Result<Measured> measure_load(Engine& engine, const LoadData& load, const Config& config) {
  std::optional<Measured> best;
  for (int round = 0; round < 2; ++round) {
    TRY(const Measured measured, in_a_fork([&](Measured& into) {
      const std::uint64_t before = allocated();
      const Instant begun = os::monotonic_now();
      auto loaded = load_and_run(engine, load, config);
      if (!loaded) return into.give_up(loaded.error());
      into.first = os::monotonic_now() - begun;
      into.own_bytes = std::max(allocated(), before) - before;
      if (round == 1) measure_steady(*loaded, into);
      into.done = true;
    }));
    const Duration first = best ? std::min(best->first, measured.first) : measured.first;
    best = measured;
    best->first = first;
  }
  return *best;
}

struct Faults {
  long count = 0, resident = 0;
};
Faults faults_now() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return {usage.ru_minflt, usage.ru_maxrss};
}

// An upper bound of what a fork's run made private, from the kernel's counters: there is no /proc to read it from. Pages of the model
// are mapped before, so that what faults is copied or new; new large pages count by the growth of the resident set.
std::uint64_t private_bytes(Model& model, const MadeUpInput& input, std::span<const std::byte> file) {
  ::madvise(const_cast<std::byte*>(file.data()), file.size(), MADV_POPULATE_READ);
  const Faults before = faults_now();
  if (!model.run(input.tensors())) return 0;
  const Faults after = faults_now();
  return std::max(static_cast<std::uint64_t>(after.count - before.count) * kPage,
                  static_cast<std::uint64_t>(after.resident - before.resident) * 1024);
}

// As a template does: load, run once, give back what is free, fork.
Result<Measured> measure_forks(Engine& engine, const LoadData& load, const Config& config) {
  return in_a_fork([&](Measured& into) {
    auto loaded = load_and_run(engine, load, config);
    if (!loaded) return into.give_up(loaded.error());
    const auto input = MadeUpInput::make(loaded->model->signature(), 0, 1, loaded->size);
    if (!input) return into.give_up(input.error());
    ::malloc_trim(0);
    for (int i = 0; i <= kForks; ++i) {
      const bool last = i == kForks;  // measures memory, which takes time
      const Instant begun = os::monotonic_now();
      const auto forked = in_a_fork([&](Measured& child) {
        if (last) child.private_bytes = private_bytes(*loaded->model, *input, loaded->file);
        else if (!loaded->model->run(input->tensors())) return;
        child.fork_first = os::monotonic_now() - begun;
        child.done = true;
      });
      if (!forked) return into.give_up(forked.error());
      if (last) into.private_bytes = forked->private_bytes;
      else if (into.fork_first == Duration{} || forked->fork_first < into.fork_first) into.fork_first = forked->fork_first;
    }
    into.done = true;
  });
}

// The operators' names stand in the flat file as they are. A tensor named like one only costs the template.
Result<bool> names_a_draw(const LoadData& load) {
  TRY(const ModelData data, load());
  const os::Mapping& file = data.files[0].bytes;
  constexpr std::array<std::string_view, 4> kNames = {"RandomNormal", "RandomUniform", "Multinomial", "Bernoulli"};
  return std::ranges::any_of(
      kNames, [&](std::string_view name) { return ::memmem(file.data(), file.size(), name.data(), name.size()) != nullptr; });
}

// What a cold start touches of the file, from its load to its first answer; "" where that can't be told.
std::string record_working_set(Engine& engine, const LoadData& load) {
  const auto sized = load();
  if (!sized) return {};
  auto watch = TouchWatch::make(sized->files[0].bytes.size());
  if (!watch) return {};
  const auto done = in_a_fork([&](Measured& into) {
    ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    auto data = load();
    if (!data) return into.give_up(data.error());
    if (const auto watched = watch->watch(data->files[0].bytes); !watched) return into.give_up(watched.error());
    const auto model = Model::load(engine, std::move(*data), {.compiled = true, .pack_weights = false});
    if (!model) return into.give_up(model.error());
    if (const auto size = find_size(**model); !size) return into.give_up(size.error());
    into.done = true;
  });
  return done ? domain::to_text(watch->touched()) : std::string();
}

// True where `a` is more than 3 % less: below that it is noise.
bool clearly_less(Duration a, Duration b) { return a.count() * 100 < b.count() * 97; }
std::uint64_t count(Duration d) { return static_cast<std::uint64_t>(d.count()); }

}  // namespace

Result<Tuning> tune_model(Engine& engine, const LoadData& load, int threads_max) {
  TRY(const Measured plain, measure_load(engine, load, {.pack = false}));
  TRY(const Measured packed, measure_load(engine, load, {.pack = true}));
  Tuning tuning;
  // A template packs once for all its forks: any gain in a run is worth it.
  tuning.pack_weights = clearly_less(packed.steady, plain.steady);
  // A cold start packs for itself alone: only where that already pays in its first answer.
  tuning.pack_cold = tuning.pack_weights && clearly_less(packed.first, plain.first);
  tuning.cold_first_ns = count(tuning.pack_cold ? packed.first : plain.first);
  tuning.warm_run_ns = count(tuning.pack_weights ? packed.steady : plain.steady);
  tuning.own_bytes = plain.own_bytes;
  tuning.own_packed_bytes = packed.own_bytes;
  tuning.working_set = record_working_set(engine, load);
  // What differs from run to run would not differ from fork to fork; a draw in a branch that made-up input does not take counts too.
  TRY(const bool draws, names_a_draw(load));
  tuning.template_allowed = !draws && !plain.draws_random && !packed.draws_random;
  const auto large = measure_forks(engine, load, {.pack = tuning.pack_weights, .large_pages = true});
  const auto small = measure_forks(engine, load, {.pack = tuning.pack_weights, .large_pages = false});
  if (large && small) {
    // Large pages make forks fast and copies coarse: small ones win by time, or where time is equal by half the memory.
    const bool smaller = small->private_bytes * 2 < large->private_bytes && !clearly_less(large->fork_first, small->fork_first);
    tuning.large_pages = !clearly_less(small->fork_first, large->fork_first) && !smaller;
    const Measured& chosen = tuning.large_pages ? *large : *small;
    tuning.fork_first_ns = count(chosen.fork_first);
    tuning.private_bytes = chosen.private_bytes;
  }
  // Threads cost the template and share the cores with other instances: only for a gain of 1.6.
  if (threads_max > 1) {
    const auto threaded = measure_load(engine, load, {.pack = true, .threads = threads_max});
    if (threaded && threaded->steady.count() * 16 < static_cast<Duration::rep>(tuning.warm_run_ns) * 10) {
      tuning.threads = threads_max;
      tuning.template_allowed = false;
      tuning.pack_cold = true;
      tuning.warm_run_ns = count(threaded->steady);
      tuning.cold_first_ns = count(threaded->first);
    }
  }
  return tuning;
}

}  // namespace mayfly::worker
