#include "app/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "app/client.h"
#include "base/http.h"
#include "domain/image_reference.h"

namespace mayfly::app {
namespace {

using namespace std::chrono_literals;
using Setter = std::function<Result<void>(const std::string&)>;
using Setters = std::map<std::string, Setter>;

constexpr double kPriceMax = 1e6;

template <class T>
Setter number(T& into, T low, T high) {
  return [&into, low, high](const std::string& text) -> Result<void> {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value >= low && value <= high) {
      into = value;
      return {};
    }
    std::ostringstream range;
    range << "write a " << (std::is_integral_v<T> ? "whole number" : "number") << " from " << low << " to " << high;
    return fail(Code::invalid_argument, "'" + text + "' does not fit: " + range.str());
  };
}
Setter words(std::string& into) {
  return [&into](const std::string& text) -> Result<void> {
    if (text.empty()) return fail(Code::invalid_argument, "it is empty: write a value, or leave the key out");
    into = text;
    return {};
  };
}
template <class T>
Setter with_unit(T& into, T low, T high, Result<T> (*parse)(std::string_view)) {
  return [&into, low, high, parse](const std::string& text) -> Result<void> {
    TRY(const T value, parse(text));
    if (value < low || value > high)
      return fail(Code::invalid_argument, "'" + text + "' is outside " + to_text(low) + " to " + to_text(high) + ": write a value between");
    into = value;
    return {};
  };
}
Setter duration(Duration& into, Duration low, Duration high) { return with_unit(into, low, high, parse_duration); }
Setter size(Bytes& into, Bytes low, Bytes high) { return with_unit(into, low, high, parse_bytes); }
Setter size(std::uint64_t& into, Bytes low, Bytes high) {
  return [&into, low, high](const std::string& text) -> Result<void> {
    Bytes value;
    TRY_VOID(size(value, low, high)(text));
    into = value.count;
    return {};
  };
}

Setter yes_or_no(bool& into) {
  return [&into](const std::string& text) -> Result<void> {
    if (text != "true" && text != "false") return fail(Code::invalid_argument, "'" + text + "' does not fit: write true or false");
    into = text == "true";
    return {};
  };
}

// Says nothing of the text in an error: it is secret.
Setter secrets(gateway::sigv4::Keys& into) {
  return [&into](const std::string& text) -> Result<void> {
    TRY(into, gateway::sigv4::parse_keys(text));
    if (into.empty()) return fail(Code::invalid_argument, "it is empty: write ID:SECRET, or leave the key out");
    return {};
  };
}

Setter one_secret(store::ObjectStore& into) {
  return [&into](const std::string& text) -> Result<void> {
    TRY(const auto keys, gateway::sigv4::parse_keys(text));
    if (keys.size() != 1) return fail(Code::invalid_argument, "one key is wanted: write ID:SECRET");
    into.key_id = keys.begin()->first;
    into.secret = keys.begin()->second;
    return {};
  };
}

Setter endpoint(std::string& into) {
  return [&into](const std::string& text) -> Result<void> {
    TRY_VOID(store::parse_endpoint(text));
    into = text;
    return {};
  };
}

Setter list_of_words(std::vector<std::string>& into) {
  return [&into](const std::string& text) -> Result<void> {
    std::istringstream from(text);
    for (std::string word; from >> word;) into.push_back(word);
    if (into.empty()) return fail(Code::invalid_argument, "it is empty: write names with blanks between, or leave the key out");
    return {};
  };
}

Setter login(store::Registry& into) {
  return [&into](const std::string& text) -> Result<void> {
    const std::size_t colon = text.find(':');
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (colon == 0 || colon == text.npos || colon + 1 == text.size() || text.size() > 8192 || std::ranges::any_of(text, control))
      return fail(Code::invalid_argument, "it is no login: write USER:PASSWORD");
    into.user = text.substr(0, colon);
    into.password = text.substr(colon + 1);
    return {};
  };
}

Setter endpoints(std::vector<std::string>& into) {
  return [&into](const std::string& text) -> Result<void> {
    TRY_VOID(list_of_words(into)(text));
    for (const std::string& each : into) TRY_VOID(store::parse_endpoint(each));
    return {};
  };
}

// Of one registry, below its name.
Setters setters(store::Registry& registry) {
  return {
      {"endpoint", endpoint(registry.endpoint)},
      {"login", login(registry)},
      {"redirects", endpoints(registry.redirects)},
      {"repositories", list_of_words(registry.repositories)},
      {"size_max", size(registry.size_max, 1_MiB, 1024_GiB)},
      {"tokens", endpoint(registry.tokens)},
  };
}

// The keys and their limits, as docs/configuration.md has them.
Setters setters(Config& c) {
  return {
      {"listen", words(c.listen)},
      {"data", words(c.data)},
      {"engine", words(c.engine)},
      {"memory_budget", size(c.memory_budget, 256_MiB, 65536_GiB)},
      {"cores", number(c.cores, 0, 1024)},
      {"pool", number(c.pool, 0, 64)},
      {"template_keep", duration(c.template_keep, 0s, 720h)},
      {"keep_alive", duration(c.keep_alive, 0s, 24h)},
      {"drain_max", duration(c.drain_max, 0s, 1h)},
      {"events.retry_wait", duration(c.event_retry_wait, 10ms, 1h)},
      {"build.memory", size(c.build_memory, 256_MiB, 1024_GiB)},
      {"build.time_max", duration(c.build_time_max, 1s, 2h)},
      {"optimize.memory", size(c.optimize_memory, 256_MiB, 1024_GiB)},
      {"http.connections_max", number<std::size_t>(c.http.connections_max, 1, 1'000'000)},
      {"http.head_max", duration(c.http.head_max, 100ms, 10min)},
      {"http.idle_max", duration(c.http.idle_max, 100ms, 24h)},
      {"http.body_stall_max", duration(c.http.body_stall_max, 100ms, 1h)},
      {"http.body_max", duration(c.http.body_max, 1s, 24h)},
      {"http.upload_max", duration(c.http.upload_max, 1s, 168h)},
      {"http.answer_max", duration(c.http.answer_max, 1s, 24h)},
      {"http.write_stall_max", duration(c.http.write_stall_max, 100ms, 1h)},
      {"http.bodies_max", size(c.http.bodies_max, 1_MiB, 1024_GiB)},
      {"http.untaken_max", size(c.http.untaken_max, 256_KiB, 1_GiB)},
      {"http.unsent_max", size(c.http.unsent_max, 2_MiB, 1_GiB)},
      {"code.network_host", yes_or_no(c.code_network_host)},
      {"code.network_loopback", yes_or_no(c.code_network_loopback)},
      {"lambda.keys", secrets(c.lambda_keys)},
      {"objects.endpoint", endpoint(c.objects.endpoint)},
      {"objects.region", words(c.objects.region)},
      {"objects.path_style", yes_or_no(c.objects.path_style)},
      {"objects.key", one_secret(c.objects)},
      {"objects.buckets", list_of_words(c.objects.buckets)},
      {"pull.time_max", duration(c.pull_time_max, 1s, 2h)},
      {"objects.size_max", size(c.objects.size_max, 1_MiB, 1024_GiB)},
      {"deploy_bucket.enabled", yes_or_no(c.deploy_bucket_on)},
      {"deploy_bucket.buckets", list_of_words(c.deploy_bucket.buckets)},
      {"deploy_bucket.object_max", size(c.deploy_bucket.object_max, 1_MiB, 5_GiB)},
      {"deploy_bucket.total_max", size(c.deploy_bucket.total_max, 1_MiB, 1024_GiB)},
      {"deploy_bucket.age_max", duration(c.deploy_bucket.age_max, std::chrono::hours(1), std::chrono::hours(24 * 3650))},
      {"prices.currency", words(c.currency)},
      {"prices.per_gb_second", number(c.price_per_gb_second, 0.0, kPriceMax)},
      {"prices.per_million_requests", number(c.price_per_million_requests, 0.0, kPriceMax)},
      {"prices.always_on_per_gb_hour", number(c.price_always_on_per_gb_hour, 0.0, kPriceMax)},
  };
}

std::string unknown(const std::string& key, const Setters& known) {
  std::vector<std::string> names;
  std::string all;
  for (const auto& [name, unused] : known) {
    names.push_back(name);
    all += (all.empty() ? "" : ", ") + name;
  }
  if (known.contains("listen")) names.emplace_back("registries");   // of the file itself
  const auto near = nearest(key, names);
  const std::string hint = near.empty() ? "known are " + all : "did you mean '" + near.front() + "'?";
  return "unknown key '" + key + "': " + hint;
}

constexpr std::size_t kRegistriesMax = 64;

struct Reading {
  const Setters known;
  store::Registries* registries;         // of the whole file; null below
  const std::string& file;
  std::set<std::string> seen;

  Result<void> section(const YAML::Node& node, const std::string& prefix) {
    for (const auto& pair : node) {
      const std::string where = file + ", line " + std::to_string(pair.first.Mark().line + 1) + ": ";
      TRY_VOID(one(where, prefix + pair.first.as<std::string>(), pair.second, prefix.empty()));
    }
    return {};
  }

  // By the names that images have them by, which are no keys of ours.
  Result<void> read_registries(const std::string& where, const YAML::Node& value) {
    if (value.IsNull()) return {};
    if (!value.IsMap())
      return fail(Code::invalid_argument, where + "'registries' holds names of registries: write them below it, indented");
    for (const auto& pair : value) {
      const std::string line = file + ", line " + std::to_string(pair.first.Mark().line + 1) + ": ", name = pair.first.as<std::string>();
      if (!domain::is_registry_host(name))
        return fail(Code::invalid_argument, line + "'" + name + "' is no registry: write HOST or HOST:PORT, as images are named");
      if (registries->size() == kRegistriesMax)
        return fail(Code::invalid_argument, line + "more than " + std::to_string(kRegistriesMax) + " registries");
      const auto [at, is_new] = registries->try_emplace(lower_case(name));
      if (!is_new) return fail(Code::invalid_argument, line + "'" + name + "' stands there twice: keep one");
      if (!pair.second.IsMap() && !pair.second.IsNull())
        return fail(Code::invalid_argument, line + "'" + name + "' holds further keys: write them below it, indented, or {}");
      if (pair.second.IsNull()) continue;
      TRY_VOID((Reading{.known = setters(at->second), .registries = nullptr, .file = file, .seen = {}}.section(pair.second, "")));
    }
    return {};
  }

  Result<void> one(const std::string& where, const std::string& key, const YAML::Node& value, bool top) {
    if (!seen.insert(key).second) return fail(Code::invalid_argument, where + "'" + key + "' stands there twice: keep one");
    if (top && registries && key == "registries") return read_registries(where, value);
    if (top && known.lower_bound(key + ".") != known.lower_bound(key + "/")) {  // a section: '/' follows '.'
      if (value.IsMap()) return section(value, key + ".");
      if (value.IsNull()) return {};
      return fail(Code::invalid_argument, where + "'" + key + "' holds further keys: write them below it, indented");
    }
    const auto setter = known.find(key);
    if (setter == known.end()) return fail(Code::invalid_argument, where + unknown(key, known));
    if (!value.IsScalar()) return fail(Code::invalid_argument, where + "'" + key + "' takes one value, on its own line");
    if (const auto set = setter->second(value.as<std::string>()); !set)
      return fail(set.error().code, where + key + ": " + set.error().message);
    return {};
  }
};

}  // namespace

Result<void> parse_config(const std::string& yaml, const std::string& file, Config& config) {
  try {
    const YAML::Node root = YAML::Load(yaml);
    if (!root || root.IsNull()) return {};
    if (!root.IsMap()) return fail(Code::invalid_argument, file + ": a configuration is lines of 'key: value'");
    return Reading{.known = setters(config), .registries = &config.registries, .file = file, .seen = {}}.section(root, "");
  } catch (const YAML::Exception& error) {
    return fail(Code::invalid_argument, file + ", line " + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
}

Result<void> read_config(const std::string& file, Config& config) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  if (!in.is_open() || in.bad()) return fail(Code::not_found, "the configuration '" + file + "' can't be read: is the path right?");
  return parse_config(text.str(), file, config);
}

}  // namespace mayfly::app
