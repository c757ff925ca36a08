// What use costs, by a table that the node's configuration can set. The defaults are Lambda's list
// price for x86 in us-east-1 (per GB-second and per request) and, for the comparison, an m7i.large's
// on-demand price per GB of memory and hour (0.1008 $ for 8 GiB): public prices of 2025.
#pragma once
#include <string>

#include "base/time.h"
#include "base/units.h"

namespace mayfly::control {

struct PriceTable {
  std::string currency = "USD";
  double per_gb_second = 0.0000166667;
  double per_million_requests = 0.20;
  double always_on_per_gb_hour = 0.0126;
};

constexpr double kBytesPerGb = 1024.0 * 1024 * 1024;

[[nodiscard]] inline double cost_of(const PriceTable& prices, double gb_seconds, double requests) {
  return gb_seconds * prices.per_gb_second + requests / 1e6 * prices.per_million_requests;
}
// Of a server with the function's memory that runs for the whole span, called or not.
[[nodiscard]] inline double always_on_cost(const PriceTable& prices, Bytes memory, double seconds) {
  return static_cast<double>(memory.count) / kBytesPerGb * seconds / 3600 * prices.always_on_per_gb_hour;
}

}  // namespace mayfly::control
