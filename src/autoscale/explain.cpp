// The words for decide.h: names for programs, a sentence for people.
#include <algorithm>
#include <array>
#include <cstdio>

#include "autoscale/decide.h"
#include "base/assert.h"
#include "base/units.h"

namespace mayfly::autoscale {
namespace {

std::string count(int n, const char* one, const char* many) { return std::to_string(n) + " " + (n == 1 ? one : many); }
std::string instances(int n) { return count(n, "instance", "instances"); }

std::string rate(double per_second) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), per_second < 10 ? "%.1f requests/s" : "%.0f requests/s", per_second);
  return text.data();
}

std::string target_of(const Policy& policy) { return to_text(policy.target_p99.value_or(Duration{})); }

std::string start_of(const Observation& seen) {
  return to_text(seen.start_cost) + (seen.start_is_fork ? " (a fork)" : "");
}

std::string because(const Policy& policy, const Observation& seen, const Decision& d) {
  const std::string waiting = count(seen.waiting, "request waits", "requests wait");
  switch (d.reason) {
    case Reason::steady:
      if (seen.waiting > 0) return waiting + " about " + to_text(d.wait) + "; one more instance costs " + start_of(seen);
      return instances(d.instances) + (d.instances == 1 ? " does" : " do") + " for " + rate(d.memory.rate_stable);
    case Reason::first_request: return waiting + " and nothing runs; a start costs " + start_of(seen);
    case Reason::queue: return (seen.waiting > 0 ? waiting : count(seen.in_flight, "request runs or waits", "requests run or wait")) +
        " about " + to_text(d.wait) + "; one more instance costs " + start_of(seen);
    case Reason::panic:
      if (d.instances > d.before)
        return rate(d.memory.rate_panic) + " in the last " + to_text(policy.panic_window) + " need " + instances(d.needed);
      return "a burst ended less than " + to_text(policy.stable_window) + " ago; nothing shrinks until then";
    case Reason::rate: return rate(d.memory.rate_stable) + " need " + instances(d.needed);
    case Reason::target:
      return instances(d.needed) + " keep p99 at about " + to_text(d.predicted_p99) + ", under the target of " + target_of(policy);
    case Reason::target_unreachable:
      return "no number of instances reaches the p99 target of " + target_of(policy) + ": one request takes " + to_text(seen.service_mean) +
             ", and 1 in 100 " + to_text(std::max(seen.service_p99, seen.service_mean)) + " or longer";
    case Reason::surplus: return instances(d.needed) + " would do; kept until that has lasted";
    case Reason::shrink:
      return instances(d.instances) + " did for the last " + to_text(std::min(policy.keep.keep_alive, policy.stable_window));
    case Reason::keep_alive: return "idle for " + to_text(d.idle) + "; kept for " + to_text(policy.keep.keep_alive) +
        (policy.keep.learned ? " after a request, as its calls suggest" : " after a request");
    case Reason::idle: return "idle for " + to_text(d.idle);
    case Reason::pre_warm: return "idle for " + to_text(d.idle) + "; the next call is expected about now";
    case Reason::minimum: return "the minimum is " + instances(policy.min);
  }
  ASSERT(false, "a reason without words");
  return {};
}

}  // namespace

std::string_view name(Reason reason) {
  switch (reason) {
    case Reason::steady: return "steady";
    case Reason::first_request: return "first_request";
    case Reason::queue: return "queue";
    case Reason::panic: return "panic";
    case Reason::rate: return "rate";
    case Reason::target: return "target";
    case Reason::target_unreachable: return "target_unreachable";
    case Reason::surplus: return "surplus";
    case Reason::shrink: return "shrink";
    case Reason::keep_alive: return "keep_alive";
    case Reason::idle: return "idle";
    case Reason::pre_warm: return "pre_warm";
    case Reason::minimum: return "minimum";
  }
  ASSERT(false, "a reason without a name");
  return "?";
}

std::string_view name(Limit limit) {
  switch (limit) {
    case Limit::none: return "none";
    case Limit::max: return "max";
    case Limit::cores: return "cores";
    case Limit::memory: return "memory";
    case Limit::growth: return "growth";
  }
  ASSERT(false, "a limit without a name");
  return "?";
}

std::string explain(const Policy& policy, const Observation& seen, const Decision& d) {
  std::string text = because(policy, seen, d);
  switch (d.limit) {
    case Limit::none: break;
    case Limit::max: text += "; more than the maximum of " + std::to_string(policy.max) + " is not allowed"; break;
    case Limit::cores: text += "; more would only share the same cores"; break;
    case Limit::memory: text += "; memory has room for no more"; break;
    case Limit::growth: text += "; more follow once these are there"; break;
  }
  return text;
}

}  // namespace mayfly::autoscale
