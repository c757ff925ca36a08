// How long requests wait at c instances: the M/G/c queue, approximated in closed form.
//
//   probability to wait   Erlang C (A. K. Erlang, 1917), by the recursion of Erlang B, which does not overflow
//   mean wait             Allen and Cunneen: the M/M/c wait times (Ca² + Cs²) / 2  (A. O. Allen, "Probability,
//                         Statistics and Queueing Theory", 2nd ed., 1990, ch. 5.3)
//   99th percentile       the wait of those who wait is taken as exponential with that mean (exact for M/M/c); the
//                         response is a gamma distribution with the mean and variance of wait and service together,
//                         its percentile by Wilson and Hilferty (1931), and no less than the wait's plus the mean
//
// Within 1 % of the exact M/M/1 response, within about 15 % of simulated M/M/c and M/D/c (queueing_test.cpp). Pure
// arithmetic; knows no instances.
#pragma once
#include "base/time.h"

namespace mayfly::autoscale {

struct Traffic {
  double arrivals = 0;       // a second
  double service_mean = 0;   // seconds that one request occupies one server; > 0
  double response_mean = 0;  // seconds from being taken to answered, the whole batch's; 0: service_mean
  double response_p99 = 0;   // the same, 99th percentile; 0: response_mean
  double arrival_cv2 = 1;    // squared coefficient of variation of the gaps; 1: Poisson
};

// That an arrival finds all `servers` busy; `offered` is arrivals × service_mean. 1 where the queue has no limit.
[[nodiscard]] double erlang_c(int servers, double offered);

// Squared coefficient of variation of a gamma distribution with this mean and 99th percentile; at most 12.2.
[[nodiscard]] double squared_variation(double mean, double p99);

struct Forecast {
  bool stable = false;       // the servers keep up; the rest holds only then
  double wait_probability = 1;
  Duration wait_mean{}, wait_p99{}, response_p99{};
};
[[nodiscard]] Forecast forecast(const Traffic& traffic, int servers);

struct Fit {
  int servers = 1;
  bool reached = false;      // false: no count up to servers_max gets there; `servers` is as far as waiting explains it
  Forecast forecast;
};
// The least count whose response_p99 is at most `target`. Where the service alone takes longer than that, the
// least count at which waiting is no longer what makes it late (wait_p99 at most response_mean).
[[nodiscard]] Fit fit_target(const Traffic& traffic, Duration target, int servers_max);

}  // namespace mayfly::autoscale
