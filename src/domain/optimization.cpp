#include "domain/optimization.h"

#include <algorithm>

#include "base/hex.h"
#include "base/share.h"
#include "base/units.h"
#include "domain/detail/optimize.h"
#include "domain/detail/text.h"
#include "domain/json.h"
#include "domain/manifest.h"

namespace mayfly::domain {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr std::string_view kGoals[] = {"latency", "size", "cost"}, kCompares[] = {"auto", "classes", "values"},
                           kStates[] = {"waiting", "done", "failed", "stopped"};
constexpr std::size_t kRecipesMax = 32, kRecipeMax = 500, kDataMax = 300;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string quoted(const std::string& key, const Json& value) {
  return "'" + key.substr(0, 40) + "' is " + dump(value).substr(0, 80);
}

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

// 0.01, "0.01" or "1%".
Result<double> share(const std::string& key, const Json& value) {
  double number = -1;
  if (value.is_number()) number = value.get<double>();
  if (value.is_string()) number = read_share(value.get_ref<const std::string&>()).value_or(-1);
  if (!(number >= 0 && number <= 1)) return wrong(quoted(key, value) + ": write a share, like \"1%\" or 0.01");
  return number;
}

template <std::size_t N>
Result<std::string> one_of(const std::string& key, const Json& value, const std::string_view (&words)[N]) {
  if (value.is_string() && std::ranges::find(words, value.get_ref<const std::string&>()) != std::end(words))
    return value.get<std::string>();
  std::string all;
  for (const std::string_view word : words) all += (all.empty() ? "" : ", ") + std::string(word);
  return wrong(quoted(key, value) + ": write one of " + all);
}

Result<Duration> time_of(const std::string& key, const Json& value) {
  const auto time = value.is_string() ? parse_duration(value.get_ref<const std::string&>()) : Result<Duration>(Duration{});
  if (!time || *time < 1s || *time > 24h) return wrong(quoted(key, value) + ": write a time from \"1s\" to \"24h\", like \"5m\"");
  return *time;
}

Result<std::vector<std::string>> recipes_of(const std::string& key, const Json& value) {
  std::vector<std::string> recipes;
  for (const Json& one : value.is_array() ? value : Json::array({value})) {
    if (!one.is_string() || one.get_ref<const std::string&>().size() > kRecipeMax)
      return wrong(quoted(key, one) + ": write steps with commas between, like \"int8-dynamic,compile\", or \"auto\"");
    recipes.push_back(one.get<std::string>());
  }
  if (recipes.size() > kRecipesMax) return wrong(std::to_string(recipes.size()) + " recipes: at most " + std::to_string(kRecipesMax));
  return recipes;
}

template <class T>
Result<void> put(Result<T> read, T& into) {
  if (!read) return fail(read.error());
  into = *std::move(read);
  return {};
}

Result<OptimizationOrder> order_from(const Json& json) {
  if (!json.is_object()) return wrong(R"(an optimization is an object like {"recipe": "auto", "goal": "size"})");
  OptimizationOrder order;
  for (const auto& [key, value] : json.items()) {
    Result<void> read;
    if (key == "recipe") read = put(recipes_of(key, value), order.recipes);
    else if (key == "goal") read = put(one_of(key, value, kGoals), order.goal);
    else if (key == "compare") read = put(one_of(key, value, kCompares), order.compare);
    else if (key == "accuracy_drop_max") read = put(share(key, value), order.accuracy_drop_max);
    else if (key == "same_min") read = put(share(key, value), order.same_min);
    else if (key == "time_max") read = put(time_of(key, value), order.time_max);
    else if (key == "canary") read = put(share(key, value), order.canary);
    else if (key == "samples" || key == "data" || key == "alias") {
      if (!value.is_string() || value.get_ref<const std::string&>().size() > kDataMax) return wrong(quoted(key, value) + ": write a text");
      (key == "samples" ? order.samples : key == "data" ? order.data : order.alias) = value.get<std::string>();
    } else {
      return wrong("'" + key.substr(0, 40) + "' is not known: an optimization has recipe, goal, compare, accuracy_drop_max, same_min, "
                                             "time_max, data, samples, alias and canary");
    }
    if (!read) return fail(read.error());
  }
  if (order.canary <= 0) return wrong("'canary' is 0: it is above 0, like \"10%\"");
  if (!order.samples.empty() && !is_sha256(order.samples))
    return wrong("'samples' is no SHA-256 in lower-case hex: upload them as an artifact, and name that");
  if (!valid_alias_name(order.alias)) return wrong("'" + order.alias.substr(0, 80) + "' is not an alias name");
  return order;
}

Json json_of(const OptimizationOrder& o) {
  Json json = {{"recipe", o.recipes}, {"goal", o.goal}, {"compare", o.compare}, {"accuracy_drop_max", o.accuracy_drop_max},
               {"same_min", o.same_min},
               {"time_max", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(o.time_max).count()) + "ms"},
               {"alias", o.alias}, {"canary", o.canary}};
  if (!o.data.empty()) json["data"] = o.data;
  if (!o.samples.empty()) json["samples"] = o.samples;
  return json;
}

Json json_of(const Tree& value) {
  if (value.kind == Tree::Kind::scalar) return value.text;
  Json json = value.kind == Tree::Kind::map ? Json::object() : Json::array();
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    if (value.kind == Tree::Kind::map) json[value.keys[i]] = json_of(value.items[i]);
    else json.push_back(json_of(value.items[i]));
  }
  return json;
}

}  // namespace

Result<void> read_optimize(const Tree& value, std::optional<OptimizationOrder>& into) {
  for (const char* key : {"samples", "alias"})
    if (const auto at = std::ranges::find(value.keys, key); at != value.keys.end())
      return refuse(value.key_lines[static_cast<std::size_t>(at - value.keys.begin())],
                    "'" + std::string(key) + "' is no key of optimize: data names a file of the package, the deploy names the alias");
  const Json json = json_of(value);
  TRY(into, order_from(json.is_object() ? json : Json{{"recipe", json}}));
  return {};
}

std::string to_manifest(const OptimizationOrder& order) {
  Json json = json_of(order);
  json.erase("alias");
  return dump(json);
}

Result<OptimizationOrder> parse_optimization_order(std::string_view text) {
  if (text.size() > kOptimizationTextMax) return wrong("an optimization of " + std::to_string(text.size()) + " bytes: too long");
  return order_from(parse_json<Json>(text));
}

std::string to_json(const OptimizationOrder& order) { return dump(json_of(order)); }

std::string to_json(const OptimizationJob& job) { return dump({{"order", json_of(job.order)}, {"model", job.model}}); }

Result<OptimizationJob> parse_optimization_job(std::string_view text) {
  const Json json = parse_json<Json>(text);
  if (!json.is_object() || !json.contains("order") || !json.contains("model") || !json.at("model").is_string())
    return fail(Code::internal, "an order to optimise can't be read");
  TRY(OptimizationOrder order, order_from(json.at("order")));
  return OptimizationJob{.order = std::move(order), .model = json.at("model")};
}

Result<OptimizationFound> parse_optimization_found(std::string_view text) {
  constexpr std::size_t kWeightsMax = 64;
  const auto unsound = [](const char* what) { return fail(Code::internal, std::string("its report has ") + what); };
  if (text.size() > kOptimizationTextMax) return unsound("too many bytes");
  const Json json = parse_json<Json>(text);
  if (!json.is_object()) return unsound("no object");
  const auto rows = json.find("candidates");
  if (rows == json.end() || !rows->is_array()) return unsound("no candidates");
  OptimizationFound found{.report = std::string(text)};
  for (const Json& row : *rows) {
    if (!row.is_object()) return unsound("a candidate that is no object");
    const auto chosen = row.find("chosen"), changed = row.find("changed");
    if (chosen == row.end() || *chosen != true) continue;
    found.passed = true;
    found.changed = changed != row.end() && changed->is_number_integer() ? changed->get<int>() : 0;
  }
  for (const Json& file : json.value("weights", Json::array())) {
    if (!file.is_string() || found.weights.size() == kWeightsMax) return unsound("names of weights that are none");
    found.weights.push_back(file.get<std::string>());
  }
  return found;
}

std::string to_document(const OptimizationRecord& record) {
  Json json = record.report.empty() ? Json::object() : parse_json<Json>(record.report);
  if (!json.is_object()) json = Json::object();
  json["state"] = kStates[static_cast<std::size_t>(record.state)];
  json["order"] = json_of(record.order);
  json["optimized"] = record.optimized;
  json["became"] = record.became;
  return dump(json);
}

std::optional<OptimizationRecord> parse_optimization_record(std::string_view document) {
  const Json json = parse_json<Json>(document);
  if (!json.is_object() || !json.contains("state") || !json.contains("order")) return std::nullopt;
  const auto state = std::ranges::find(kStates, json.at("state").is_string() ? json.at("state").get<std::string>() : "");
  auto order = order_from(json.at("order"));
  if (state == std::end(kStates) || !order) return std::nullopt;
  OptimizationRecord record{.state = static_cast<OptimizationState>(state - std::begin(kStates)), .order = *std::move(order)};
  const auto number = json.find("optimized"), became = json.find("became");
  if (number != json.end() && number->is_number_integer()) record.optimized = number->get<int>();
  if (became != json.end() && became->is_string()) record.became = became->get<std::string>();
  if (json.contains("candidates")) record.report = document;
  return record;
}

}  // namespace mayfly::domain
