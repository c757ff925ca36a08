// What the control API answers, as JSON: views of control/control.h to objects. Pure; driven by
// control_api_*.cpp. Sizes are in bytes, durations in the unit that their key ends with, times in RFC 3339
// with microseconds and Z. Keys come in the order in which a person would read them.
//
// Parsing goes through parse_body(): at most kBodyMax bytes, kDepthMax levels deep, an object, and no key
// that is not known, so that a misspelt option is an error and not a silent default.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/rfc3339.h"
#include "base/time.h"
#include "control/control.h"
#include "domain/json.h"

namespace mayfly::gateway {

using Json = nlohmann::ordered_json;

constexpr std::size_t kBodyMax = 1 << 20;
constexpr int kDepthMax = 16;

[[nodiscard]] std::string to_rfc3339(WallTime time);  // "2026-11-24T05:46:03.000000Z"
// RFC 3339, or a duration back from now: "1h".
[[nodiscard]] Result<WallTime> parse_time(std::string_view text, WallTime now);

[[nodiscard]] Json to_json(const Error& error);                  // {"error": {"code", "message"}}
[[nodiscard]] Json to_json(const domain::Signature& signature);  // {"inputs", "outputs", "batches"}
[[nodiscard]] Json to_json(std::string_view function, const domain::Version& version, control::Stage stage);
[[nodiscard]] Json to_json(const control::StartCacheView& cache);
[[nodiscard]] Json dependencies_to_json(std::string_view function, const domain::Version& version);  // all that was installed
[[nodiscard]] Json to_json(const control::BuildView& build);
[[nodiscard]] Json to_json(std::string_view function, const domain::Alias& alias);
[[nodiscard]] Json to_json(const control::InstanceView& instance);
[[nodiscard]] Json to_json(const control::UsageReport& report);
[[nodiscard]] Json to_json(const control::NodeView& node);
// summary: without decisions, cold starts and all versions but the newest.
[[nodiscard]] Json summary_to_json(const control::FunctionView& view);
[[nodiscard]] Json to_json(const control::FunctionView& view);
[[nodiscard]] Json to_json(const control::RecordingView& recording);
// One line of the log with its sequence put in: {"sequence": 12, …}. No newline.
[[nodiscard]] std::string to_json_line(const control::LogLine& line);

[[nodiscard]] Result<Json> parse_object(std::string_view body);  // whatever its keys
[[nodiscard]] Result<Json> parse_body(std::string_view body, std::initializer_list<std::string_view> known);
[[nodiscard]] Result<control::DeployOrder> parse_deploy(std::string_view body);
[[nodiscard]] Result<std::vector<domain::Weight>> parse_weights(std::string_view body);
[[nodiscard]] Result<std::string> parse_rollback(std::string_view body);  // the alias; "live" where none is named
struct ScaleOrder {
  int instances = 0;
  bool evict = false;
};
[[nodiscard]] Result<ScaleOrder> parse_scale(std::string_view body);

}  // namespace mayfly::gateway
