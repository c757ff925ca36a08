// The fleet: every process of every version, from the order to start it to its end. It knows how a
// version is started (from its template, else from its artifact), keeps credit, and picks who works
// next. It does not decide how many there should be (control/scale_loop.h says want()), nor what they
// work on (serve/dispatcher.h). A state machine on a Launcher and a Turn: no thread, no clock.
//
// Promises: an instance is never given more than its credit, nothing before it is ready, nothing once
// it drains; its end is told once, after which no reply of it comes; a failed start is told, and is
// tried again only after a pause that doubles from 100 ms to 30 s, and so is one that ends before anybody called it; one is frozen only
// while it has nothing to do.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/turn.h"
#include "instances/launcher.h"

namespace mayfly::instances {

enum class Origin : std::uint8_t { fork = 1, artifact = 2, upload = 3 };
[[nodiscard]] std::string_view name(Origin origin);

enum class State : std::uint8_t { starting, ready, draining };
[[nodiscard]] std::string_view name(State state);

// How processes of a version are started. Replaced by define() when a compile or a measurement ends.
struct VersionPlan {
  VersionId version;
  FunctionId function;
  std::string function_name;
  int number = 0;
  StartOrder instance;                    // from the artifact (or the model as uploaded)
  std::optional<StartOrder> template_;    // absent: this version has none
  bool forks_run_better = false;          // packed weights: instances from the artifact give way once the template stands
  bool forks_share = true;                // false: a fork only where no other is there, since they would share what they write
  bool replaces_uploaded = false;         // compiled and measured: instances of the model as uploaded give way
  std::optional<int> concurrency_max;     // the manifest's limit on credit
  std::optional<Duration> freeze_after;   // an instance that was idle for so long is frozen; absent: none is
};

struct Group;

struct Process {
  ProcessId id;
  Group* group = nullptr;
  bool is_template = false;
  State state = State::starting;
  Origin origin{};
  Instant asked, ready_at, last_used;     // last_used: its last reply
  Instant measured_at, frozen_at;
  bool blocked = false;                   // its ring was full; until its next reply
  bool frozen = false;                    // until it is sent something
  int credit = 0, outstanding = 0;
  std::uint64_t answered = 0;
  ReadyReport report;
  Bytes memory;                           // as last measured
  Duration cpu{}, cpu_told{};             // measured; told in replies and overhead records
  std::string failure, failure_log;       // what its host said of a program that ended, or why it was killed; what that printed last
  bool idle() const { return state == State::ready && outstanding == 0; }
};

struct Group {                            // the processes of one version
  VersionPlan plan;
  std::vector<Process*> instances;        // starting, ready and draining
  Process* template_ = nullptr;
  Process* successor = nullptr;           // starts to take the place of one that would start better today; not counted
  int wanted = 0;
  struct Pause {
    int failures = 0;                     // starts that failed in a row
    int deaths = 0;                       // instances that ended by themselves in a row, idle and before an answer
    Instant until{};
  };
  Pause pause, template_pause;            // a template that fails holds up no instance
  bool forgotten = false;                 // leaves when its last process has

  int count(State state) const;
  int alive() const { return count(State::starting) + count(State::ready); }
  bool template_ready() const { return template_ && template_->state == State::ready; }
};

// Who works with the instances.
class FleetUser {
 public:
  virtual void on_instance_ready(Process& process) = 0;
  virtual void on_reply(Process& process, Reply&& reply) = 0;
  virtual void on_part(Process&, Reply&&) {}   // a reply's begin or a piece: another frame follows
  virtual void on_instance_gone(Process& process, const Death& death) = 0;  // whatever it held is lost
  // … and nobody else can take what waits. `log`: what its program printed last.
  virtual void on_start_failed(Group& group, const Error& error, std::string_view log) = 0;

 protected:
  ~FleetUser() = default;
};

// Who keeps the books: phases of starts, logs, CPU that no reply told.
class FleetObserver {
 public:
  virtual void on_started(const Process& process) = 0;                     // ready: report and times are set
  virtual void on_first_answer(const Process& process) = 0;
  virtual void on_start_error(const Group& group, bool is_template, const Error& error, std::string_view log) = 0;
  virtual void on_ended(const Process& process, const Death& death) = 0;
  virtual void on_log(const Group* group, ProcessId process, const domain::Printed& line) = 0;  // group is null for jobs
  virtual void on_overhead(const Process& process, Duration cpu) = 0;

 protected:
  ~FleetObserver() = default;
};

class Fleet final : public LauncherEvents {
 public:
  explicit Fleet(const Turn& turn) : turn_(turn) {}
  // Before anything else: the four know one another, so they are introduced after they exist.
  void attach(Launcher& launcher, FleetUser& user, FleetObserver& observer) {
    launcher_ = &launcher;
    user_ = &user;
    observer_ = &observer;
  }

  // A version that may run from now on; again to change how it starts (what runs stays as it is).
  Group& define(VersionPlan plan);
  // Its processes drain and leave; the group goes with the last one.
  void forget(VersionId version);
  Group* find(VersionId version);

  // So many instances, starting ones included. Grows at once (unless starts fail), shrinks by draining idle ones first.
  void want(Group& group, int instances);
  void want_template(Group& group);         // starts it if the plan has one and it is not there
  void evict_template(Group& group);        // kills it; its instances stay
  void stop(Process& process);              // drains
  void kill(Process& process, std::string why = {});  // why: what it did wrong

  // The ready instance with the most room, or null.
  Process* pick(Group& group);
  // False: its ring is full; it is not picked again before its next reply.
  bool send(Process& process, const Request& request);
  void cancel(Process& process, Ticket ticket) { launcher_->cancel(process.id, ticket); }
  void remind(Process& process) { launcher_->remind(process.id); }
  bool taken(Process& process, Ticket ticket, std::uint64_t bytes) { return launcher_->taken(process.id, ticket, bytes); }
  void flush() { launcher_->flush(); }

  // A process that does one thing and ends: check, compile, tune. At most kJobsMax run at a time, checks first; beside them kBuildsMax
  // builds, which wait for other machines, and one that optimises, which takes minutes. `line`: what it prints, which is nobody's log then.
  using JobDone = std::function<void(Result<ReadyReport>)>;
  using JobLine = std::function<void(std::string_view)>;
  using JobId = std::uint64_t;
  JobId run_job(StartOrder order, JobDone done, JobLine line = {});
  void end_job(JobId job);                  // its `done` follows, with an error; nothing where it has ended

  // Retries of failed starts, and a look at memory and CPU of a few processes. Returns when to be called next.
  Instant tick();

  const std::unordered_map<ProcessId, std::unique_ptr<Process>>& processes() const { return processes_; }
  const std::unordered_map<VersionId, std::unique_ptr<Group>>& groups() const { return groups_; }
  Bytes memory_used() const;

  // LauncherEvents
  void on_ready(ProcessId id, const ReadyReport& report) override;
  void on_failed(ProcessId id, const Error& error, std::string_view log) override;
  void on_reply(ProcessId id, Reply&& reply) override;
  void on_gone(ProcessId id, const Death& death) override;
  void on_log(ProcessId id, const domain::Printed& line) override;

  static constexpr int kJobsMax = 2, kBuildsMax = 2;

 private:
  struct Job {
    JobId id = 0;
    StartOrder order;
    JobDone done;
    JobLine line;
    std::optional<Result<ReadyReport>> outcome;
  };

  Process& add(Group& group, bool is_template, Origin origin);
  void start_instance(Group& group);
  void settle(Group& group);                // makes what is there follow `wanted`
  void start_failed(Group& group, bool is_template, const Error& error, std::string_view log);
  void pause(Group::Pause& pause, int& times);
  Process* find_outdated(Group& group);
  void renew(Group& group);
  void freeze_idle();
  void measure_some();
  void measure(Process& process);
  void drop_if_done(Group& group);
  void start_jobs();

  const Turn& turn_;
  Launcher* launcher_ = nullptr;
  FleetUser* user_ = nullptr;
  FleetObserver* observer_ = nullptr;
  std::uint64_t processes_made_ = 0, jobs_made_ = 0;
  std::unordered_map<ProcessId, std::unique_ptr<Process>> processes_;
  std::unordered_map<VersionId, std::unique_ptr<Group>> groups_;
  std::unordered_map<ProcessId, Job> jobs_;
  std::vector<Job> jobs_waiting_;
  Instant measured_at_{}, next_tick_{};
};

}  // namespace mayfly::instances
