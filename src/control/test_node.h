// For tests and simulations: a whole Node in virtual time, on a real store and made-up processes. Its two lines of background
// work do one thing after the other, each at its moment, as a thread would between two turns of the loop. To drop it is to
// crash: what is under way is gone, what the store has stays.
#pragma once
#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/assert.h"
#include "base/random.h"
#include "base/test_turn.h"
#include "control/node.h"
#include "domain/job_results.h"
#include "instances/fake_launcher.h"
#include "serve/test_serving.h"

namespace mayfly::control {

// The made-up processes, whose compile jobs write a file as real ones do.
class TestLauncher final : public instances::Launcher {
 public:
  TestLauncher(std::uint64_t seed, const Turn& turn, instances::LauncherEvents& events, const instances::FakeBehaviour& behaviour)
      : fake(seed, turn, events, behaviour) {}
  void start(ProcessId process, const instances::StartOrder& order) override {
    ++started[order.role];
    if (order.role == domain::Role::compile && compiles) std::ofstream(order.output) << "compiled " << order.model_name;
    if (order.role == domain::Role::optimize)
      std::ofstream(order.output + "/" + domain::kOptimizedFile) << "smaller " << order.model_name;
    fake.start(process, order);
  }
  void fork(ProcessId child, ProcessId from) override { fake.fork(child, from); }
  bool send(ProcessId process, const instances::Request& request) override { return fake.send(process, request); }
  void cancel(ProcessId process, Ticket ticket) override { fake.cancel(process, ticket); }
  void flush() override { fake.flush(); }
  bool freeze(ProcessId process) override { return fake.freeze(process); }
  void stop(ProcessId process) override { fake.stop(process); }
  void kill(ProcessId process) override { fake.kill(process); }
  instances::Usage measure(ProcessId process) override { return fake.measure(process); }

  bool compiles = true;                            // false: its file is missing
  std::map<domain::Role, int> started;
  instances::FakeLauncher fake;
};

// One answer that fits a check, a measurement and a search for a smaller model.
inline std::string test_job_result(bool template_allowed = true, const std::string& notes = "[]") {
  return R"({"signature": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                           "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}], "batches": true},
             "pack_weights": true, "pack_cold": false, "large_pages": false, "threads": 1, "cold_first_ns": 20000000,
             "warm_run_ns": 1000000, "fork_first_ns": 2000000, "private_bytes": 1000000,
             "own_bytes": 1, "own_packed_bytes": 2, "working_set": "", "template_allowed": )" +
         std::string(template_allowed ? "true" : "false") +
         R"(, "candidates": [{"recipe": "int8", "chosen": true, "changed": 3}], "notes": )" + notes + "}";
}

struct TestNodeOptions {
  std::string folder;                              // of the store
  std::uint64_t seed = 1;
  instances::FakeBehaviour behaviour = {.job_result = test_job_result()};
  NodeOptions node = {.version = "test", .compile_key = "engine/this-machine"};
  Duration work_max = std::chrono::milliseconds(5);  // of one piece of background work
};

class TestNode {
 public:
  TestNode(Turn& turn, const TestNodeOptions& options)
      : turn_(turn), random_(options.seed), work_max_(options.work_max), store_(open(options.folder)),
        node_(turn, *store_, line(0), line(1), options.node),
        launcher_(options.seed + 1, turn, node_.launcher_events(), options.behaviour) {
    node_.attach(launcher_);
    const auto opened = node_.open();
    ASSERT(opened, "the node opens what an earlier one left");
  }
  Node* operator->() { return &node_; }
  Node& node() { return node_; }
  store::Store& store() { return *store_; }
  TestLauncher& launcher() { return launcher_; }

  void at(Instant when, std::function<void()> task) { agenda_.emplace(std::max(when, turn_.now), std::move(task)); }

  // Turns the loop until `until`; the clock jumps from event to event.
  void play(Instant until) {
    for (;;) {
      const Instant task = agenda_.empty() ? Instant::never() : agenda_.begin()->first;
      const Instant next = std::min({launcher_.fake.next_wakeup(), next_tick_, task});
      if (next > until) break;
      jump(turn_, std::max(turn_.now, next));
      turn();
    }
    jump(turn_, until);
  }
  void play(Duration span) { play(turn_.now + span); }
  void turn() {
    launcher_.fake.advance();
    while (!agenda_.empty() && agenda_.begin()->first <= turn_.now) {
      const auto task = std::move(agenda_.begin()->second);
      agenda_.erase(agenda_.begin());
      task();
    }
    next_tick_ = node_.end_turn();
    ASSERT(next_tick_ > turn_.now, "a tick does not ask to be called at once, for ever");
  }
  // What a call on the Node makes due is seen by the turn that it belongs to.
  void poke() { next_tick_ = turn_.now; }

  // Plays until `begin(done)` has called done.
  template <class T>
  Result<T> wait(const std::function<void(Done<T>)>& begin) {
    std::optional<Result<T>> answer;
    begin([&answer](Result<T> result) {
      ASSERT(!answer, "an answer comes once");
      answer = std::move(result);
    });
    poke();
    const Instant end = turn_.now + std::chrono::minutes(20);
    while (!answer && turn_.now < end) play(std::chrono::milliseconds(1));
    ASSERT(answer, "an answer comes");
    return *std::move(answer);
  }

  // A call from beginning to end.
  serve::TestClient::Answer call(const std::string& function, const std::string& qualifier = "", serve::TraceId trace = {}) {
    serve::TestClient client;
    const Ticket ticket =
        node_.invoker().invoke({.function = function, .qualifier = qualifier, .body = "{}", .arrived = turn_.now,
                                .request_id_high = 0x0011223344556677, .request_id_low = 0x8899aabbccddeeff, .trace = trace}, client);
    poke();
    const Instant end = turn_.now + std::chrono::minutes(20);
    while (client.answers.empty() && turn_.now < end) play(std::chrono::milliseconds(1));
    ASSERT(client.answers.contains(ticket), "a call is answered");
    node_.invoker().sent(ticket, turn_.now, 2);
    return client.answers.at(ticket);
  }

  domain::FileRef upload(const std::string& path, const std::string& bytes) {
    const auto number = node_.begin_upload();
    ASSERT(number, "an upload begins");
    ASSERT(wait<void>([&](Done<void> done) { node_.append_upload(*number, bytes, std::move(done)); }), "an upload takes bytes");
    auto file = wait<domain::FileRef>([&](Done<domain::FileRef> done) { node_.finish_upload(*number, std::move(done)); });
    ASSERT(file, "an upload ends");
    file->path = path;
    return *file;
  }
  // Of everything, ever.
  UsageReport usage(const std::string& function = "") {
    const auto report = wait<UsageReport>([&](Done<UsageReport> done) {
      node_.usage(function, {}, {turn_.wall.since_epoch + std::chrono::hours(1)}, std::move(done));
    });
    ASSERT(report, "the usage is known");
    return *report;
  }
  Result<VersionView> deploy(DeployOrder order) {
    return wait<VersionView>([&](Done<VersionView> done) { node_.deploy(std::move(order), std::move(done)); });
  }

 private:
  static std::unique_ptr<store::Store> open(const std::string& folder) {
    auto store = store::Store::open({.folder = folder, .usage = {.segment = 1_MiB}});
    ASSERT(store, "the store opens");
    return *std::move(store);
  }
  Background line(std::size_t number) {
    return [this, number](std::function<void()> work, std::function<void()> done) {
      Instant& busy = busy_[number];
      const auto some = [this] { return work_max_ * random_.between(0, 1000) / 1000; };
      const Instant begins = std::max(turn_.now, busy) + some();
      busy = begins + some();
      at(begins, std::move(work));
      if (done) at(busy, std::move(done));
      return true;
    };
  }
  Turn& turn_;
  Random random_;
  const Duration work_max_;
  std::multimap<Instant, std::function<void()>> agenda_;
  Instant busy_[2]{}, next_tick_{};
  std::unique_ptr<store::Store> store_;
  Node node_;
  TestLauncher launcher_;
};

}  // namespace mayfly::control
