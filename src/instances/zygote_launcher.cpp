#include "instances/zygote_launcher.h"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.h"
#include "domain/working_set.h"
#include "instances/detail/prepare.h"
#include "os/disk.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

constexpr Duration kStatusWait = 100ms;           // from a closed control socket to the exit status
constexpr int kAttemptsMax = 3;                   // of a start, where zygotes die under it
constexpr int kForksAtOnce = 256;                 // of a template: children that are not in their own groups yet
constexpr int kThreadsBeyond = 8;                 // of the engine's threads
constexpr int kProcessesOfCode = 1024;            // and threads, of a user's program and its host

// Weights go to the one heap that grows in large pages, up to the allocator's limit of 32 MiB each, rather than to mappings of their own,
// whose ends don't fall on large pages. A fork copies the page table: MiniLM's template had 8,700 small pages and has 2,200.
constexpr const char* kMalloc =
    "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=33554432";

ZygoteLink::Spawn default_spawn(const ZygoteLauncherOptions& options) {
  return [command = os::Command{.program = options.program, .arguments = {"zygote", options.engine_library},
                                .environment = {kMalloc, "ORT_DISABLE_TELEMETRY=1"}}](os::Fd socket) {
    return os::spawn(command, socket);
  };
}

struct Opened {
  std::vector<os::Fd> owned;
  std::vector<int> descriptors;
  std::uint64_t bytes = 0;
};

Result<Opened> open_files(const StartOrder& order) {
  if (order.files.empty() && order.role != domain::Role::probe) return fail(Code::invalid_argument, "a start without a model file");
  if (order.files.size() > domain::kFilesMax)
    return fail(Code::invalid_argument,
                std::to_string(order.files.size()) + " model files; at most " + std::to_string(domain::kFilesMax) + " are allowed");
  Opened opened;
  for (const ModelFile& file : order.files) {
    if (file.path.size() >= domain::kPathMax) return fail(Code::invalid_argument, "the path of a model file is too long: " + file.path);
    os::Fd fd(::open(file.location.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail(os::os_error("open", file.location));
    opened.bytes += file.size.count;
    opened.descriptors.push_back(fd.get());
    opened.owned.push_back(std::move(fd));
  }
  if (!order.output.empty()) {
    os::Fd fd(::open(order.output.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return fail(os::os_error("open", order.output));
    opened.descriptors.push_back(fd.get());
    opened.owned.push_back(std::move(fd));
  }
  return opened;
}

// Behind its head and the files' entries: the text of the role, which is the labels or a CodeOrder.
std::string load_message(const StartOrder& order, std::uint64_t bytes, bool memory_by_rlimit) {
  // As uploaded its room may be for copies of what it maps.
  const std::uint64_t copies = order.compiled ? 0 : std::max(order.memory_beside.count, bytes) - bytes;
  domain::LoadOrder load{.role = order.role, .files = static_cast<std::uint32_t>(order.files.size()),
                         .compiled = order.compiled, .pack_weights = order.pack_weights, .large_pages = order.large_pages,
                         .threads = static_cast<std::uint8_t>(std::clamp(order.threads, 1, 64)), .batches = order.batches,
                         .rows_max = static_cast<std::uint32_t>(std::max(order.rows_max, 1)),
                         .version_number = static_cast<std::uint32_t>(order.version_number),
                         .batch_wait_ns = static_cast<std::uint64_t>(order.batch_wait.count()),
                         .memory_max = memory_by_rlimit ? order.memory_max.count + copies : 0,
                         .output_size_max = order.output.empty() ? 0 : 4 * bytes + (64ULL << 20)};
  order.model_name.copy(load.model_name, sizeof load.model_name - 1);
  std::string message(sizeof load + order.files.size() * sizeof(domain::FileEntry), '\0');
  std::memcpy(message.data(), &load, sizeof load);
  for (std::size_t i = 0; i < order.files.size(); ++i) {
    domain::FileEntry entry{.size = order.files[i].size.count};
    order.files[i].path.copy(entry.path, sizeof entry.path - 1);
    std::memcpy(message.data() + sizeof load + i * sizeof entry, &entry, sizeof entry);
  }
  std::string labels;
  for (const std::string& label : order.labels) {
    labels += label;
    std::replace(labels.end() - static_cast<std::ptrdiff_t>(label.size()), labels.end(), '\n', ' ');  // the separator
    labels += '\n';
  }
  if (labels.size() > domain::kLabelsMax) labels.clear();
  load.labels_size = static_cast<std::uint32_t>(labels.size());
  if (order.working_set.size() <= domain::kWorkingSetTextMax) {
    labels += order.working_set;
    load.working_set_size = static_cast<std::uint32_t>(order.working_set.size());
    load.prefetch_max = order.memory_beside.count;
  }
  std::memcpy(message.data(), &load, sizeof load);
  return message + labels;
}

}  // namespace

ZygoteLauncher::ZygoteLauncher(os::Loop& loop, LauncherEvents& events, ZygoteLauncherOptions options)
    : loop_(loop), events_(events), options_(std::move(options)),
      cgroups_(options_.cgroups ? os::Cgroups::open() : os::Cgroups::none()),
      zygote_(loop, *this, options_.spawn ? options_.spawn : default_spawn(options_)) {
  zygote_.start();
  refill_ = loop_.after({}, [this] { refill(); });
}

ZygoteLauncher::~ZygoteLauncher() {
  for (const os::Loop::TimerId timer : {refill_, failing_, burying_, sparing_}) loop_.cancel(timer);
  for (const auto& [link, process] : processes_) {
    loop_.cancel(process->deadline);
    loop_.cancel(process->closing);
  }
  for (const auto& [number, sandbox] : sandboxes_) {
    if (sandbox->status) loop_.unwatch(sandbox->status.get());
    os::signal_process(sandbox->init_pidfd, SIGKILL);
  }
}

ZygoteLauncher::Process* ZygoteLauncher::find(ProcessId id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

ZygoteLauncher::Process& ZygoteLauncher::of(ProcessLink& link) {
  const auto found = processes_.find(&link);
  ASSERT(found != processes_.end(), "a link without a process");
  return *found->second;
}

int ZygoteLauncher::pid_of(ProcessId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? 0 : found->second->pid;
}

// ---- the launcher's calls

void ZygoteLauncher::start(ProcessId id, const StartOrder& order) { start(id, order, 0); }

// Not from the pool: the sandbox is made for this code.
Result<ZygoteLauncher::Process*> ZygoteLauncher::make_code(const StartOrder& order) {
  TRY_VOID(domain::check_network(order.network, network_rules()));  // a version may be older than the node's configuration
  ModelDoor door;
  if (!order.models.empty() && options_.open_models) {
    TRY(door, options_.open_models(order));
  }
  TRY(const Prepared prepared, prepare(order, door.path, options_.debug));
  const domain::LoadOrder load{.role = order.role, .version_number = static_cast<std::uint32_t>(order.version_number),
                               .output_size_max = prepared.output_max,
                               .labels_size = static_cast<std::uint32_t>(prepared.order.size())};
  std::string message(sizeof load, '\0');
  std::memcpy(message.data(), &load, sizeof load);
  message += prepared.order;
  TRY(Process * process, order_sandbox({.memory_max = cgroups_->works() ? 0 : order.memory_max.count,
                                        .machine_network = prepared.machine_network}, prepared.binds));
  if (const auto opened = open_outbound(*process, order.network.outbound); !opened) {
    end(*process, "its way out could not be opened: " + opened.error().message);
    return fail(opened.error());
  }
  process->sandbox->models = std::move(door.held);
  process->held_order = std::move(message);
  process->limits = {.memory_max = order.memory_max, .cpu = order.cpu, .processes_max = kProcessesOfCode};
  return process;
}

void ZygoteLauncher::start_code(ProcessId id, const StartOrder& order, int attempts) {
  if (options_.debug && order.role == domain::Role::code_template)
    return fail_later(id, {Code::unimplemented, "a debugger is for one process, and not for forks of it"});
  Process* process = order.ahead ? take_ahead(order) : nullptr;
  if (!process) {
    const auto made = make_code(order);
    if (!made) return fail_later(id, made.error());
    process = *made;
  }
  if (order.ahead) process->next = std::make_unique<StartOrder>(order);
  adopt(*process, id, order, attempts);
  if (process->placed) tell_held_order(*process);
}

// A process that has its order, or will get it, is the start's from now on.
void ZygoteLauncher::adopt(Process& process, ProcessId id, const StartOrder& order, int attempts) {
  process.id = id;
  by_id_[id] = &process;
  process.role = order.role;
  process.memory_max = order.memory_max;
  for (const ModelFile& file : order.files) process.mapped.count += domain::is_of_model(order.role) ? file.size.count : 0;
  process.compiled = order.compiled;
  process.attempts = attempts;
  process.link->limit_bodies(order.memory_max.count);
  if (order.role == domain::Role::code) process.link->expect_direct();
  if (process.held_order.empty()) process.link->forget_ring_memory();
  // A zygote that dies takes with it what it had not made yet: then the order is given once more.
  if (process.pid == 0) process.order = std::make_unique<StartOrder>(order);
  else if (!process.placed) apply_limits(process);
  begin(process, domain::is_job(order.role) ? order.time_max : options_.ready_max);
}

void ZygoteLauncher::start(ProcessId id, const StartOrder& order, int attempts) {
  if (domain::is_bound(order.role)) return start_code(id, order, attempts);
  auto opened = open_files(order);
  if (!opened) return fail_later(id, opened.error());
  std::vector<int> descriptors(3);
  descriptors.insert(descriptors.end(), opened->descriptors.begin(), opened->descriptors.end());
  const std::string message = load_message(order, opened->bytes, !cgroups_->works());
  auto taken = take_blank();
  for (; taken; taken = take_blank()) {
    std::ranges::copy((*taken)->link->ring_descriptors(), descriptors.begin());
    const auto said = (*taken)->link->say(std::as_bytes(std::span(message)), descriptors);
    if (said) break;
    // Dead already, and not yet known to be: its socket will say so. The pool holds few, so this ends.
    if (said.error().code == Code::unavailable) continue;
    end(**taken, "its order could not be sent");
    return fail_later(id, said.error());
  }
  if (!taken) return fail_later(id, taken.error());
  Process& process = **taken;
  const int tasks =
      order.role == domain::Role::template_ ? kForksAtOnce : order.threads + (domain::is_job(order.role) ? 64 : kThreadsBeyond);
  // What it maps is charged to it too, where it was the first to touch it.
  process.limits = {.memory_max = {order.memory_max.count + order.memory_beside.count}, .cpu = order.cpu, .processes_max = tasks};
  adopt(process, id, order, attempts);
  refill_later();
}

void ZygoteLauncher::begin(Process& process, Duration ready_max) {
  process.stage = Stage::starting;
  process.asked = loop_.now();
  loop_.cancel(process.deadline);
  process.deadline = loop_.after(ready_max, [this, &process, ready_max] {
    end(process, domain::is_job(process.role) ? "ran longer than its limit of " + to_text(ready_max) + ": give a model that ends sooner"
                                      : "did not become ready within " + to_text(ready_max) + ": a smaller model loads sooner");
  });
}

bool ZygoteLauncher::send(ProcessId id, const Request& request) {
  Process* process = find(id);
  if (!process || process->stage != Stage::ready || !process->link->send(request)) return false;
  thaw(*process);
  if (!process->link->in_flush) to_wake_.push_back(process->link.get());
  process->link->in_flush = true;
  return true;
}

void ZygoteLauncher::cancel(ProcessId id, Ticket ticket) {
  Process* process = find(id);
  if (!process || process->stage != Stage::ready) return;
  process->link->cancel(ticket);
  os::signal_process(process->pidfd, domain::kCancelSignal, ticket.number);  // it may run already, and read no frame until it has
  if (!process->link->in_flush) to_wake_.push_back(process->link.get());
  process->link->in_flush = true;
}

void ZygoteLauncher::remind(ProcessId id) {
  Process* process = find(id);
  if (!process || process->stage != Stage::ready) return;
  process->link->want();
  if (!process->link->in_flush) to_wake_.push_back(process->link.get());
  process->link->in_flush = true;
}

bool ZygoteLauncher::taken(ProcessId id, Ticket ticket, std::uint64_t bytes) {
  Process* process = find(id);
  if (!process || process->stage != Stage::ready) return true;
  if (!process->link->taken(ticket, bytes)) return false;
  if (!process->link->in_flush) to_wake_.push_back(process->link.get());
  process->link->in_flush = true;
  return true;
}

void ZygoteLauncher::flush() {
  for (ProcessLink* link : to_wake_) {
    link->in_flush = false;
    link->wake();
  }
  to_wake_.clear();
}

bool ZygoteLauncher::freeze(ProcessId id) {
  Process* process = find(id);
  if (options_.debug || !cgroups_->can_freeze() || !process || !process->group || process->stage != Stage::ready) return false;
  cgroups_->freeze(process->group);
  return process->frozen = true;
}

void ZygoteLauncher::thaw(Process& process) {
  if (std::exchange(process.frozen, false)) cgroups_->thaw(process.group);
}

void ZygoteLauncher::stop(ProcessId id) {
  Process* process = find(id);
  if (!process || process->stage == Stage::closing) return;
  thaw(*process);
  process->asked_to_end = "stopped";
  process->link->tell_ends();
  const domain::Message order{domain::MessageKind::stop, 0};
  if (!process->link->say(os::bytes_of(order))) return end(*process, {});
  loop_.cancel(process->deadline);
  process->deadline = loop_.after(options_.stop_max, [this, process] {
    end(*process, "did not stop within " + to_text(options_.stop_max) + " and was killed");
  });
}

void ZygoteLauncher::kill(ProcessId id) {
  Process* process = find(id);
  if (!process) return;
  process->asked_to_end = "killed";
  if (process->stage != Stage::closing) end(*process, {});
}

Result<void> ZygoteLauncher::let_in(os::Fd connection) {
  Process* newest = nullptr;
  for (const auto& [link, process] : processes_)
    if (process->id && process->stage == Stage::ready && process->role == domain::Role::code &&
        (!newest || process->number > newest->number))
      newest = process.get();
  if (!options_.debug || !newest) return fail(Code::unavailable, "no instance of code runs that a debugger could be let in to");
  const domain::Message message{domain::MessageKind::debugger, 0};
  const std::array descriptors{connection.get()};
  return newest->link->say(os::bytes_of(message), descriptors);
}

Usage ZygoteLauncher::measure(ProcessId id) {
  Process* process = find(id);
  if (!process || process->pid == 0) return {};
  if (domain::is_code(process->role) && process->group) {  // the host and all that the program starts
    const os::GroupUsage used = cgroups_->usage(process->group);
    process->cpu_last = process->cpu_before + used.cpu;
    const Bytes ahead = process->spare ? cgroups_->usage(process->spare->group).memory : Bytes{};
    return {.memory = {used.memory.count + ahead.count}, .cpu = process->cpu_last};
  }
  process->cpu_last = os::process_cpu(process->pid);
  return {.memory = os::process_memory(process->pid), .cpu = process->cpu_last};
}

// ---- how a process ends

void ZygoteLauncher::end(Process& process, std::string reason) {
  if (process.end_reason.empty()) process.end_reason = std::move(reason);
  Sandbox& sandbox = *process.sandbox;
  loop_.cancel(process.deadline);
  if (sandbox.members.size() > 1) {
    if (process.pidfd) os::signal_process(process.pidfd, SIGKILL);
    else close(process);  // not born yet: when it is, it finds its socket closed
    return;
  }
  if (sandbox.init_pidfd) os::signal_process(sandbox.init_pidfd, SIGKILL);
  else sandbox_gone(sandbox);  // init finds its socket closed
}

void ZygoteLauncher::close(Process& process) {
  if (process.stage == Stage::closing) return;
  process.link->close();
  process.stage = Stage::closing;
  loop_.cancel(process.deadline);
  if (process.pidfd) os::signal_process(process.pidfd, SIGKILL);
  if (process.program) os::signal_process(process.program, SIGKILL);
  std::erase(blanks_, &process);
  if (Process* spare = std::exchange(process.spare, nullptr)) {
    spare->spare_of = nullptr;
    end(*spare, "its template ended");
  }
  const bool known = process.ended || process.sandbox->gone;
  process.closing = loop_.after(known ? Duration{} : kStatusWait, [this, &process] { finish(process); });
}

// Which limit of its control group it met; "": none.
std::string ZygoteLauncher::exceeded(const Process& process, const os::GroupUsage& used) const {
  if (used.out_of_memory > 0) {
    const std::string text = "exceeded its memory limit of " + to_text(process.memory_max) + " (resources.memory)";
    if (process.mapped <= process.memory_max) return text;
    const std::string weights = to_text(process.mapped);
    return text + (process.compiled ? ": the model's " + weights + " need not fit, but all that it allocates must"
                                    : ": as uploaded, its " + weights + " are copied twice; give it three times that");
  }
  if (cgroups_->refused(process.group) > 0)
    return "had " + std::to_string(process.limits.processes_max) + " processes and threads, as many as it may, and was refused another";
  return {};
}

Death ZygoteLauncher::death_of(Process& process) {
  Death death;
  const os::GroupUsage used = cgroups_->usage(process.group);
  death.cpu = process.group ? process.cpu_before + used.cpu : std::max(process.cpu_last, os::process_cpu(process.pid));
  death.out_of_memory = used.out_of_memory > 0;
  // One that was asked to end may still end by a crash of its own; SIGKILL is how we end them.
  const bool killed = WIFSIGNALED(process.wait_status) && WTERMSIG(process.wait_status) == SIGKILL;
  const bool crashed = process.ended && process.wait_status != 0 && !killed;
  death.asked = !process.asked_to_end.empty() && !death.out_of_memory && process.end_reason.empty() && !crashed;
  if (death.out_of_memory) death.reason = exceeded(process, used);
  else if (!process.end_reason.empty()) death.reason = process.end_reason;
  else if (death.asked) death.reason = process.asked_to_end;
  else if (process.ended) death.reason = os::describe_exit(process.wait_status);
  else death.reason = "ended unexpectedly";
  return death;
}

void ZygoteLauncher::finish(Process& process) {
  Sandbox& sandbox = *process.sandbox;
  if (sandbox.log && sandbox.members.size() == 1) sandbox.log->drain();
  const ProcessId id = process.id;
  if (const std::string failure = cgroups_->take_failure(); !failure.empty() && id)
    events_.on_log(id, {.text = "mayfly: its control group: " + failure});
  const Death death = death_of(process);
  const bool told = process.told;
  const std::string unmade = sandbox.failure;
  const std::unique_ptr<StartOrder> order = std::move(process.order);
  const int attempts = process.attempts + 1;
  const bool never_made = process.pid == 0 && sandbox.init_pid == 0 && process.asked_to_end.empty() &&
                           process.end_reason.empty() && unmade.empty();
  const bool spare = !id && (process.forked || process.next);
  std::erase(ahead_, &process);
  if (process.spare_of) process.spare_of->spare = nullptr;
  forget(process);
  if (spare) return;  // none of anybody's business: the next start forks by itself
  if (id && order && never_made && attempts < kAttemptsMax) return start(id, *order, attempts);
  if (!id) {
    // A blank one: something is wrong with sandboxes in general, so the pool is not filled again at once.
    refill_pause_ = std::clamp(2 * refill_pause_, Duration(100ms), Duration(5s));
    return refill_later();
  }
  if (!told && !unmade.empty()) events_.on_failed(id, {Code::internal, "no sandbox could be made: " + unmade}, {});
  events_.on_gone(id, death);
}

void ZygoteLauncher::forget(Process& process) {
  loop_.cancel(process.deadline);
  loop_.cancel(process.closing);
  std::erase(to_wake_, process.link.get());
  std::erase(blanks_, &process);
  if (process.id) by_id_.erase(process.id);
  cgroups_->give_back(std::move(process.group));
  process.link->close();
  Sandbox& sandbox = *process.sandbox;
  std::erase(sandbox.members, &process);
  auto node = processes_.extract(process.link.get());
  ASSERT(node, "a process that is forgotten twice");
  dead_processes_.push_back(std::move(node.mapped()));
  bury();
  if (sandbox.members.empty()) drop_if_empty(sandbox);
}

// Objects whose own calls may be on the stack go a turn later.
void ZygoteLauncher::bury() {
  loop_.cancel(burying_);
  burying_ = loop_.after({}, [this] {
    dead_processes_.clear();
    dead_sandboxes_.clear();
  });
}

void ZygoteLauncher::fail_later(ProcessId id, Error error) {
  failures_.emplace_back(id, std::move(error));
  loop_.cancel(failing_);
  failing_ = loop_.after({}, [this] { run_failures(); });
}

void ZygoteLauncher::run_failures() {
  for (const auto& [id, error] : std::exchange(failures_, {})) {
    events_.on_failed(id, error, {});
    events_.on_gone(id, {.reason = error.message});
  }
}

}  // namespace mayfly::instances
