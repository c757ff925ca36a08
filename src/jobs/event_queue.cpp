#include "jobs/event_queue.h"

#include <algorithm>
#include <memory>

#include "base/assert.h"
#include "base/hex.h"
#include "domain/arn.h"
#include "domain/json.h"

namespace mayfly::jobs {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

constexpr std::uint64_t kBodyMax = 1 << 20;       // of an event, as there
constexpr int kHopsMax = 16;                      // outcomes of outcomes: there, too, recursion is ended after as many
constexpr Duration kDiskWait = 1s;                // after a write that failed
constexpr std::uint64_t kToldMax = 256 << 10;     // bytes of an answer that a destination is told

std::chrono::microseconds us(Duration d) { return std::chrono::duration_cast<std::chrono::microseconds>(d); }

// As JSON where it is some.
Json payload_of(std::string_view text) {
  Json json = domain::parse_json<Json>(text);
  return json.is_discarded() ? Json(text) : json;
}

enum class Kind : std::uint8_t { succeeded, failed, no_room, refused };

Kind kind_of(const serve::InvocationReply& reply) {
  if (reply.ok) return Kind::succeeded;
  if (reply.function_error || reply.died) return Kind::failed;
  switch (reply.error.code) {
    case Code::exhausted: return Kind::no_room;
    case Code::internal:
    case Code::unavailable:
    case Code::deadline_exceeded:
    case Code::cancelled:
    case Code::data_loss: return Kind::failed;
    default: return Kind::refused;                // another time it would be refused again
  }
}

}  // namespace

struct EventQueue::Outcome {
  Kind kind{};
  int version = 0;
  std::string payload;
};

EventQueue::EventQueue(const Turn& turn, store::Events& events, Background background, serve::Invoker& invoker, Policy policy,
                       EventOptions options)
    : turn_(turn), events_(events), background_(std::move(background)), invoker_(invoker), policy_(std::move(policy)),
      options_(options) {}

Result<void> EventQueue::open() {
  TRY(auto left, events_.load());
  for (store::Event& event : left) {
    bytes_.count += event.body_size;
    keep(std::move(event));
  }
  return {};
}

void EventQueue::add(store::Event event, Done done) {
  event.body_size = event.body.size();
  const Bytes size{event.body_size - event.context_size};
  if (size.count > kBodyMax)
    return done(fail(Code::invalid_argument, "an event of " + to_text(size) + "; at most " + to_text(Bytes{kBodyMax}) + " are kept"));
  const std::size_t count = items_.size() + pending_.added.size();
  if (count >= options_.waiting_max || bytes_.count + event.body_size > options_.bytes_max.count)
    return done(fail(Code::exhausted,
                     std::to_string(count) + " events of " + to_text(bytes_) + " wait: no more are taken; try again later"));
  bytes_.count += event.body_size;
  event.queued = event.due = turn_.wall;
  pending_.added.push_back(std::move(event));
  adders_.push_back(std::move(done));
  wake();
}

void EventQueue::keep(store::Event event) {
  lanes_[event.function].due.emplace(event.due.since_epoch, event.id);
  Item item{.event = std::move(event)};
  item.held = !item.event.body.empty() && held_.count + item.event.body_size <= options_.held_max.count;
  if (item.held) held_.count += item.event.body_size;
  else std::string().swap(item.event.body);
  items_.emplace(item.event.id, std::move(item));
  wake();
}

Instant EventQueue::end_turn() {
  if (turn_.now < next_) return next_;
  next_ = Instant::never();                       // whatever happens from here on says when
  write();
  for (bool any = true; any;) {
    any = false;
    for (auto& [function, lane] : lanes_) any = start_next(lane) || any;
  }
  std::erase_if(lanes_, [](const auto& lane) { return lane.second.due.empty() && lane.second.running == 0; });
  if (running_.size() < static_cast<std::size_t>(options_.running_max))
    for (const auto& [function, lane] : lanes_)
      if (!lane.due.empty() && lane.running < options_.running_of_one_max)
        next_ = std::min(next_, turn_.now + std::max(Duration{}, Duration(lane.due.begin()->first - turn_.wall.since_epoch)));
  return next_ = std::max(next_, turn_.now);
}

bool EventQueue::start_next(Lane& lane) {
  const bool room = lane.running < options_.running_of_one_max && running_.size() < static_cast<std::size_t>(options_.running_max);
  if (!room || lane.due.empty() || lane.due.begin()->first > turn_.wall.since_epoch) return false;
  Item& item = items_.at(lane.due.begin()->second);
  lane.due.erase(lane.due.begin());
  ++lane.running;
  const domain::EventPolicy policy = policy_(item.event.function, item.event.qualifier);
  if (item.event.queued.since_epoch + us(policy.age_max) <= turn_.wall.since_epoch) {
    finish(item, policy, {.kind = Kind::failed}, "EventAgeExceeded");
  } else if (item.held) {
    run(item);
  } else {
    read_body(item);
  }
  return true;
}

void EventQueue::read_body(Item& item) {
  auto read = std::make_shared<Result<std::string>>(std::string());
  const std::uint64_t id = item.event.id;
  const bool taken = background_([this, read, id] { *read = events_.body(id); }, [this, read, id] {
    Item& found = items_.at(id);
    if (!*read) return settle(found, {.kind = Kind::no_room, .payload = read->error().message});
    found.event.body = **std::move(read);
    found.held = true;
    held_.count += found.event.body_size;
    run(found);
  });
  if (!taken) again(item, options_.room_wait);
}

void EventQueue::run(Item& item) {
  const store::Event& event = item.event;
  const std::uint64_t id = event.id;
  const std::string function = event.function, qualifier = event.qualifier;  // an answer from inside may be the event's end
  serve::Invocation call{.function = function, .qualifier = qualifier, .format = domain::WireFormat::plain_json,
                         .json_size = event.body_size - event.context_size, .context_size = event.context_size, .arrived = turn_.now,
                         .request_id_high = event.request_id_high, .request_id_low = event.request_id_low};
  if (const auto put = serve::put_body(call, event.body); !put)
    return settle(item, {.kind = Kind::no_room, .payload = put.error().message});
  starting_ = id;
  const Ticket ticket = invoker_.invoke(std::move(call), *this);
  if (std::exchange(starting_, 0) != 0) running_.emplace(ticket, id);
}

void EventQueue::on_reply(Ticket ticket, serve::InvocationReply&& reply) {
  const auto running = running_.find(ticket);
  const std::uint64_t id = starting_ ? std::exchange(starting_, 0) : running == running_.end() ? 0 : running->second;
  if (running != running_.end()) running_.erase(running);
  ASSERT(id != 0, "a reply to no event");
  Outcome outcome{.kind = kind_of(reply), .version = reply.version};
  if (reply.ok || reply.function_error) outcome.payload = serve::body_text(reply, kToldMax);
  else outcome.payload = Json{{"errorMessage", reply.error.message}}.dump(-1, ' ', false, Json::error_handler_t::replace);
  invoker_.sent(ticket, turn_.now, 0);
  settle(items_.at(id), outcome);
}

void EventQueue::settle(Item& item, const Outcome& outcome) {
  const domain::EventPolicy policy = policy_(item.event.function, item.event.qualifier);
  const auto expired = [&](Duration wait) {
    return item.event.queued.since_epoch + us(policy.age_max) <= turn_.wall.since_epoch + us(wait);
  };
  switch (outcome.kind) {
    case Kind::succeeded: return finish(item, policy, outcome, "Success");
    case Kind::refused: ++item.event.attempts; return finish(item, policy, outcome, "RetriesExhausted");
    case Kind::failed: {
      const Duration wait = options_.retry_wait * ++item.event.attempts;
      if (item.event.attempts > policy.retries) return finish(item, policy, outcome, "RetriesExhausted");
      if (expired(wait)) return finish(item, policy, outcome, "EventAgeExceeded");
      ++counts_.retried;
      return again(item, wait);
    }
    case Kind::no_room: {
      const Duration wait = std::min(options_.room_wait_max, options_.room_wait * (1 << std::min(item.event.waits++, 16)));
      if (expired(wait)) return finish(item, policy, outcome, "EventAgeExceeded");
      return again(item, wait);
    }
  }
}

void EventQueue::leave(Item& item) {
  --lanes_.at(item.event.function).running;
  wake();
}

void EventQueue::again(Item& item, Duration wait) {
  leave(item);
  item.event.due = {turn_.wall.since_epoch + us(wait)};
  lanes_.at(item.event.function).due.emplace(item.event.due.since_epoch, item.event.id);
  pending_.changed.push_back({.id = item.event.id, .due = item.event.due, .attempts = item.event.attempts, .waits = item.event.waits});
  if (!item.held || held_.count <= options_.held_max.count) return;
  item.held = false;
  held_.count -= item.event.body_size;
  std::string().swap(item.event.body);
}

void EventQueue::finish(Item& item, const domain::EventPolicy& policy, const Outcome& outcome, std::string_view condition) {
  leave(item);
  const bool good = outcome.kind == Kind::succeeded;
  ++(good ? counts_.succeeded : counts_.failed);
  if (const std::string& target = good ? policy.on_success : policy.on_failure; !target.empty()) tell(item, outcome, condition, target);
  pending_.done.push_back(item.event.id);
  bytes_.count -= item.event.body_size;
  if (item.held) held_.count -= item.event.body_size;
  items_.erase(item.event.id);
}

// The record of an invocation, as AWS sends it (docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).
void EventQueue::tell(const Item& item, const Outcome& outcome, std::string_view condition, const std::string& target) {
  const store::Event& event = item.event;
  if (event.hops >= kHopsMax) return;
  const std::string qualifier = event.qualifier.empty() ? "$LATEST" : event.qualifier;
  Json record{{"version", "1.0"},
              {"timestamp", rfc3339(turn_.wall)},
              {"requestContext", {{"requestId", uuid_text(event.request_id_high, event.request_id_low)},
                                  {"functionArn", domain::function_arn(event.function) + ":" + qualifier},
                                  {"condition", condition},
                                  {"approximateInvokeCount", event.attempts + (outcome.kind == Kind::succeeded ? 1 : 0)}}},
              {"requestPayload", payload_of(std::string_view(event.body).substr(0, event.body.size() - event.context_size))},
              {"responseContext", {{"statusCode", 200},
                                   {"executedVersion", outcome.version ? std::to_string(outcome.version) : "$LATEST"}}},
              {"responsePayload", payload_of(outcome.payload)}};
  if (outcome.kind != Kind::succeeded) record["responseContext"]["functionError"] = "Unhandled";
  const std::size_t colon = target.find(':');
  store::Event told{.function = target.substr(0, colon), .qualifier = colon == target.npos ? "" : target.substr(colon + 1),
                    .body = record.dump(-1, ' ', false, Json::error_handler_t::replace),
                    .request_id_high = event.request_id_high, .request_id_low = event.request_id_low,
                    .queued = turn_.wall, .due = turn_.wall, .hops = event.hops + 1};
  told.body_size = told.body.size();
  bytes_.count += told.body_size;
  pending_.added.push_back(std::move(told));
  adders_.push_back(nullptr);
}

// One at a time: what comes meanwhile is written together.
void EventQueue::write() {
  if (writing_ || (pending_.added.empty() && pending_.changed.empty() && pending_.done.empty())) return;
  if (turn_.now < write_after_) {
    next_ = std::min(next_, write_after_);
    return;
  }
  auto changes = std::make_shared<store::EventChanges>(std::exchange(pending_, {}));
  auto adders = std::make_shared<std::vector<Done>>(std::exchange(adders_, {}));
  auto result = std::make_shared<Result<void>>();
  writing_ = background_([this, changes, result] { *result = events_.apply(*changes); },
                         [this, changes, adders, result] { written(*changes, *adders, *result); });
  if (!writing_) written(*changes, *adders, fail(Code::exhausted, "too much waits for the disk: try again later"));
}

void EventQueue::written(store::EventChanges& changes, std::vector<Done>& adders, Result<void> result) {
  writing_ = false;
  wake();
  if (result) {
    for (std::size_t i = 0; i < changes.added.size(); ++i) {
      ++counts_.accepted;
      keep(std::move(changes.added[i]));
      if (adders[i]) adders[i]({});
    }
    return;
  }
  // Who adds is told. What has an outcome keeps it, and with it the events that tell of it.
  write_after_ = turn_.now + kDiskWait;
  for (std::size_t i = 0; i < changes.added.size(); ++i) {
    if (adders[i]) {
      bytes_.count -= changes.added[i].body_size;
      adders[i](fail(result.error()));
    } else {
      pending_.added.push_back(std::move(changes.added[i]));
      adders_.push_back(nullptr);
    }
  }
  pending_.changed.insert(pending_.changed.begin(), changes.changed.begin(), changes.changed.end());
  pending_.done.insert(pending_.done.begin(), changes.done.begin(), changes.done.end());
}

}  // namespace mayfly::jobs
