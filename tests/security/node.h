// A node's side for tests: a loop, a launcher, and everything that it was told, in order.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "instances/zygote_launcher.h"
#include "os/clock.h"
#include "standin.h"
#include "worker/zygote.h"

namespace mayfly::security {

using namespace std::chrono_literals;

struct Heard {
  int ready = 0, failed = 0, gone = 0;
  instances::ReadyReport report;
  Error error;
  instances::Death death;
  std::vector<std::string> replies;  // bodies
  std::vector<Code> codes;
  std::string log;
};

class Node : public instances::LauncherEvents {
 public:
  explicit Node(instances::ZygoteLauncherOptions options = {}) : loop(std::move(*os::Loop::create())) {
    options.program = "/proc/self/exe";
    if (options.engine_library.empty()) options.engine_library = "standin";
    launcher = std::make_unique<instances::ZygoteLauncher>(loop, *this, options);
  }

  bool until(const std::function<bool()>& done, Duration most = 10s) {
    const Instant end = os::monotonic_now() + most;
    while (!done()) {
      if (os::monotonic_now() >= end) return false;
      launcher->flush();
      loop.turn(10ms);
    }
    return true;
  }
  bool until_blank(int count = 1) {
    return until([&] { return launcher->blanks_ready() >= count; });
  }

  ProcessId start(domain::Role role, const std::string& name, std::function<void(instances::StartOrder&)> change = {}) {
    instances::StartOrder order{.role = role, .model_name = name, .files = {{"model.onnx", "/proc/self/exe", Bytes{4096}}},
                                .memory_max = 256_MiB};
    if (change) change(order);
    const ProcessId id{++made};
    launcher->start(id, order);
    return id;
  }
  ProcessId fork(ProcessId from) {
    const ProcessId id{++made};
    launcher->fork(id, from);
    return id;
  }
  bool ready(ProcessId id) {
    return until([&] { return heard[id].ready + heard[id].failed + heard[id].gone > 0; }) && heard[id].ready == 1;
  }
  bool gone(ProcessId id, Duration most = 10s) {
    return until([&] { return heard[id].gone > 0; }, most);
  }
  bool send(ProcessId id, std::string_view body) {
    return launcher->send(id, {.ticket = Ticket{++tickets}, .deadline = Instant::never(), .body = body});
  }
  bool replies(ProcessId id, std::size_t count) {
    return until([&] { return heard[id].replies.size() >= count || heard[id].gone > 0; }) && heard[id].replies.size() >= count;
  }

  void on_ready(ProcessId id, const instances::ReadyReport& report) override {
    ++heard[id].ready;
    heard[id].report = report;
    order_kept = order_kept && heard[id].failed == 0 && heard[id].gone == 0;
  }
  void on_failed(ProcessId id, const Error& error, std::string_view) override {
    ++heard[id].failed;
    heard[id].error = error;
    order_kept = order_kept && heard[id].ready == 0 && heard[id].gone == 0;
  }
  void on_reply(ProcessId id, instances::Reply&& reply) override {
    order_kept = order_kept && heard[id].ready == 1 && heard[id].gone == 0;
    std::string body(reply.body);
    if (reply.body_memfd) body = os::map_file(reply.body_memfd.get(), reply.head.body_size, os::Access::read)->text();
    heard[id].replies.push_back(std::move(body));
    heard[id].codes.push_back(static_cast<Code>(reply.head.code));
  }
  void on_gone(ProcessId id, const instances::Death& death) override {
    ++heard[id].gone;
    heard[id].death = death;
  }
  void on_log(ProcessId id, const domain::Printed& line) override { heard[id].log.append(line.text).append("\n"); }

  os::Loop loop;
  std::map<ProcessId, Heard> heard;
  std::unique_ptr<instances::ZygoteLauncher> launcher;
  std::uint64_t made = 0, tickets = 0;
  bool order_kept = true;
};

// A node that starts processes, some of them busy, prints their pids, and waits to be killed.
int run_doomed_node();

}  // namespace mayfly::security
