// For tests: a Fleet on made-up processes in virtual time, and a diary of what it tells its observer. Who works with the
// instances is introduced by the test; play() turns the loop, whose clock jumps from event to event.
#pragma once
#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/test_turn.h"
#include "instances/fake_launcher.h"
#include "instances/fleet.h"

namespace mayfly::instances {

// Starts of 20 ms, forks of 2 ms, templates of 100 ms, runs of 10 ms of one call each: a test can say when something happens.
inline FakeBehaviour steady(int credit = 1) {
  using std::chrono::milliseconds;
  return {.start = {milliseconds(20), milliseconds(20)},
          .fork = {milliseconds(2), milliseconds(2)},
          .template_start = {milliseconds(100), milliseconds(100)},
          .run = {milliseconds(10), milliseconds(10)},
          .credit = credit,
          .batch_max = 1};
}

class FleetDiary final : public FleetObserver {
 public:
  struct Start { ProcessId process; bool is_template; Origin origin; };
  struct StartError { Instant at; bool is_template; Error error; };
  struct End { ProcessId process; Death death; std::string failure; };

  explicit FleetDiary(const Turn& turn) : turn_(turn) {}
  void on_started(const Process& p) override { started.push_back({p.id, p.is_template, p.origin}); }
  void on_first_answer(const Process& p) override { first_answers.push_back(p.id); }
  void on_start_error(const Group&, bool is_template, const Error& error, std::string_view) override {
    start_errors.push_back({turn_.now, is_template, error});
  }
  void on_ended(const Process& p, const Death& death) override { ended.push_back({p.id, death, p.failure}); }
  void on_log(const Group*, ProcessId, const domain::Printed&) override {}
  void on_overhead(const Process&, Duration cpu) override { overhead += cpu; }

  std::vector<Start> started;
  std::vector<ProcessId> first_answers;
  std::vector<StartError> start_errors;
  std::vector<End> ended;
  Duration overhead{};

 private:
  const Turn& turn_;
};

class TestFleet {
 public:
  explicit TestFleet(const FakeBehaviour& behaviour) : launcher(1, turn, fleet, behaviour) {}
  void attach(FleetUser& user) { fleet.attach(launcher, user, diary); }

  void play(Duration span) {
    const Instant end = turn.now + span;
    while (std::min(launcher.next_wakeup(), next_tick_) <= end) {
      jump(turn, std::max(turn.now, std::min(launcher.next_wakeup(), next_tick_)));
      ++turns;
      launcher.advance();
      next_tick_ = end_turn();
      ASSERT(next_tick_ > turn.now, "a tick does not ask to be called at once, for ever");
    }
    jump(turn, end);
  }
  // What a test does between two plays belongs to a turn, and that turn ends.
  void poke() { next_tick_ = turn.now; }

  Turn turn{{std::chrono::hours(1)}, {std::chrono::hours(480'000)}};
  Fleet fleet{turn};
  FakeLauncher launcher;
  FleetDiary diary{turn};
  std::function<Instant()> end_turn = [this] {
    const Instant next = fleet.tick();
    fleet.flush();
    return next;
  };
  int turns = 0;

 private:
  Instant next_tick_{};
};

}  // namespace mayfly::instances
