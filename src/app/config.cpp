#include "app/config.h"

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>

namespace mayfly::app {
namespace {

using Setter = std::function<Result<void>(const std::string&)>;

template <class T>
Setter number(T& into, double low, double high) {
  return [&into, low, high](const std::string& text) -> Result<void> {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end || !(value >= low && value <= high))
      return fail(Code::invalid_argument, "'" + text + "' is not a number from " + std::to_string(low) + " to " + std::to_string(high));
    into = static_cast<T>(value);
    return {};
  };
}
Setter text(std::string& into) {
  return [&into](const std::string& value) -> Result<void> { into = value; return {}; };
}
Setter duration(Duration& into) {
  return [&into](const std::string& value) -> Result<void> { TRY(into, parse_duration(value)); return {}; };
}
Setter bytes(Bytes& into) {
  return [&into](const std::string& value) -> Result<void> { TRY(into, parse_bytes(value)); return {}; };
}

std::map<std::string, Setter> setters(Config& c) {
  return {{"listen", text(c.listen)}, {"data", text(c.data)}, {"engine", text(c.engine)}, {"memory_budget", bytes(c.memory_budget)},
          {"cores", number(c.cores, 0, 1024)}, {"pool", number(c.pool, 0, 64)}, {"template_keep", duration(c.template_keep)},
          {"keep_alive", duration(c.keep_alive)}, {"drain_max", duration(c.drain_max)}, {"prices.currency", text(c.currency)},
          {"prices.per_gb_second", number(c.price_per_gb_second, 0, 1e6)}, {"prices.per_million_requests", number(c.price_per_million_requests, 0, 1e6)},
          {"prices.always_on_per_gb_hour", number(c.price_always_on_per_gb_hour, 0, 1e6)}};
}

Result<void> apply(const YAML::Node& node, const std::string& prefix, const std::map<std::string, Setter>& known, const std::string& file) {
  for (const auto& pair : node) {
    const std::string key = prefix + pair.first.as<std::string>();
    const std::string where = file + ", line " + std::to_string(pair.first.Mark().line + 1) + ": ";
    if (pair.second.IsMap() && prefix.empty()) {
      TRY_VOID(apply(pair.second, key + ".", known, file));
      continue;
    }
    const auto setter = known.find(key);
    if (setter == known.end()) {
      std::string names;
      for (const auto& [name, unused] : known) names += (names.empty() ? "" : ", ") + name;
      return fail(Code::invalid_argument, where + "unknown key '" + key + "'; known are " + names);
    }
    if (!pair.second.IsScalar()) return fail(Code::invalid_argument, where + "'" + key + "' takes one value");
    if (const auto set = setter->second(pair.second.as<std::string>()); !set) return fail(Code::invalid_argument, where + key + ": " + set.error().message);
  }
  return {};
}

}  // namespace

Result<void> read_config(const std::string& file, Config& config) {
  try {
    const YAML::Node root = YAML::LoadFile(file);
    if (!root || root.IsNull()) return {};
    if (!root.IsMap()) return fail(Code::invalid_argument, file + ": a configuration is a map of keys and values");
    return apply(root, "", setters(config), file);
  } catch (const YAML::BadFile&) {
    return fail(Code::not_found, "the configuration '" + file + "' can't be read");
  } catch (const YAML::Exception& error) {
    return fail(Code::invalid_argument, file + ", line " + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
}

}  // namespace mayfly::app
