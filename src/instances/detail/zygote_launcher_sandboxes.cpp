// ZygoteLauncher's other half: sandboxes and the pool, and what links and the zygote report.
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.h"
#include "instances/zygote_launcher.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

constexpr Duration kRefillWait = 5ms;             // after a start: neither it nor its first answer is to wait for what the next will need
constexpr std::size_t kSpareLinks = 4;
constexpr int kResolvers = 4;
constexpr std::size_t kNamesWaitingMax = 256;
constexpr Duration kBlankMax = 10s;               // of a blank sandbox, to say hello
constexpr Duration kJobEndMax = 5s;               // from a job's result to its end

template <class T>
bool read_as(std::string_view bytes, T& into) {
  if (bytes.size() < sizeof into) return false;
  std::memcpy(&into, bytes.data(), sizeof into);
  return true;
}

}  // namespace

// ---- the pool

Result<ZygoteLauncher::Process*> ZygoteLauncher::make_process(Sandbox* sandbox) {
  if (spare_links_.empty()) {
    TRY(auto fresh, ProcessLink::create(loop_, *this));
    spare_links_.push_back(std::move(fresh));
  }
  auto link = std::move(spare_links_.back());
  spare_links_.pop_back();
  auto process = std::make_unique<Process>();
  process->link = std::move(link);
  process->sandbox = sandbox;
  process->number = ++processes_made_;
  Process* raw = process.get();
  sandbox->members.push_back(raw);
  processes_.emplace(raw->link.get(), std::move(process));
  return raw;
}

// A way out for code, whose host asks there.
Result<void> ZygoteLauncher::open_outbound(Process& process, std::vector<std::string> destinations) {
  if (destinations.empty()) return {};
  if (!resolvers_) resolvers_ = std::make_unique<os::Pool>(loop_, kResolvers, kNamesWaitingMax);
  TRY(auto parsed, domain::parse_destinations(destinations));
  TRY(process.outbound, OutboundDoor::create(loop_, {*resolvers_, std::move(parsed), network_rules(),
                                                     [log = process.sandbox->log.get()](std::string_view line) { log->say(line); }}));
  process.destinations = std::move(destinations);
  return {};
}

// With binds it is one for code: see domain::SandboxOrder.
Result<ZygoteLauncher::Process*> ZygoteLauncher::order_sandbox(domain::SandboxOrder order, const std::string& binds) {
  TRY(auto status, os::make_packet_pair());
  TRY(auto pipe, os::make_pipe());
  auto sandbox = std::make_unique<Sandbox>();
  Sandbox* raw = sandbox.get();
  raw->number = ++sandboxes_made_;
  raw->status = std::move(status.first);
  raw->port.launcher = this;
  raw->port.sandbox = raw;
  raw->log = std::make_unique<LogReader>(loop_, std::move(pipe.first), options_.log_lines_per_second,
                                         [this, raw](std::string_view line) { log_line(*raw, line); });
  TRY(Process * process, make_process(raw));
  if (auto watched = loop_.watch(raw->status.get(), os::kReadable, raw->port); !watched) {
    processes_.erase(process->link.get());
    return fail(watched.error());
  }
  sandboxes_.emplace(raw->number, std::move(sandbox));
  TRY(os::Fd control, os::duplicate(process->link->far_control()));
  process->link->forget_far_control();
  process->deadline = loop_.after(kBlankMax, [this, process] {
    end(*process, "a blank sandbox did not come up within " + to_text(kBlankMax));
  });
  order.sandbox = raw->number;
  zygote_.make({.order = order, .control = std::move(control),
                .status = std::move(status.second), .log = std::move(pipe.second), .binds = binds});
  return process;
}

int ZygoteLauncher::blanks_ready() const {
  return static_cast<int>(std::ranges::count_if(blanks_, [](const Process* blank) { return blank->pid != 0; }));
}

void ZygoteLauncher::refill_later() {
  if (refill_.number != 0) return;                // not put off: starts that keep coming would keep the pool empty
  refill_ = loop_.after(std::max(kRefillWait, refill_pause_), [this] { refill(); });
}

void ZygoteLauncher::refill() {
  refill_ = {};
  while (static_cast<int>(blanks_.size()) < options_.blanks) {
    auto blank = order_sandbox();
    if (!blank) return refill_later();
    blanks_.push_back(*blank);
  }
  while (spare_links_.size() < kSpareLinks) {
    auto link = ProcessLink::create(loop_, *this);
    if (!link) return refill_later();
    spare_links_.push_back(std::move(*link));
  }
}

Result<ZygoteLauncher::Process*> ZygoteLauncher::take_blank() {
  if (blanks_.empty()) return order_sandbox();
  const auto ready = std::ranges::find_if(blanks_, [](const Process* blank) { return blank->pid != 0; });
  const auto best = ready == blanks_.end() ? blanks_.begin() : ready;
  Process* blank = *best;
  blanks_.erase(best);
  return blank;
}

// ---- what the zygote and init say

void ZygoteLauncher::zygote_made(std::uint64_t number, int init_pid) {
  const auto found = sandboxes_.find(number);
  if (found == sandboxes_.end()) return;  // given up meanwhile; its init has found its socket closed
  Sandbox& sandbox = *found->second;
  auto pidfd = os::open_process(init_pid);
  if (!pidfd) return;                     // ended already: the status socket says so
  sandbox.init_pid = init_pid;
  sandbox.init_pidfd = std::move(*pidfd);
}

void ZygoteLauncher::zygote_refused(std::uint64_t number, const Error& error) {
  const auto found = sandboxes_.find(number);
  if (found == sandboxes_.end()) return;
  found->second->failure = error.message;
  sandbox_gone(*found->second);
}

void ZygoteLauncher::zygote_cannot_serve(const Error& error) {
  // Whatever waits for a sandbox will not get one from a zygote that can't start.
  for (auto& [number, sandbox] : sandboxes_)
    if (sandbox->init_pid == 0 && sandbox->failure.empty()) sandbox->failure = error.message;
}

void ZygoteLauncher::read_status(Sandbox& sandbox) {
  std::array<std::byte, 8192> buffer;
  while (!sandbox.gone) {
    auto packet = os::receive_packet(sandbox.status.get(), buffer);
    if (!packet && packet.error().code == Code::exhausted) return;
    if (!packet || packet->size == 0) {
      // Everything in it is dead, so all that it ever sent is there: that comes before its end.
      for (Process* process : std::vector(sandbox.members)) process->link->drain();
      return sandbox_gone(sandbox);
    }
    take_status(sandbox, {reinterpret_cast<const char*>(buffer.data()), packet->size});
  }
}

void ZygoteLauncher::take_status(Sandbox& sandbox, std::string_view bytes) {
  domain::Message head;
  domain::ProcessEnded ended;
  if (!read_as(bytes, head)) return;
  if (head.kind == domain::MessageKind::sandbox_failed && bytes.size() > sizeof(domain::SandboxMade))
    sandbox.failure = bytes.substr(sizeof(domain::SandboxMade));
  if (head.kind != domain::MessageKind::process_ended || !read_as(bytes, ended)) return;
  const auto member = std::ranges::find_if(sandbox.members, [&](const Process* process) {
    return process->pid_inside == ended.pid || (process->pid_inside == 0 && sandbox.members.size() == 1);
  });
  if (member == sandbox.members.end()) return;
  Process& process = **member;
  process.ended = true;
  process.wait_status = ended.wait_status;
  if (process.stage != Stage::closing) return;  // what it sent before is read first: its socket closes
  loop_.cancel(process.closing);
  process.closing = loop_.after({}, [this, &process] { finish(process); });
}

void ZygoteLauncher::sandbox_gone(Sandbox& sandbox) {
  if (sandbox.gone) return;
  sandbox.gone = true;
  if (sandbox.status) loop_.unwatch(sandbox.status.get());
  sandbox.status.reset();
  for (Process* process : std::vector(sandbox.members)) {
    close(*process);
    loop_.cancel(process->closing);
    process->closing = loop_.after({}, [this, process] { finish(*process); });
  }
}

void ZygoteLauncher::drop_if_empty(Sandbox& sandbox) {
  if (sandbox.status) loop_.unwatch(sandbox.status.get());
  sandbox.status.reset();
  os::signal_process(sandbox.init_pidfd, SIGKILL);
  auto node = sandboxes_.extract(sandbox.number);
  if (node) dead_sandboxes_.push_back(std::move(node.mapped()));
  bury();
}

void ZygoteLauncher::log_line(Sandbox& sandbox, std::string_view line) {
  // Processes of one sandbox run one version and share its stderr: of a line that doesn't say whose it is the first stands for all.
  const domain::Printed printed = domain::read_printed(line);
  const Process* of = nullptr;
  for (const Process* process : sandbox.members)
    if (process->id && (!of || (printed.pid != 0 && process->pid_inside == printed.pid))) of = process;
  if (of) events_.on_log(of->id, printed);
}

// ---- what a process says

void ZygoteLauncher::apply_limits(Process& process) {
  // A group that is still to be made gets its limits when the process is put in.
  if (const auto limited = cgroups_->limit(process.group, process.limits); limited) return;
  cgroups_->put_in(process.group, process.pid, &process.limits);
}

// What a process waits for until it is in its group; called on the groups' thread.
std::function<void()> ZygoteLauncher::tell_held(const Process& process) {
  return [this, link = process.link.get(), number = process.number, alive = std::weak_ptr(alive_), &loop = loop_] {
    loop.post([this, link, number, alive] {
      if (alive.expired()) return;
      const auto found = processes_.find(link);
      if (found == processes_.end() || found->second->number != number) return;
      found->second->placed = true;
      tell_held_order(*found->second);
    });
  };
}

void ZygoteLauncher::link_hello(ProcessLink& link, int pid, os::Fd program) {
  Process& process = of(link);
  auto pidfd = os::open_process(pid);
  const auto facts = os::process_facts(pid);
  if (!pidfd || !facts || !os::signal_process(*pidfd, 0)) return;  // ended already: its socket closes
  // The kernel vouches for the pid; that it is a child of this sandbox's init rules out that it has been reused.
  if (process.sandbox->init_pid != 0 && facts->parent != process.sandbox->init_pid)
    return link_broken(link, "a hello from a process outside its sandbox");
  process.pid = pid;
  process.pid_inside = facts->pid_inside;
  process.pidfd = std::move(*pidfd);
  process.hello_at = loop_.now();
  process.order.reset();
  process.group = cgroups_->take();
  process.cpu_before = os::process_cpu(pid);
  const os::GroupLimits* limits = process.stage == Stage::blank && !process.forked && !process.next ? nullptr : &process.limits;
  auto then = process.held_order.empty() ? std::function<void()>{} : tell_held(process);
  if (!process.forked || process.role != domain::Role::code) {
    cgroups_->put_in(process.group, pid, limits, std::move(then));
  } else {
    // A pidfd from in there can only mean a process in there.
    const int program_pid = os::pid_of(program);
    if (program_pid == 0) return link_broken(link, "a fork of code without its program");
    process.program = std::move(program);
    cgroups_->put_in(process.group, pid, limits);
    cgroups_->put_in(process.group, program_pid, nullptr, std::move(then));
  }
  if (process.stage == Stage::blank) {
    loop_.cancel(process.deadline);
    refill_pause_ = {};
  }
}

void ZygoteLauncher::link_ready(ProcessLink& link, const domain::ReadyMessage& ready, std::string_view result) {
  Process& process = of(link);
  if (process.stage != Stage::starting) return link_broken(link, "ready without an order");
  if (process.role == domain::Role::instance && ready.credit == 0) return link_broken(link, "a credit of 0");
  process.stage = Stage::ready;
  process.told = true;
  loop_.cancel(process.deadline);
  if (process.role == domain::Role::code_template) want_spare(process);
  if (process.next) make_ahead(std::move(process.next));
  if (domain::is_job(process.role))
    process.deadline = loop_.after(kJobEndMax, [this, &process] { end(process, "a job that did not end after its result"); });
  const ReadyReport report{.credit = static_cast<int>(ready.credit), .threads = static_cast<int>(ready.threads),
                           .sandbox = std::max(Duration{}, process.hello_at - process.asked),
                           .map = Duration(ready.map_ns), .load = Duration(ready.load_ns), .warm = Duration(ready.warm_ns),
                           .cpu = Duration(ready.cpu_ns), .private_memory = {ready.private_bytes},
                           .prefetched = {ready.prefetched_bytes}, .result = std::string(result)};
  events_.on_ready(process.id, report);
}

void ZygoteLauncher::link_failed(ProcessLink& link, const Error& error, std::string_view log) {
  Process& process = of(link);
  if (process.stage != Stage::starting) return link_broken(link, "failed without an order");
  process.told = true;
  events_.on_failed(process.id, explained(process, error), log);
}

// Of a program that has ended its host knows no more than how; whether it met a limit of its control group is known here.
Error ZygoteLauncher::explained(const Process& process, Error error) const {
  if (!domain::is_code(process.role)) return error;
  const os::GroupUsage used = cgroups_->usage(process.group);
  if (const std::string limit = exceeded(process, used); !limit.empty()) error.message += ": it " + limit;
  return error;
}

void ZygoteLauncher::link_reply(ProcessLink& link, Reply&& reply) {
  Process& process = of(link);
  if (reply.head.last) {  // nobody stops it any more: it is as if somebody had
    loop_.cancel(process.deadline);
    process.deadline = loop_.after(options_.stop_max, [this, &process] {
      end(process, "did not end within " + to_text(options_.stop_max) + " of its last answer and was killed");
    });
  }
  if (reply.head.last && reply.head.code != 0 && !reply.head.function_error && !reply.body_memfd) {
    Error error = explained(process, {static_cast<Code>(reply.head.code), std::string(reply.body)});
    failure_ = std::move(error.message);
    reply.body = failure_;
    reply.head.body_size = failure_.size();
  }
  events_.on_reply(process.id, std::move(reply));
}

void ZygoteLauncher::link_log(ProcessLink& link, std::string_view line) {
  Process& process = of(link);
  if (process.id) process.sandbox->log->say(line);
}

void ZygoteLauncher::link_broken(ProcessLink& link, const std::string& how) {
  Process& process = of(link);
  end(process, "broke the protocol: " + how);
  close(process);
}

void ZygoteLauncher::link_closed(ProcessLink& link) { close(of(link)); }

}  // namespace mayfly::instances
