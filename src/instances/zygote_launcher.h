// The real Launcher: processes in sandboxes (worker/sandbox.h), made by a zygote, a few of them ahead.
//
// It owns the zygote, the pool of blank sandboxes, and the node's end of every process; the loop drives it.
// A start takes a blank sandbox, sets its limits and sends it its order; the pool is filled again 5 ms later, so as not to compete with
// it. A template of code has one fork ahead, too: placed in its control group, and waiting for its word to begin; so has code that can't
// be forked a sandbox ahead, of the few versions that started last. A process that breaks the protocol, never becomes ready, or does not
// stop is killed, and its Death says why. When the node dies, everything that it started dies within a second (init watches its status
// socket).
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "instances/detail/log_reader.h"
#include "instances/detail/process_link.h"
#include "instances/detail/zygote_link.h"
#include "instances/launcher.h"
#include "instances/outbound_door.h"
#include "os/cgroup.h"
#include "os/loop.h"
#include "os/process.h"

namespace mayfly::instances {

// Where one version's code calls models: a unix socket that is bound into its sandboxes, there while `held` is.
struct ModelDoor {
  std::string path;
  std::shared_ptr<const void> held;
};

struct ZygoteLauncherOptions {
  std::string program = "/proc/self/exe";   // run as: PROGRAM zygote ENGINE_LIBRARY
  std::string engine_library;               // "": beside the binary
  int blanks = 4;                           // sandboxes ready ahead
  std::size_t ahead_max = 16;               // … and for code that can't be forked
  bool cgroups = true;
  Duration ready_max = std::chrono::seconds(60);  // of an instance or a template, to become ready
  Duration stop_max = std::chrono::seconds(5);
  int log_lines_per_second = 200;           // of one sandbox
  ZygoteLink::Spawn spawn;                  // tests: another zygote
  std::function<Result<ModelDoor>(const StartOrder&)> open_models;  // for code whose order names models
  bool debug = false;                       // code starts with its language's debugger, and let_in() reaches it
  std::function<domain::NetworkRules()> network;  // what the network of code may be; none: as strict as can be
};

class ZygoteLauncher final : public Launcher, LinkOwner, ZygoteOwner {
 public:
  ZygoteLauncher(os::Loop& loop, LauncherEvents& events, ZygoteLauncherOptions options);
  ~ZygoteLauncher() override;               // kills everything; tells nobody
  ZygoteLauncher(const ZygoteLauncher&) = delete;
  ZygoteLauncher& operator=(const ZygoteLauncher&) = delete;

  void start(ProcessId process, const StartOrder& order) override;
  void fork(ProcessId child, ProcessId from) override;
  [[nodiscard]] bool send(ProcessId process, const Request& request) override;
  void cancel(ProcessId process, Ticket ticket) override;
  void remind(ProcessId process) override;
  [[nodiscard]] bool taken(ProcessId process, Ticket ticket, std::uint64_t bytes) override;
  void flush() override;
  [[nodiscard]] bool freeze(ProcessId process) override;
  void stop(ProcessId process) override;
  void kill(ProcessId process) override;
  void forget(const StartOrder& order) override;
  [[nodiscard]] Usage measure(ProcessId process) override;

  // A debugger's connection, a local stream, for the instance of code that became ready last. unavailable: none is.
  [[nodiscard]] Result<void> let_in(os::Fd connection);

  // What people should know once: why there are no control groups. "" where all is well.
  const std::string& note() const { return cgroups_->note(); }
  int blanks_ready() const;                 // blank sandboxes that have said hello
  int zygote_pid() const { return zygote_.pid(); }
  int pid_of(ProcessId process) const;      // 0 where it is not known

 private:
  enum class Stage : std::uint8_t { blank, starting, ready, closing };
  struct Sandbox;
  struct Process {
    ProcessId id;                           // none while it is blank, or a spare
    std::uint64_t number = 0;               // never used again, as its place in memory may be
    std::unique_ptr<ProcessLink> link;
    Sandbox* sandbox = nullptr;
    Stage stage = Stage::blank;
    domain::Role role{};
    Bytes memory_max;                       // as ordered
    Bytes mapped;                           // of models
    bool compiled = false;                  // … or as uploaded
    os::GroupLimits limits;
    std::vector<std::string> destinations;  // that code reaches, here …
    std::unique_ptr<OutboundDoor> outbound;
    Instant asked, hello_at;
    int pid = 0, pid_inside = 0;
    os::Fd pidfd, program;                  // program: a fork of code's, which is no child of it
    os::Cgroups::Group group;
    Duration cpu_before{};                  // until it was in its group
    Duration cpu_last{};
    os::Loop::TimerId deadline, closing;
    bool told = false;                      // on_ready or on_failed was said
    std::string_view asked_to_end;          // "stopped", "killed": what was asked of it
    std::string end_reason;                 // why we ended it
    std::unique_ptr<StartOrder> order;      // until it says hello
    std::string held_order;                 // of code: told once it is in its group, so that what it starts is in it too
    bool frozen = false;
    bool forked = false, placed = false;    // placed: a fork of code, in its group
    Process* spare = nullptr;               // of a template of code: the fork that was made ahead
    Process* spare_of = nullptr;            // … and the way back
    std::unique_ptr<StartOrder> next;       // of code: what is to be made ahead once this has started; or was, for that
    int attempts = 0;
    int wait_status = 0;
    bool ended = false;                     // wait_status is known
  };
  struct StatusPort final : os::Watcher {
    void on_events(std::uint32_t) override { launcher->read_status(*sandbox); }
    ZygoteLauncher* launcher = nullptr;
    Sandbox* sandbox = nullptr;
  };
  struct Sandbox {
    std::uint64_t number = 0;
    int init_pid = 0;
    os::Fd init_pidfd, status;
    StatusPort port;
    std::unique_ptr<LogReader> log;
    std::shared_ptr<const void> models;     // of code: its door to them
    std::vector<Process*> members;
    bool gone = false;
    std::string failure;
  };

  // sandboxes
  Result<Process*> make_process(Sandbox* sandbox);
  Result<Process*> order_sandbox(domain::SandboxOrder order = {}, const std::string& binds = {});
  domain::NetworkRules network_rules() const { return options_.network ? options_.network() : domain::NetworkRules{}; }
  Result<void> open_outbound(Process& process, std::vector<std::string> destinations);
  void refill();
  void refill_later();
  Result<Process*> take_blank();
  void read_status(Sandbox& sandbox);
  void take_status(Sandbox& sandbox, std::string_view bytes);
  void sandbox_gone(Sandbox& sandbox);
  void drop_if_empty(Sandbox& sandbox);
  void log_line(Sandbox& sandbox, std::string_view line);

  // processes
  void start(ProcessId id, const StartOrder& order, int attempts);
  void start_code(ProcessId id, const StartOrder& order, int attempts);
  void tell_held_order(Process& process);
  Result<Process*> make_fork(Process& parent);
  void want_spare(const Process& parent);
  void make_spares();
  Result<Process*> make_code(const StartOrder& order);
  void make_ahead(std::unique_ptr<StartOrder> order);
  Process* take_ahead(const StartOrder& order);
  void end_ahead(Process& process, std::string reason);
  void spare_soon();
  void adopt(Process& process, ProcessId id, const StartOrder& order, int attempts);
  void begin(Process& process, Duration ready_max);
  void fail_later(ProcessId id, Error error);
  void run_failures();
  void apply_limits(Process& process);
  void thaw(Process& process);
  void end(Process& process, std::string reason);
  void close(Process& process);             // its end of the control socket is closed, or it broke the protocol
  void finish(Process& process);            // the last that is heard of it
  Death death_of(Process& process);
  Error explained(const Process& process, Error error) const;
  std::string exceeded(const Process& process, const os::GroupUsage& used) const;
  Process* find(ProcessId id);
  Process& of(ProcessLink& link);
  void forget(Process& process);
  void bury();

  void link_hello(ProcessLink& link, int pid, os::Fd program) override;
  std::function<void()> tell_held(const Process& process);
  void link_ready(ProcessLink& link, const domain::ReadyMessage& ready, std::string_view result) override;
  void link_failed(ProcessLink& link, const Error& error, std::string_view log) override;
  void link_reply(ProcessLink& link, Reply&& reply) override;
  void link_log(ProcessLink& link, std::string_view line) override;
  void link_broken(ProcessLink& link, const std::string& how) override;
  void link_closed(ProcessLink& link) override;
  void zygote_made(std::uint64_t sandbox, int init_pid) override;
  void zygote_refused(std::uint64_t sandbox, const Error& error) override;
  void zygote_lost() override {}            // what it had not made yet ends like any process: its sockets close
  void zygote_cannot_serve(const Error& error) override;

  os::Loop& loop_;
  LauncherEvents& events_;
  ZygoteLauncherOptions options_;
  std::unique_ptr<os::Cgroups> cgroups_;
  ZygoteLink zygote_;
  std::unique_ptr<os::Pool> resolvers_;     // of names of destinations; made when the first is wanted
  std::unordered_map<std::uint64_t, std::unique_ptr<Sandbox>> sandboxes_;
  std::unordered_map<const ProcessLink*, std::unique_ptr<Process>> processes_;
  std::unordered_map<ProcessId, Process*> by_id_;
  std::deque<Process*> blanks_;
  std::vector<std::unique_ptr<ProcessLink>> spare_links_;  // made ahead, for forks
  std::vector<ProcessLink*> to_wake_;
  std::string failure_;                     // of the reply that is handed on
  std::vector<std::pair<ProcessId, Error>> failures_;
  std::vector<std::unique_ptr<Process>> dead_processes_;  // until no call into them can be under way
  std::vector<std::unique_ptr<Sandbox>> dead_sandboxes_;
  std::shared_ptr<const int> alive_ = std::make_shared<int>();  // for what comes from the groups' thread
  std::uint64_t sandboxes_made_ = 0, processes_made_ = 0;
  std::vector<ProcessId> spares_due_;       // templates of code that want a fork ahead
  std::vector<std::unique_ptr<StartOrder>> ahead_due_;
  std::deque<Process*> ahead_;              // sandboxes for code that wait for their order, the oldest first
  os::Loop::TimerId refill_, failing_, burying_, sparing_;
  Duration refill_pause_{};                 // grows while blank sandboxes fail
};

}  // namespace mayfly::instances
