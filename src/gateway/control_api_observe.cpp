// The part of the control API that only looks: logs, usage, instances, the node.
#include <algorithm>
#include <charconv>

#include "gateway/control_api.h"
#include "gateway/control_json.h"
#include "gateway/request_id.h"

namespace mayfly::gateway {
namespace {

constexpr std::uint64_t kUnsentMax = 1 << 20;  // a follower that has this much to read is not fed

void answer(const Responder& to, const Json& json) { to.send({.body = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"}); }

Result<std::uint64_t> number_in(const HttpRequest& request, std::string_view name, std::uint64_t missing, std::uint64_t max) {
  const auto text = request.query_value(name);
  if (!text) return missing;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error == std::errc() && end == text->data() + text->size() && number <= max) return number;
  return fail(Code::invalid_argument,
              "'" + std::string(name) + "' is '" + text->substr(0, 64) + "': write a whole number from 0 to " + std::to_string(max));
}

Result<WallTime> time_in(const HttpRequest& request, std::string_view name, WallTime missing, WallTime now) {
  const auto text = request.query_value(name);
  if (!text) return missing;
  auto time = parse_time(*text, now);
  if (!time) return fail(Code::invalid_argument, "'" + std::string(name) + "': " + time.error().message);
  return time;
}

}  // namespace

void ControlApi::add_observation(Router& router) {
  router.add(Method::get, "/api/functions/{name}/logs",
             [this](HttpRequest& request, Responder to) { answer_logs(request.parameters[0], request, to); });
  router.add(Method::get, "/api/logs", [this](HttpRequest& request, Responder to) { answer_logs("", request, to); });
  router.add(Method::get, "/api/usage", [this](HttpRequest& request, Responder to) { answer_usage(request, to); });
  router.add(Method::get, "/api/instances", [this](HttpRequest&, Responder to) {
    Json list = Json::array();
    for (const auto& instance : control_.instances()) list.push_back(to_json(instance));
    answer(to, {{"instances", std::move(list)}});
  });
  router.add(Method::get, "/api/node", [this](HttpRequest&, Responder to) { answer(to, to_json(control_.node())); });
}

void ControlApi::answer_usage(const HttpRequest& request, const Responder& to) {
  const auto until = time_in(request, "until", turn_.wall, turn_.wall);
  if (!until) return to.fail(until.error());
  const auto since = time_in(request, "since", WallTime{until->since_epoch - std::chrono::hours(24)}, turn_.wall);
  if (!since) return to.fail(since.error());
  if (*since >= *until)
    return to.fail(
        {Code::invalid_argument, "'since' (" + to_rfc3339(*since) + ") is not before 'until' (" + to_rfc3339(*until) + "): swap them"});
  control_.usage(request.query_value("function").value_or(""), *since, *until, [to](const Result<control::UsageReport>& report) {
    if (!report) return to.fail(report.error());
    answer(to, to_json(*report));
  });
}

namespace {

// Which lines: ?after=&count=&request=&level=&version=&since=
Result<control::LogQuery> query_in(const HttpRequest& request, WallTime now) {
  control::LogQuery query;
  TRY(query.after, number_in(request, "after", 0, ~std::uint64_t{0}));
  TRY(query.count, number_in(request, "count", 100, kLogCountMax));
  TRY(const std::uint64_t version, number_in(request, "version", 0, 1'000'000'000));
  query.version = static_cast<int>(version);
  TRY(query.since, time_in(request, "since", {}, now));
  if (const auto id = request.query_value("request"); id && !id->empty()) {
    const RequestNumber number = request_number(*id);
    query.request_high = number.high;
    query.request_low = number.low;
  }
  if (const auto level = request.query_value("level"); level && !level->empty()) {
    query.least = domain::read_level(*level);
    if (query.least == domain::Level::none)
      return fail(Code::invalid_argument, "'level' is '" + level->substr(0, 64) + "': write trace, debug, info, warn, error or fatal");
  }
  return query;
}

}  // namespace

void ControlApi::answer_logs(std::string_view function, const HttpRequest& request, const Responder& to) {
  auto query = query_in(request, turn_.wall);
  if (!query) return to.fail(query.error());
  const auto wants = number_in(request, "follow", 0, 1);
  if (!wants) return to.fail(wants.error());
  std::uint64_t looked_at = query->after;          // before the lines are: what comes meanwhile is looked at again
  if (*wants != 0)
    if (const auto newest = control_.logs("", {.count = 1}); newest && !newest->empty()) looked_at = newest->back().sequence;
  const auto lines = control_.logs(function, *query);
  if (!lines) return to.fail(lines.error());
  std::string text;
  for (const auto& line : *lines) text += to_json_line(line) + "\n";
  if (*wants == 0) return to.send({.content_type = "application/x-ndjson", .body = std::move(text)});
  if (draining_) return to.fail({Code::unavailable, "the node is stopping: follow it again once it is back"});
  if (followers_.size() >= kFollowersMax)
    return to.fail(
        {Code::exhausted, std::to_string(kFollowersMax) + " answers with follow=1 are open already: close one, or ask without follow"});
  to.begin({.content_type = "application/x-ndjson", .body = {}});
  if (!text.empty()) to.write(text);
  query->after = std::max(query->after, looked_at);
  if (!lines->empty()) query->after = std::max(query->after, lines->back().sequence);
  follow({.to = to, .function = std::string(function), .query = *query});
}

void ControlApi::follow(Follower follower) {
  followers_.push_back(std::move(follower));
  if (followers_.size() == 1) timer_ = loop_.after(kFollowEvery, [this] { feed_followers(); });
}

void ControlApi::drain() {
  draining_ = true;
  loop_.cancel(timer_);
  for (const Follower& follower : followers_) follower.to.end();
  followers_.clear();
}

void ControlApi::feed_followers() {
  std::erase_if(followers_, [this](Follower& follower) { return !feed(follower); });
  timer_ = {};
  if (!followers_.empty()) timer_ = loop_.after(kFollowEvery, [this] { feed_followers(); });
}

bool ControlApi::feed(Follower& follower) {
  if (!follower.to.alive()) return false;
  if (follower.to.unsent() > kUnsentMax) return true;
  follower.query.count = kFollowedMax;
  const auto newest = control_.logs("", {.after = follower.query.after, .count = 1});
  const auto lines = control_.logs(follower.function, follower.query);
  if (!lines) {  // the function was deleted
    follower.to.end();
    return false;
  }
  if (newest && !newest->empty()) follower.query.after = newest->back().sequence;  // what fits nobody is not looked at again
  if (lines->empty()) return true;
  std::string text;
  for (const auto& line : *lines) text += to_json_line(line) + "\n";
  follower.to.write(text);
  return true;
}

}  // namespace mayfly::gateway
