// The other Launcher: processes that exist only as numbers, in virtual time, from a seed. They start
// slowly, refuse to start, die before they are ready or at work, hang, and lie: answer what they were
// not asked, answer twice, use codes that do not exist. For simulations; nothing of it runs in a node.
//
// Who drives it: a loop that jumps its Turn to next_wakeup() and calls advance(), which delivers what is
// due, in order. It keeps the promises of launcher.h whatever it is told to break: on_ready at most
// once, on_gone exactly once and last, nothing from inside a call. The same seed and the same calls give
// the same events; trace() is a hash of them.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/turn.h"
#include "instances/launcher.h"

namespace mayfly::instances {

struct Span {                          // evenly between both
  Duration least{}, most{};
};

struct FakeBehaviour {
  Span start{std::chrono::milliseconds(15), std::chrono::milliseconds(40)};
  Span fork{std::chrono::milliseconds(1), std::chrono::milliseconds(4)};
  Span template_start{std::chrono::milliseconds(100), std::chrono::milliseconds(200)};
  Span run{std::chrono::milliseconds(5), std::chrono::milliseconds(15)};   // of one batch
  int credit = 8;
  int ring = 1024;                     // frames; send() is refused beyond
  int batch_max = 4;                   // frames in one run
  Bytes memory = 2_MiB;                // of an instance
  Bytes template_memory = 60_MiB;
  // Chances, of each start or each run.
  double start_fails = 0;              // says so itself
  double start_dies = 0;
  double start_hangs = 0;              // for start_hang, then the launcher's own limit kills it
  double idle_dies = 0;                // as soon as it is ready
  double run_dies = 0;
  bool out_of_memory = false;          // what dies had exceeded its memory
  double run_hangs = 0;                // until it is killed
  double lies = 0;                     // a reply to something that it does not hold
  double answers_twice = 0;
  double wrong_code = 0;
  double reports_error = 0;            // a proper error reply
  double ring_refuses = 0;             // of each send
  Duration start_hang = std::chrono::seconds(30);
  std::string job_result = "{}";       // of check, compile and tune, which end by themselves once they have it
};

class FakeLauncher final : public Launcher {
 public:
  FakeLauncher(std::uint64_t seed, const Turn& turn, LauncherEvents& events, FakeBehaviour behaviour)
      : random_(seed), turn_(turn), events_(events), behaviour_(behaviour) {}

  // When advance() has something to deliver; never() if nothing is under way.
  [[nodiscard]] Instant next_wakeup() const;
  // Delivers what is due at turn.now or before; what that causes comes at the next call.
  void advance();

  void set(const FakeBehaviour& behaviour) { behaviour_ = behaviour; }
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  [[nodiscard]] std::size_t alive() const { return processes_.size(); }
  [[nodiscard]] int most_alive() const { return most_alive_; }
  [[nodiscard]] Bytes memory() const;
  [[nodiscard]] std::uint64_t runs() const { return runs_; }
  [[nodiscard]] std::uint64_t cancels() const { return cancels_; }
  [[nodiscard]] std::uint64_t reminders() const { return reminders_; }

  // Launcher
  void start(ProcessId process, const StartOrder& order) override;
  void fork(ProcessId child, ProcessId from) override;
  bool send(ProcessId process, const Request& request) override;
  void cancel(ProcessId process, Ticket ticket) override;
  void remind(ProcessId) override { ++reminders_; }
  void flush() override;
  bool freeze(ProcessId process) override;
  void stop(ProcessId process) override;
  void kill(ProcessId process) override;
  Usage measure(ProcessId process) override;

 private:
  enum class State : std::uint8_t { starting, ready, gone };
  enum class What : std::uint8_t { ready, failed, done, gone };
  struct Held {
    Ticket ticket;
    Instant deadline;
    bool cancelled = false;
  };
  struct Process {
    State state = State::starting;
    domain::Role role{};
    Bytes memory;
    std::deque<Held> ring;
    std::vector<Held> running;
    Instant begun{};
    Duration cpu{};
    bool frozen = false;
    bool stopping = false, hangs = false, doomed = false;  // doomed: its on_gone is scheduled
  };
  struct Event {
    What what{};
    ProcessId process;
    Death death;
  };

  void begin_start(ProcessId id, domain::Role role, Span span, Bytes memory);
  void begin_run(ProcessId id, Process& process);
  void end_run(ProcessId id, Process& process);
  void reply(ProcessId id, Ticket ticket, std::uint8_t code, const Process& process, int batch);
  void crash(ProcessId id, Instant when);
  void die(ProcessId id, Instant when, Death death);
  void schedule(Instant when, Event event);
  void deliver(const Event& event);
  Process* find(ProcessId id);
  Duration within(Span span);
  void note(std::uint64_t what, std::uint64_t of);

  Random random_;
  const Turn& turn_;
  LauncherEvents& events_;
  FakeBehaviour behaviour_;
  std::map<ProcessId, Process> processes_;
  std::map<std::pair<Instant, std::uint64_t>, Event> agenda_;
  std::uint64_t scheduled_ = 0, runs_ = 0, cancels_ = 0, reminders_ = 0, trace_ = 0xcbf29ce484222325;
  int most_alive_ = 0;
};

}  // namespace mayfly::instances
