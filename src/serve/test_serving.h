// For tests: a Dispatcher on a TestFleet, a client that takes each reply and says that it was sent, and the list of what was
// recorded. Demand starts `instances`, unless the test decides otherwise.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "instances/test_fleet.h"
#include "serve/dispatcher.h"

namespace mayfly::serve {

class TestClient final : public ReplySink {
 public:
  struct Answer {
    bool ok = false;
    Error error;
    int version = 0;
    Phases phases;
  };
  void on_reply(Ticket ticket, InvocationReply&& reply) override {
    const bool added = answers.emplace(ticket, Answer{reply.ok, reply.error, reply.version, reply.phases}).second;
    ASSERT(added, "a call has one reply");
    order.push_back(ticket);
    if (replied) replied(ticket);
  }
  std::map<Ticket, Answer> answers;
  std::vector<Ticket> order;               // in which they were answered
  std::function<void(Ticket)> replied;     // from inside the reply, as a protocol does
};

struct TestFunction {
  std::string name = "fraud";
  VersionId version{11};                   // number 1, which "live" names
  FunctionId function{1};
  Duration timeout = std::chrono::seconds(30);
  Bytes body_max = 1_MiB;
  int queue_max = 10'000;
  bool has_template = false;
};

class TestServing final : public DispatcherEvents {
 public:
  struct Record {
    domain::UsageRecord usage;
    TraceId trace;
    std::string error;                     // "" where it was answered
  };

  explicit TestServing(const instances::FakeBehaviour& behaviour = instances::steady(), Dispatcher::Limits limits = {})
      : world(behaviour), dispatcher(world.turn, world.fleet, routes, *this, 1, limits) {
    world.attach(dispatcher);
    world.end_turn = [this] {
      const auto tick = [this] { return std::min(dispatcher.tick(), world.fleet.tick()); };
      tick();
      dispatcher.flush();
      return tick();
    };
    client.replied = [this](Ticket ticket) { dispatcher.sent(ticket, world.turn.now, 100); };
  }

  instances::Group& add(const TestFunction& f = {}) {
    routes.set(f.name, {.targets = {{.version = f.version, .function = f.function, .number = 1, .timeout = f.timeout,
                                     .body_max = f.body_max, .queue_max = f.queue_max}},
                        .aliases = {{.name = "live", .weights = {{.version = 1}}}}});
    instances::VersionPlan plan{.version = f.version, .function = f.function, .function_name = f.name, .number = 1,
                                .instance = {.role = domain::Role::instance, .compiled = true}};
    if (f.has_template) plan.template_ = instances::StartOrder{.role = domain::Role::template_, .compiled = true};
    return world.fleet.define(std::move(plan));
  }
  // So many instances that are ready.
  void warm(instances::Group& group, int count) {
    world.fleet.want(group, count);
    world.poke();
    play(std::chrono::seconds(1));
  }
  Ticket call(const std::string& function = "fraud", Duration timeout = {}) {
    world.poke();
    return dispatcher.invoke({.function = function, .body = "{}", .arrived = world.turn.now, .timeout = timeout}, client);
  }
  void play(Duration span) { world.play(span); }
  bool answered(Ticket ticket) const { return client.answers.contains(ticket); }
  const TestClient::Answer& answer(Ticket ticket) const { return client.answers.at(ticket); }
  Lane& lane(VersionId version = {11}) { return *dispatcher.find_lane(version); }

  // DispatcherEvents
  void on_demand(Lane& lane) override { demanded(lane); }
  void on_record(const domain::UsageRecord& record, const TraceId& trace, const Error* error) override {
    records.push_back({record, trace, error ? error->message : std::string()});
  }
  instances::Group& group_of(const Target& target) override { return *world.fleet.find(target.version); }

  int instances = 1;                       // that demand starts
  std::function<void(Lane&)> demanded = [this](Lane& lane) { world.fleet.want(*lane.group, instances); };
  TestClient client;
  std::vector<Record> records;
  Routes routes;
  instances::TestFleet world;
  Dispatcher dispatcher;
};

}  // namespace mayfly::serve
