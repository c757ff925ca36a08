// The node's configuration: defaults, then --config FILE (YAML), then flags. A key that is not known, or a value
// that does not fit, is an error that names the line and what to write; docs/configuration.md lists every key.
#pragma once
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "control/deploys.h"
#include "gateway/http_server.h"
#include "gateway/sigv4.h"
#include "store/objects.h"
#include "store/registry.h"

namespace mayfly::app {

struct Config {
  std::string listen = "127.0.0.1:8080";
  std::string data = "./mayfly-data";
  std::string engine;                                        // path of the library; "": lib/ beside the binary
  Bytes memory_budget;                                       // 0: half of the machine's memory
  int cores = 0;                                             // 0: all that this process may use
  int pool = 4;                                              // blank sandboxes that wait
  Duration template_keep = std::chrono::minutes(15);
  Duration keep_alive = std::chrono::seconds(60);            // before a function's own history says better
  Duration drain_max = std::chrono::seconds(30);             // after SIGTERM
  Duration event_retry_wait = std::chrono::minutes(1);       // after a failure of its function; the second time twice as long
  Bytes build_memory = 4_GiB;                                // of one installation of a function's dependencies
  Duration build_time_max = std::chrono::minutes(15);
  Bytes optimize_memory = 4_GiB;                             // of one search for a smaller model
  gateway::HttpLimits http;
  bool code_network_host = false, code_network_loopback = false;
  gateway::sigv4::Keys lambda_keys;                          // none: Lambda's API is open, like all others
  store::ObjectStore objects;                                // where S3Bucket and S3Key are fetched from; no endpoint: nowhere
  store::Registries registries;                              // where images may be pulled from; none: nowhere
  Duration pull_time_max = std::chrono::minutes(15);         // of one image
  bool deploy_bucket_on = true;                              // S3's requests, and CloudFormation's
  control::DeployLimits deploy_bucket;
  std::string currency = "USD";
  double price_per_gb_second = 0.0000166667, price_per_million_requests = 0.20, price_always_on_per_gb_hour = 0.0126;
};

// Over what `config` holds. After an error it may be half changed: do not start with it.
[[nodiscard]] Result<void> read_config(const std::string& file, Config& config);
// The same of text; `file` is its name in errors.
[[nodiscard]] Result<void> parse_config(const std::string& yaml, const std::string& file, Config& config);

}  // namespace mayfly::app
