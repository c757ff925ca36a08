#include "autoscale/queueing.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace mayfly::autoscale {
namespace {

constexpr double kTail = 0.01;       // beyond the 99th percentile
constexpr double kZ99 = 2.3263479;   // of the standard normal distribution
constexpr double kVariationMax = kZ99 * kZ99 * 9 / 4;  // where quantile99() has its greatest value
constexpr double kSecondsMax = 1e6;  // keeps a wait near saturation inside Duration

// Of a gamma distribution with this mean and squared variation, by Wilson and Hilferty.
double quantile99(double mean, double variation2) {
  const double v = std::min(variation2, kVariationMax);
  const double root = 1 - v / 9 + kZ99 * std::sqrt(v) / 3;
  return mean * root * root * root;
}

Duration duration_of(double seconds) { return from_seconds(std::clamp(seconds, 0.0, kSecondsMax)); }

}  // namespace

double erlang_c(int servers, double offered) {
  ASSERT(servers >= 1 && offered >= 0, "a queue has servers, and no negative load");
  if (offered >= servers) return 1;
  double blocked = 1;  // Erlang B of no server
  for (int n = 1; n <= servers; ++n) blocked = offered * blocked / (n + offered * blocked);
  const double used = offered / servers;
  return blocked / (1 - used * (1 - blocked));
}

double squared_variation(double mean, double p99) {
  if (mean <= 0 || p99 <= mean) return 0;
  // quantile99() solved for the smaller root.
  const double root = kZ99 * kZ99 / 9 - 4.0 / 9 * (std::cbrt(p99 / mean) - 1);
  if (root <= 0) return kVariationMax;
  const double variation = 4.5 * (kZ99 / 3 - std::sqrt(root));
  return variation * variation;
}

Forecast forecast(const Traffic& traffic, int servers) {
  ASSERT(traffic.service_mean > 0, "a queueing model needs a service time");
  const double offered = traffic.arrivals * traffic.service_mean;
  const double mean = traffic.response_mean > 0 ? traffic.response_mean : traffic.service_mean;
  const double p99 = std::max(mean, traffic.response_p99);
  if (offered >= servers) {
    const Duration forever = duration_of(kSecondsMax);
    return {.wait_mean = forever, .wait_p99 = forever, .response_p99 = forever};
  }
  Forecast out{.stable = true, .wait_probability = erlang_c(servers, offered)};
  const double variation2 = squared_variation(mean, p99);
  const double burstiness = (traffic.arrival_cv2 + variation2) / 2;
  const double wait_of_waiters = burstiness * traffic.service_mean / (servers - offered);
  const double wait_mean = out.wait_probability * wait_of_waiters;
  const double wait_p99 = out.wait_probability > kTail ? wait_of_waiters * std::log(out.wait_probability / kTail) : 0;
  out.wait_mean = duration_of(wait_mean);
  out.wait_p99 = duration_of(wait_p99);
  const double response = mean + wait_mean;
  const double variance = variation2 * mean * mean + 2 * wait_mean * wait_of_waiters - wait_mean * wait_mean;
  out.response_p99 = duration_of(std::max({p99, wait_p99 + mean, quantile99(response, variance / (response * response))}));
  return out;
}

Fit fit_target(const Traffic& traffic, Duration target, int servers_max) {
  ASSERT(servers_max >= 1, "a fit needs a server to try");
  const Duration mean = duration_of(traffic.response_mean > 0 ? traffic.response_mean : traffic.service_mean);
  int enough = 0;
  for (int servers = 1; servers <= servers_max; ++servers) {
    const Forecast seen = forecast(traffic, servers);
    if (!seen.stable) continue;
    if (seen.response_p99 <= target) return {servers, true, seen};
    if (enough == 0 && seen.wait_p99 <= mean) enough = servers;
    if (seen.wait_p99 <= Duration{} && enough > 0) break;  // only the service is left: more servers change nothing
  }
  const int servers = enough > 0 ? enough : servers_max;
  return {servers, false, forecast(traffic, servers)};
}

}  // namespace mayfly::autoscale
