#include "autoscale/queueing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace mayfly::autoscale {
namespace {

using namespace std::chrono_literals;

double uniform(Random& random) { return (static_cast<double>(random.next() >> 11) + 1) * 0x1.0p-53; }
double exponential(Random& random, double mean) { return -mean * std::log(uniform(random)); }

TEST(Queueing, ErlangCOfTheTables) {
  EXPECT_DOUBLE_EQ(erlang_c(1, 0.5), 0.5);       // M/M/1: the utilisation
  EXPECT_NEAR(erlang_c(2, 1), 1.0 / 3, 1e-12);
  EXPECT_NEAR(erlang_c(10, 8), 0.4092, 1e-4);
  EXPECT_NEAR(erlang_c(100, 80), 0.01965, 2e-4);
  EXPECT_DOUBLE_EQ(erlang_c(3, 0), 0);
  EXPECT_DOUBLE_EQ(erlang_c(3, 3), 1);
  EXPECT_TRUE(std::isfinite(erlang_c(1000, 950)));
}

TEST(Queueing, VariationOfKnownShapes) {
  EXPECT_DOUBLE_EQ(squared_variation(1, 1), 0) << "constant";
  EXPECT_NEAR(squared_variation(1, 4.605), 1, 0.01) << "exponential";
  EXPECT_LE(squared_variation(1, 1e9), 12.2);
}

TEST(Queueing, ResponseOfOneServerIsCloseToExact) {
  for (const double used : {0.1, 0.3, 0.5, 0.8, 0.9, 0.95}) {
    const Forecast seen = forecast({.arrivals = used * 100, .service_mean = 0.01, .response_p99 = 0.04605}, 1);
    const double exact = 4.605 * 0.01 / (1 - used);  // M/M/1: the response is exponential
    EXPECT_NEAR(to_seconds(seen.response_p99) / exact, 1, 0.01) << used;
  }
}

// A first-come-first-served queue of many servers, played out.
double simulated_p99(Random& random, double arrivals, int servers, double service_mean, bool constant) {
  std::vector<double> free_at(static_cast<std::size_t>(servers)), responses;
  double now = 0;
  for (int i = 0; i < 200'000; ++i) {
    now += exponential(random, 1 / arrivals);
    const auto server = std::ranges::min_element(free_at);
    *server = std::max(now, *server) + (constant ? service_mean : exponential(random, service_mean));
    responses.push_back(*server - now);
  }
  const auto at = responses.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(responses.size()) * 0.99);
  std::ranges::nth_element(responses, at);
  return *at;
}

TEST(Queueing, ResponseOfManyServersIsCloseToASimulation) {
  Random random(7);
  for (const int servers : {2, 4, 8}) {
    for (const double used : {0.5, 0.7, 0.85}) {
      for (const bool constant : {false, true}) {
        const double arrivals = used * servers / 0.01;
        const double played = simulated_p99(random, arrivals, servers, 0.01, constant);
        const Forecast seen = forecast({.arrivals = arrivals, .service_mean = 0.01, .response_p99 = constant ? 0.01 : 0.04605}, servers);
        EXPECT_NEAR(to_seconds(seen.response_p99) / played, 1, 0.15) << servers << " servers, " << used << (constant ? " constant" : "");
      }
    }
  }
}

TEST(Queueing, FitIsTheLeastThatReachesTheTarget) {
  const Traffic traffic{.arrivals = 300, .service_mean = 0.01, .response_p99 = 0.015};
  const Fit fit = fit_target(traffic, 25ms, 50);
  ASSERT_TRUE(fit.reached);
  EXPECT_LE(fit.forecast.response_p99, Duration(25ms));
  EXPECT_GT(forecast(traffic, fit.servers - 1).response_p99, Duration(25ms));
}

TEST(Queueing, FitSaysThatServiceAloneIsTooLong) {
  const Fit fit = fit_target({.arrivals = 10, .service_mean = 0.1, .response_p99 = 0.2}, 50ms, 50);
  EXPECT_FALSE(fit.reached);
  EXPECT_GE(fit.servers, 2);
  EXPECT_LE(fit.servers, 4) << "more instances would only wait";
}

TEST(Queueing, FitUnderOverloadTakesAll) {
  const Fit fit = fit_target({.arrivals = 1000, .service_mean = 0.1}, 200ms, 8);
  EXPECT_FALSE(fit.reached);
  EXPECT_EQ(fit.servers, 8);
}

}  // namespace
}  // namespace mayfly::autoscale
