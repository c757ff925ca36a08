// The settings of a function that change how it runs: how many calls it takes at a time, how many instances a version or an alias
// keeps (whole numbers), and what becomes of its events. Set through control/control.h; read by control. Pure.
#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "domain/function.h"

namespace mayfly::domain {

constexpr std::string_view kCallsMax = "calls_max";          // key "": calls of all its versions at a time; 0: none is taken
constexpr std::string_view kKeptInstances = "kept";          // key: a version's number, or an alias
constexpr std::size_t kSettingsMax = 512;                    // of a function
constexpr std::size_t kSettingBytesMax = 64 << 10;           // of a document

[[nodiscard]] const Setting* find_setting(const Function& function, std::string_view kind, std::string_view key = {});
[[nodiscard]] std::optional<int> calls_max(const Function& function);

// What `mayfly deploy --optimize` found of a version: a JSON object, its report (app/optimize_report.h) and what became of it.
constexpr std::string_view kOptimization = "optimization";   // key: the version's number

// What is to become of events, calls that nobody waits for (jobs/event_queue.h). The document is a JSON object in the words of AWS
// Lambda's event-invoke configuration.
constexpr std::string_view kEvents = "aws.events";           // key: "", a version's number, or an alias
struct EventPolicy {
  int retries = 2;                                           // after a failure of the function's own
  Duration age_max = std::chrono::hours(6);
  std::string on_success, on_failure;                        // NAME or NAME:QUALIFIER of a function here; "": nobody is told
  friend bool operator==(const EventPolicy&, const EventPolicy&) = default;
};
[[nodiscard]] EventPolicy event_policy(const Function& function, std::string_view qualifier);
// The manifest's scaling of one of its versions with what is set over it: at least as many instances as are to be kept, no more than
// calls_max. What is kept for an alias is kept by its versions, each by its share.
[[nodiscard]] Scaling scaling_of(const Function& function, const Version& version);

}  // namespace mayfly::domain
