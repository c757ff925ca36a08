#include "domain/settings.h"

#include <charconv>
#include <cmath>
#include <string>

#include "domain/arn.h"
#include "domain/json.h"

namespace mayfly::domain {
namespace {

int number_in(const Setting* setting) {
  int number = 0;
  if (setting) std::from_chars(setting->document.data(), setting->document.data() + setting->document.size(), number);
  return number;
}

}  // namespace

const Setting* find_setting(const Function& function, std::string_view kind, std::string_view key) {
  const auto at = std::ranges::find_if(function.settings, [&](const Setting& s) { return s.kind == kind && s.key == key; });
  return at == function.settings.end() ? nullptr : &*at;
}

std::optional<int> calls_max(const Function& function) {
  const Setting* set = find_setting(function, kCallsMax);
  return set ? std::optional(number_in(set)) : std::nullopt;
}

EventPolicy event_policy(const Function& function, std::string_view qualifier) {
  EventPolicy policy;
  const Setting* set = find_setting(function, kEvents, qualifier == "$LATEST" ? std::string_view() : qualifier);
  const auto json = set ? parse_json<nlohmann::json>(set->document) : nlohmann::json();
  if (!json.is_object()) return policy;
  if (const auto at = json.find("MaximumRetryAttempts"); at != json.end() && at->is_number_integer()) policy.retries = at->get<int>();
  if (const auto at = json.find("MaximumEventAgeInSeconds"); at != json.end() && at->is_number_integer())
    policy.age_max = std::chrono::seconds(at->get<int>());
  const auto target = [&](const char* when) {
    const auto pointer = nlohmann::json::json_pointer(std::string("/DestinationConfig/") + when + "/Destination");
    if (!json.contains(pointer) || !json[pointer].is_string()) return std::string();
    const std::string& arn = json[pointer].get_ref<const std::string&>();
    const std::size_t name = function_arn("").size();
    return arn.starts_with(function_arn("")) ? arn.substr(name) : std::string();
  };
  policy.on_success = target("OnSuccess");
  policy.on_failure = target("OnFailure");
  return policy;
}

Scaling scaling_of(const Function& function, const Version& version) {
  Scaling scaling = version.manifest.scaling;
  if (function.settings.empty()) return scaling;
  int kept = number_in(find_setting(function, kKeptInstances, std::to_string(version.number)));
  for (const Alias& alias : function.aliases)
    for (const Weight& weight : alias.weights)
      if (weight.version == version.number)
        kept += static_cast<int>(std::ceil(weight.share * number_in(find_setting(function, kKeptInstances, alias.name)) - 1e-9));
  scaling.min = std::max(scaling.min, kept);
  scaling.max = std::max(scaling.max, scaling.min);
  if (const auto most = calls_max(function)) {
    scaling.min = std::min(scaling.min, *most);
    scaling.max = std::clamp(scaling.max, 1, std::max(1, *most));
  }
  return scaling;
}

}  // namespace mayfly::domain
