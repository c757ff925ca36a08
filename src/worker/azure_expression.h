// What stands in braces and between percent signs in a binding of an Azure Functions app, filled in as Azure's host does:
// "in/{name}.{ext}", "{order.id}", "{rand-guid}", "{DateTime:yyyy-MM-dd}", "%QUEUE%". Pure: values come from the trigger's data and
// metadata, from the function's environment, and from a moment that the caller gives. worker/azure_requests.cpp asks.
//
// Promises: names in any case, data before what is built in (rand-guid, datetime, sys.methodname, sys.utcnow, sys.randguid); "{{" and
// "}}" are braces; a name without a value is an error that says it; what comes out has at most kFilledMax bytes. Not there: .NET's
// formats of one letter, and formats of values that are not built in, which are left away.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/random.h"
#include "base/result.h"
#include "base/time.h"

namespace mayfly::worker {

using AzureSettings = std::map<std::string, std::string, std::less<>>;  // by name: the function's environment

struct AzureMoment {
  WallTime now;
  Random random;          // each {rand-guid} is another one
  std::string function;   // its name
};

constexpr std::size_t kFilledMax = 4096;

// "%NAME%": the setting's value. A single '%' is itself.
[[nodiscard]] Result<std::string> fill_settings(std::string_view text, const AzureSettings& settings);
// data: an object. Its members' members are reached by dots.
[[nodiscard]] Result<std::string> fill_expressions(std::string_view text, const nlohmann::json& data, AzureMoment& moment);

// The other way: the values of a trigger's pattern ("in/{name}.{ext}") in a path; the first take as much as they can. Nothing where
// it does not match.
using AzureValues = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] std::optional<AzureValues> match_pattern(std::string_view pattern, std::string_view path);

}  // namespace mayfly::worker
