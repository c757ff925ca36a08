// The calls of an Azure app: what its bindings read comes first, then the program, then what they write, then the answer.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "os/clock.h"
#include "os/listener.h"
#include "worker/http_host.h"

namespace mayfly::worker {
namespace {

constexpr int kThreadsMax = 8;
constexpr std::size_t kVisitsWaitingMax = 256;

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

}  // namespace

void HttpHost::plan_azure(std::uint64_t ticket) {
  Call& call = calls_.at(ticket);
  const std::string_view bytes = call.frame.bytes();
  auto plan = azure_->plan(bytes.substr(0, call.frame.head.json_size), bytes.substr(call.frame.head.json_size),
                           {.now = os::wall_now(), .random = Random(os::random_seed()), .function = {}});
  if (!plan) return give_back(ticket, plan.error());
  call.plan = *std::move(plan);
  if (call.plan.reads.empty()) return ask_azure(ticket, {});
  auto visit = std::make_unique<Visit>();
  visit->plan = call.plan;
  visit_store(ticket, std::move(visit));
}

void HttpHost::ask_azure(std::uint64_t ticket, const std::vector<AzureInput>& inputs) {
  Call& call = calls_.at(ticket);
  const std::string_view bytes = call.frame.bytes();
  auto request = azure_->request(bytes.substr(0, call.frame.head.json_size), bytes.substr(call.frame.head.json_size), call.plan, inputs);
  if (!request) return give_back(ticket, request.error());
  call.azure = *std::move(request);
  if (call.azure.form == AzureApp::Form::answered) {
    loop_.cancel(call.deadline);
    reply(call, {.json_size = call.azure.head_size, .rows = 1, .batch_rows = 1}, call.azure.bytes);
    calls_.erase(ticket);
    return;
  }
  pass(ticket, call.azure.bytes.empty() ? bytes : std::string_view(call.azure.bytes));
}

void HttpHost::azure_answered(std::uint64_t ticket, const Forward::Answer& answer) {
  Call& call = calls_.at(ticket);
  auto translated = azure_->answer(call.azure, answer.head, answer.body, call.plan);
  if (!translated) return give_back(ticket, translated.error());
  if (!translated->log.empty()) static_cast<void>(std::fputs(translated->log.c_str(), stderr));
  call.held = *std::move(translated);
  auto visit = std::make_unique<Visit>();
  visit->writes = std::exchange(call.held.writes, {});
  if (!visit->writes.empty()) return visit_store(ticket, std::move(visit));
  let_held_go(ticket);
}

// The call's deadline is the visit's.
void HttpHost::visit_store(std::uint64_t ticket, std::unique_ptr<Visit> visit) {
  Call& call = calls_.at(ticket);
  if (!pool_) pool_ = std::make_unique<os::Pool>(loop_, std::clamp(order_.concurrency, 1, kThreadsMax), kVisitsWaitingMax);
  call.visit = ++visits_made_;
  const Instant deadline{Duration(static_cast<Duration::rep>(call.frame.head.deadline_ns))};
  visit->within = deadline - os::monotonic_now();
  Visit& there = *visits_.emplace(call.visit, std::move(visit)).first->second;
  const auto go = [this, &there] {
    const StoreTrip trip{.reach = reach_, .within = there.within, .stop = there.stop};
    if (there.stop) return;
    if (there.writes.empty()) there.inputs = read_places(there.plan.reads, trip);
    else there.written = write_places(there.writes, trip);
  };
  if (pool_->run(go, [this, ticket, number = call.visit] { visited(ticket, number); })) return;
  visits_.erase(std::exchange(call.visit, 0));
  give_back(ticket, {Code::exhausted, std::to_string(kVisitsWaitingMax) + " calls of this instance wait for their bindings: try later"});
}

void HttpHost::visited(std::uint64_t ticket, std::uint64_t number) {
  const auto node = visits_.extract(number);
  const auto at = calls_.find(ticket);
  if (end_ || node.empty() || at == calls_.end() || at->second.visit != number) return;  // nobody waits for it
  Call& call = at->second;
  call.visit = 0;
  const Visit& visit = *node.mapped();
  if (visit.writes.empty()) {
    if (!visit.inputs) return give_back(ticket, visit.inputs.error());
    return ask_azure(ticket, *visit.inputs);
  }
  if (!visit.written) return give_back(ticket, visit.written.error());
  let_held_go(ticket);
}

void HttpHost::let_held_go(std::uint64_t ticket) {
  Call& call = calls_.at(ticket);
  loop_.cancel(call.deadline);
  let_go(call);
  const domain::ReplyHead head{.json_size = call.held.head_size, .run_ns = ns(os::monotonic_now() - call.begun), .rows = 1,
                               .batch_rows = 1};
  reply(call, head, call.held.bytes);
  calls_.erase(ticket);
  stop_if_idle();
}

void HttpHost::leave_store(Call& call) {
  if (const auto at = visits_.find(std::exchange(call.visit, 0)); at != visits_.end()) at->second->stop = true;
}

// Its program has nothing to do with it, now or any more.
void HttpHost::give_back(std::uint64_t ticket, const Error& error) {
  const auto at = calls_.find(ticket);
  loop_.cancel(at->second.deadline);
  let_go(at->second);
  refuse(at->second, error);
  calls_.erase(at);
  stop_if_idle();
}

}  // namespace mayfly::worker
