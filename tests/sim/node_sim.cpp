// The node without its edges: dispatcher, fleet and scale loop on made-up processes, hours of made-up
// traffic in a second or so. Instances start slowly, fail, die, hang and lie; clients leave; queues fill.
//
//   node_sim [seed [runs]]
//
// Always:     one reply and one usage record for each call (no reply once the client has left); no reply past
//             the deadline; nothing waits beyond queue_max; instances within [min, max]; no process
//             gets work before it is ready, once it drains, or beyond its credit (the launcher asserts it).
// Eventually: queues drain; memory comes back under the budget; traffic goes by the alias's weights; silence ends
//             with `min` instances and no template.
// Same seed, same trace.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "control/scale_loop.h"
#include "instances/fake_launcher.h"
#include "serve/dispatcher.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using instances::FakeBehaviour;
using instances::FakeLauncher;
using instances::Fleet;

struct Function {
  std::string name;
  std::vector<serve::Target> targets;
  std::vector<domain::Weight> weights;
  domain::Scaling scaling;
  std::map<int, int> answered_by;      // version number -> calls that the alias sent there
  int by_alias = 0;
};

struct Call {
  Function* function = nullptr;
  Instant deadline;
  bool by_alias = false;
  int replies = 0, records = 0;
  bool left = false, closed = false;
};

// Everything that varies from seed to seed; each fault is there in a part of the runs.
FakeBehaviour behaviour_of(Random& random) {
  const auto sometimes = [&](double chance) { return random.chance(0.3) ? chance : 0; };
  FakeBehaviour b;
  b.run = {1ms * random.between(1, 10), 1ms * random.between(10, 60)};
  b.start = {5ms, 1ms * random.between(6, random.chance(0.2) ? 3000 : 80)};
  b.credit = random.between(1, 16);
  b.batch_max = random.between(1, b.credit);
  b.ring = random.chance(0.2) ? std::max(1, b.credit / 2) : 1024;
  b.start_fails = sometimes(0.1);
  b.start_dies = sometimes(0.1);
  b.start_hangs = sometimes(0.02);
  b.run_dies = sometimes(0.01);
  b.run_hangs = sometimes(0.005);
  b.lies = sometimes(0.05);
  b.answers_twice = sometimes(0.05);
  b.wrong_code = sometimes(0.02);
  b.reports_error = sometimes(0.05);
  b.ring_refuses = sometimes(0.05);
  return b;
}

class Simulation final : serve::ReplySink, serve::DispatcherEvents, instances::FleetObserver {
 public:
  explicit Simulation(std::uint64_t seed)
      : seed_(seed), random_(seed), behaviour_(behaviour_of(random_)), turn_{{1h}, {std::chrono::hours(480'000)}}, fleet_(turn_),
        launcher_(seed + 1, turn_, fleet_, behaviour_), dispatcher_(turn_, fleet_, routes_, *this, seed + 2),
        scale_(turn_, fleet_, dispatcher_, scale_options(),
               [this](VersionId id) { return facts_of(id); }, [this](VersionId id) { return fleet_.find(id); },
               [this](VersionId, control::DecisionView view) { decided(view); }) {
    fleet_.attach(launcher_, dispatcher_, *this);
    for (int i = random_.between(1, 5); i > 0; --i) make_function();
  }

  std::uint64_t run() {
    for (int phase = random_.between(5, 12); phase > 0; --phase) play_phase();
    drain();
    learn_a_habit();
    fall_silent();
    return launcher_.trace() ^ hash_;
  }

 private:
  static constexpr Duration kTemplateKeep = 15min;

  control::ScaleOptions scale_options() {
    return {.cores = random_.between(1, 8),
            .memory_budget = Bytes{(1_MiB).count * static_cast<std::uint64_t>(budget_mib_ = random_.between(80, 600))},
            .template_keep = kTemplateKeep};
  }

  void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "FAILED: %s\n  seed %llu at %.3f s: %zu calls open, %zu processes, %.0f of %d MiB; last decision: %s\n", what,
                 static_cast<unsigned long long>(seed_), to_seconds(turn_.now.since_boot), open_, launcher_.alive(),
                 static_cast<double>(launcher_.memory().count) / (1 << 20), budget_mib_, last_decision_.c_str());
    std::exit(1);
  }

  // ---- the functions

  void make_function() {
    auto f = std::make_unique<Function>();
    f->name = "f" + std::to_string(functions_.size() + 1);
    const int versions = random_.between(1, 3);
    f->scaling = {.min = random_.chance(0.2) ? random_.between(1, 2) : 0, .max = random_.between(2, 20),
                  .concurrency = random_.chance(0.2) ? std::optional(random_.between(1, 4)) : std::nullopt,
                  .keep_alive = random_.chance(0.5) ? std::optional<Duration>(1s * random_.between(1, 120)) : std::nullopt,
                  .target_p99 = random_.chance(0.2) ? std::optional<Duration>(200ms) : std::nullopt};
    double left = 1;
    for (int number = 1; number <= versions; ++number) {
      const VersionId id{functions_.size() * 10 + static_cast<std::uint64_t>(number)};
      f->targets.push_back({.version = id,
                            .function = {functions_.size() + 1},
                            .number = number,
                            .timeout = 1ms * random_.between(300, 30'000),
                            .body_max = 1_MiB,
                            .queue_max = random_.between(5, 2000)});
      const double share = number == versions ? left : left * random_.between(1, 9) / 10;
      f->weights.push_back({number, share});
      left -= share;
      by_version_[id] = f.get();
      define(f->targets.back(), *f);
      if (f->scaling.min > 0) scale_.keep_watch(id);
    }
    serve::Route route{.targets = f->targets};
    route.aliases.push_back({.name = "live", .weights = f->weights});
    routes_.set(f->name, std::move(route));
    functions_.push_back(std::move(f));
  }

  instances::Group& define(const serve::Target& target, const Function& f) {
    instances::VersionPlan plan{.version = target.version, .function = target.function, .function_name = f.name, .number = target.number,
                                .instance = {.role = domain::Role::instance, .compiled = true}, .concurrency_max = f.scaling.concurrency};
    if (target.version.number % 3 != 0) plan.template_ = instances::StartOrder{.role = domain::Role::template_, .compiled = true};
    plan.forks_run_better = target.version.number % 2 == 0;
    return fleet_.define(std::move(plan));
  }

  std::optional<control::ScaleLoop::Facts> facts_of(VersionId id) {
    const auto at = by_version_.find(id);
    if (at == by_version_.end()) return std::nullopt;
    control::ScaleLoop::Facts facts{.scaling = at->second->scaling, .compiled = true};
    facts.tuning.cold_first_ns = 25'000'000;
    facts.tuning.fork_first_ns = 3'000'000;
    return facts;
  }

  // ---- what the node tells

  instances::Group& group_of(const serve::Target& target) override { return *fleet_.find(target.version); }
  void on_demand(serve::Lane& lane) override { scale_.on_demand(lane); }
  void on_record(const domain::UsageRecord& record, const serve::TraceId&, const Error*) override {
    if (record.kind != 0) return;
    const auto at = calls_.find(record.request_id_low);
    require(at != calls_.end(), "a usage record of a call that nobody made");
    require(++at->second.records == 1, "two usage records of one call");
  }
  void on_first_answer(const instances::Process&) override {}
  void on_started(const instances::Process&) override {}
  void on_start_error(const instances::Group&, bool, const Error&, std::string_view) override {}
  void on_ended(const instances::Process&, const instances::Death&) override {}
  void on_log(const instances::Group*, ProcessId, const domain::Printed&) override {}
  void on_overhead(const instances::Process&, Duration) override {}
  void decided(const control::DecisionView& view) {
    last_decision_ = view.reason;
    hash_ = (hash_ ^ static_cast<std::uint64_t>(view.after) ^ view.reason.size()) * 0x100000001b3;
  }

  // ---- the clients

  void call(Function& f, int version = 0) {
    const std::uint64_t number = ++calls_made_;
    const bool by_alias = version == 0 && random_.chance(0.8);
    if (version == 0) version = random_.between(1, static_cast<int>(f.targets.size()));
    const auto& target = f.targets[static_cast<std::size_t>(version - 1)];
    Duration longest{};
    for (const auto& t : f.targets) longest = std::max(longest, t.timeout);
    Duration timeout{};
    if (by_alias && random_.chance(0.2)) timeout = 1ms * random_.between(1, 2000);
    Call& made = calls_[number];
    made = {.function = &f,
            .deadline = turn_.now + (timeout > Duration{} ? std::min(timeout, longest)
                                     : by_alias           ? longest
                                                          : target.timeout),
            .by_alias = by_alias};
    ++open_;
    const std::string qualifier = by_alias ? "" : std::to_string(target.number);
    invoking_ = number;
    next_tick_ = std::min(next_tick_, turn_.now);  // as a loop does: each turn ends with the ticks
    const Ticket ticket = dispatcher_.invoke(
        {.function = f.name, .qualifier = qualifier, .body = "{}", .arrived = turn_.now, .timeout = timeout, .request_id_low = number},
        *this);
    invoking_ = 0;
    if (made.replies == 0) {
      require(!by_ticket_.contains(ticket), "a ticket is given out twice");
      by_ticket_[ticket] = number;
      if (by_alias && random_.chance(0.05))
        agenda_.emplace(turn_.now + 1ms * random_.between(0, 300), [this, ticket, number] { leave(ticket, number); });
    } else {
      sent_later(ticket, number);
    }
  }

  void on_reply(Ticket ticket, serve::InvocationReply&& reply) override {
    const auto at = by_ticket_.find(ticket);
    const std::uint64_t number = at != by_ticket_.end() ? at->second : invoking_;
    require(number != 0, "a reply to a call that nobody made");
    Call& c = calls_.at(number);
    require(!c.left, "a reply after the client has left");
    require(++c.replies == 1, "two replies to one call");
    require(turn_.now <= c.deadline, "a reply past the deadline");
    require(reply.ok || !reply.error.message.empty(), "an error without words");
    if (c.by_alias) {
      ++c.function->by_alias;
      ++c.function->answered_by[reply.version];
    }
    last_cold_ = reply.ok ? reply.phases.cold : -1;
    hash_ = (hash_ ^ number ^ static_cast<std::uint64_t>(reply.ok)) * 0x100000001b3;
    if (at == by_ticket_.end()) return;  // from inside invoke(): the ticket is not known yet
    by_ticket_.erase(at);
    sent_later(ticket, number);
  }

  void sent_later(Ticket ticket, std::uint64_t number) {
    const auto send = [this, ticket, number] {
      if (random_.chance(0.03)) dispatcher_.cancel(ticket);  // left while the reply was on its way
      else dispatcher_.sent(ticket, turn_.now, 100);
      close(number);
    };
    // Never from inside the reply.
    agenda_.emplace(turn_.now + (random_.chance(0.9) ? 0ms : 1ms * random_.between(1, 500)), send);
  }

  void leave(Ticket ticket, std::uint64_t number) {
    const auto at = calls_.find(number);
    if (at == calls_.end() || at->second.replies > 0) return;
    at->second.left = true;
    by_ticket_.erase(ticket);
    dispatcher_.cancel(ticket);
    close(number);
  }

  void close(std::uint64_t number) {
    Call& c = calls_.at(number);
    require(!c.closed && (c.left || c.replies == 1), "a call is closed once, with its reply");
    require(c.records == 1, "a call without a usage record");
    calls_.erase(number);
    --open_;
  }

  // ---- time

  void play_phase() {
    Function& f = *functions_[static_cast<std::size_t>(random_.between(0, static_cast<int>(functions_.size()) - 1))];
    switch (random_.between(0, 4)) {
      case 0: return play(1s * random_.between(1, 1200), 0);
      case 1: return play(1s * random_.between(1, 10), random_.between(1, 200));
      case 2:
        for (int i = random_.between(1, 600); i > 0; --i) call(f);
        return play(1s * random_.between(1, 40), 0);
      case 3:
        for (int i = random_.between(3, 20); i > 0; --i) { call(f); play(1s * random_.between(1, 100), 0); }
        return;
      default:
        fleet_.evict_template(*fleet_.find(f.targets.front().version));
        if (random_.chance(0.5)) scale_.set_count(f.targets.front().version, f.scaling.min);
        return play(1s * random_.between(1, 20), random_.between(1, 50));
    }
  }

  // Poisson arrivals over all functions for so long; the clock jumps from event to event.
  void play(Duration span, int rate) {
    const Instant end = turn_.now + span;
    const auto gap = [&] {
      return from_seconds(-std::log((static_cast<double>(random_.next() >> 11) + 1) * 0x1.0p-53) / rate);
    };
    Instant arrival = rate > 0 ? turn_.now + gap() : Instant::never();
    for (;;) {
      const Instant next =
          std::min({launcher_.next_wakeup(), next_tick_, arrival, agenda_.empty() ? Instant::never() : agenda_.begin()->first});
      if (next > end) break;
      turn_.wall.since_epoch += std::chrono::microseconds(std::max<std::int64_t>(0, to_us(next - turn_.now)));
      turn_.now = std::max(turn_.now, next);
      require(++steps_ < 5'000'000, "the node never comes to rest");
      turn(arrival);
      if (arrival <= turn_.now) arrival = turn_.now + gap();
    }
    turn_.now = end;
    // Nothing happens in between, so nothing changes but the time.
  }

  void turn(Instant arrival) {
    launcher_.advance();
    while (!agenda_.empty() && agenda_.begin()->first <= turn_.now) {
      const auto task = std::move(agenda_.begin()->second);
      agenda_.erase(agenda_.begin());
      task();
    }
    if (arrival <= turn_.now) {
      for (int i = random_.chance(0.05) ? random_.between(1, 20) : 1; i > 0; --i)
        call(*functions_[static_cast<std::size_t>(random_.between(0, static_cast<int>(functions_.size()) - 1))]);
    }
    next_tick_ = std::min({dispatcher_.tick(), fleet_.tick(), scale_.tick()});
    require(next_tick_ > turn_.now, "a tick asks to be called at once, for ever");
    dispatcher_.flush();
    next_tick_ = std::min({next_tick_, dispatcher_.tick(), scale_.tick()});
    check();
  }

  void check() {
    for (const auto& f : functions_) {
      for (const serve::Target& t : f->targets) {
        const serve::Lane* lane = dispatcher_.find_lane(t.version);
        if (lane) require(lane->waiting >= 0 && lane->waiting <= t.queue_max, "more wait than queue_max");
        const instances::Group* group = fleet_.find(t.version);
        int cold = 0;  // a fork may stand beside the cold instance whose place it takes
        int outstanding = 0;
        for (const instances::Process* p : group->instances) {
          cold += group->plan.forks_run_better && p->origin != instances::Origin::fork;
          outstanding += p->outstanding;
          require(p->outstanding <= std::max(1, p->credit), "an instance holds more than its credit");
        }
        // Who answers too much is believed to hold less than it does, to its own harm.
        const bool honest = before_faults_ended_.lies == 0 && before_faults_ended_.answers_twice == 0;
        if (lane && honest) require(lane->in_flight <= outstanding, "more in flight than the instances hold");
        if (group->alive() > f->scaling.max + cold) require(false, "more instances than max");
      }
    }
    const bool over = launcher_.memory().count > (1_MiB).count * static_cast<std::uint64_t>(budget_mib_);
    if (!over) over_since_ = Instant::never();
    else over_since_ = std::min(over_since_, turn_.now);
    // What works is pinned, and so is what min keeps.
    if (over && turn_.now - over_since_ > 10s) {
      for (const auto& [id, p] : fleet_.processes()) {
        const bool kept = !p->is_template && p->group->alive() <= by_version_.at(p->group->plan.version)->scaling.min;
        require(!p->idle() || kept || turn_.now - p->last_used < 5s || turn_.now - p->ready_at < 5s,
                "over the memory budget, and an idle process stays");
      }
    }
  }

  void drain() {
    behaviour_ = {.start = behaviour_.start, .run = behaviour_.run, .credit = behaviour_.credit, .batch_max = behaviour_.batch_max};
    launcher_.set(behaviour_);
    play(2min, 0);
    require(open_ == 0 && calls_.empty(), "calls without an answer");
    require(dispatcher_.in_flight() == 0, "slots of calls that have ended");
    for (const auto& f : functions_) {
      for (const domain::Weight& w : f->weights) {
        const double expected = w.share * f->by_alias;
        const double spread = std::sqrt(std::max(1.0, expected * (1 - w.share)));
        require(std::abs(f->answered_by[w.version] - expected) <= 5 * spread + 1, "traffic does not follow the alias's weights");
      }
    }
    // And it still works.
    for (const auto& f : functions_) call(*f);
    play(1min, 0);
    require(open_ == 0, "calls without an answer after the faults have ended");
  }

  // A function that is called every five minutes is there when it is called, and not in between.
  void learn_a_habit() {
    make_function();
    Function& f = *functions_.back();
    f.scaling = {.max = 2};
    fleet_.find(f.targets.front().version)->plan.template_.reset();
    int warm = 0, at_rest = 0;
    for (int i = 0; i < 20; ++i) {
      last_cold_ = -1;
      call(f, f.targets.front().number);
      play(150s, 0);
      if (i >= 14) at_rest += fleet_.find(f.targets.front().version)->alive() == 0;
      play(150s, 0);
      if (i >= 15) warm += last_cold_ == 0;
    }
    require(at_rest == 6, "an instance waits for a call that is minutes away");
    require(warm == 5, "a call that was expected found no instance");
  }

  void fall_silent() {
    play(1h, 0);
    for (const auto& f : functions_) {
      for (const serve::Target& t : f->targets) {
        const instances::Group* group = fleet_.find(t.version);
        require(group->alive() == f->scaling.min, "silence did not end with min instances");
        require(f->scaling.min > 0 || !group->template_, "a template stays for nobody");
      }
    }
    require(launcher_.alive() == fleet_.processes().size(), "processes that the fleet does not know of");
  }

  const std::uint64_t seed_;
  Random random_;
  FakeBehaviour behaviour_;
  const FakeBehaviour before_faults_ended_ = behaviour_;
  int budget_mib_ = 0;
  Turn turn_;
  serve::Routes routes_;
  Fleet fleet_;
  FakeLauncher launcher_;
  serve::Dispatcher dispatcher_;
  control::ScaleLoop scale_;
  std::vector<std::unique_ptr<Function>> functions_;
  std::map<VersionId, Function*> by_version_;
  std::map<std::uint64_t, Call> calls_;
  std::map<Ticket, std::uint64_t> by_ticket_;
  std::multimap<Instant, std::function<void()>> agenda_;
  std::uint64_t calls_made_ = 0, invoking_ = 0, steps_ = 0, hash_ = 0xcbf29ce484222325;
  std::size_t open_ = 0;
  int last_cold_ = -1;
  Instant next_tick_{}, over_since_ = Instant::never();
  std::string last_decision_;
};

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) {
  const std::uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const std::uint64_t runs = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  for (std::uint64_t s = seed; s < seed + runs; ++s) {
    const std::uint64_t trace = mayfly::Simulation(s).run();
    if (s % 10 == 0 && mayfly::Simulation(s).run() != trace) {
      std::fprintf(stderr, "FAILED: seed %llu does not replay\n", static_cast<unsigned long long>(s));
      return 1;
    }
  }
  std::printf("ok: %llu seeds\n", static_cast<unsigned long long>(runs));
}
