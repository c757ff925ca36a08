// The commands that change what is deployed: alias, rollback, delete, scale.
#include <charconv>
#include <cmath>
#include <iostream>

#include "app/commands.h"

namespace mayfly::app {
namespace {

std::string path_of(const std::string& function, const std::string& rest = "") { return "/api/functions/" + encode(function) + rest; }

Result<domain::Weight> parse_weight(std::string_view word) {
  const auto wrong = [&] {
    return fail(Code::invalid_argument, "'" + std::string(word.substr(0, 64)) + "' is not a version with its share: write 1=90%");
  };
  domain::Weight weight;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), weight.version);
  if (error != std::errc() || weight.version < 1) return wrong();
  std::string_view rest(end, static_cast<std::size_t>(word.data() + word.size() - end));
  if (rest.empty()) return weight;  // alone: all of the traffic
  if (!rest.starts_with('=')) return wrong();
  rest.remove_prefix(1);
  const bool is_percent = rest.ends_with('%');
  if (is_percent) rest.remove_suffix(1);
  const auto [stop, bad] = std::from_chars(rest.data(), rest.data() + rest.size(), weight.share);
  if (rest.empty() || bad != std::errc() || stop != rest.data() + rest.size() || !std::isfinite(weight.share)) return wrong();
  if (is_percent) weight.share /= 100;
  if (!(weight.share > 0 && weight.share <= 1))
    return fail(Code::invalid_argument, "the share in '" + std::string(word) + "' is not above 0% and at most 100%: write 1=90%");
  return weight;
}

void print_alias(const Context& context, const Json& alias) {
  if (context.json) return print_json(alias);
  print(context.terminal.paint(Tone::good, "→") + " " + alias.value("function", "") + ":" + alias.value("alias", "") + " is " +
        weights_text(alias.value("weights", Json::array())) + "\n");
}

void print_done(const Context& context, const std::string& text, const Json& json) {
  if (context.json) return print_json(json);
  print(context.terminal.paint(Tone::good, "→") + " " + text + "\n");
}

}  // namespace

Result<std::vector<domain::Weight>> parse_weights(const std::vector<std::string>& words) {
  std::vector<domain::Weight> weights;
  double sum = 0;
  for (const std::string& word : words) {
    TRY(const domain::Weight weight, parse_weight(word));
    for (const auto& other : weights)
      if (other.version == weight.version)
        return fail(Code::invalid_argument, "version " + std::to_string(weight.version) + " is named twice: name each version once");
    sum += weight.share;
    weights.push_back(weight);
  }
  if (weights.empty()) return fail(Code::invalid_argument, "no version is named: write 1=90% 2=10%, or just 1");
  if (std::abs(sum - 1) > 1e-6) return fail(Code::invalid_argument, "the shares add up to " + percent(sum) + ": they must add up to 100%");
  return weights;
}

Result<void> alias(const Context& context, const AliasOptions& options) {
  const std::string path = path_of(options.function, "/aliases/" + encode(options.alias));
  if (options.remove) {
    if (!options.weights.empty())
      return fail(Code::invalid_argument, "--delete goes without versions, but '" + options.weights.front() + "' is named: drop one");
    TRY_VOID(context.client.json({.method = "DELETE", .path = path}));
    print_done(context, options.function + ":" + options.alias + " is deleted",
               {{"function", options.function}, {"alias", options.alias}, {"deleted", true}});
    return {};
  }
  TRY(const auto weights, parse_weights(options.weights));
  Json list = Json::array();
  for (const auto& weight : weights) list.push_back({{"version", weight.version}, {"share", weight.share}});
  Json body = Json::object();
  body["weights"] = std::move(list);
  TRY(const Json alias,
      context.client.json({.method = "PUT", .path = path, .body = body.dump(), .headers = {"Content-Type: application/json"}}));
  print_alias(context, alias);
  return {};
}

Result<void> rollback(const Context& context, const std::string& function, const std::string& alias) {
  Json body = Json::object();
  body["alias"] = alias;
  TRY(const Json now,
      context.client.json(
          {.method = "POST", .path = path_of(function, "/rollback"), .body = body.dump(), .headers = {"Content-Type: application/json"}}));
  print_alias(context, now);
  return {};
}

Result<void> remove(const Context& context, const DeleteOptions& options) {
  const std::string what = options.version > 0 ? "version " + std::to_string(options.version) + " of '" + options.function + "'"
                                               : "'" + options.function + "' with all its versions";
  if (!options.yes && context.terminal.in_is_terminal && context.terminal.err_is_terminal) {
    std::cerr << "delete " << what << "? [y/N] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "Y" && answer != "yes") return fail(Code::cancelled, "nothing was deleted: answer y, or pass --yes");
  }
  const std::string rest = options.version > 0 ? "/versions/" + std::to_string(options.version) : "";
  TRY_VOID(context.client.json({.method = "DELETE", .path = path_of(options.function, rest)}));
  Json json{{"function", options.function}, {"deleted", true}};
  if (options.version > 0) json["version"] = options.version;
  print_done(context, what + " is deleted", json);
  return {};
}

Result<void> scale(const Context& context, const ScaleOptions& options) {
  Json body{{"instances", options.instances}, {"evict", options.evict}};
  TRY(const Json done, context.client.json({.method = "POST",
                                            .path = path_of(options.function, "/scale"),
                                            .body = body.dump(),
                                            .headers = {"Content-Type: application/json"}}));
  print_done(
      context,
      options.function + ": " + plural(static_cast<std::uint64_t>(options.instances), "instance") + (options.evict ? ", no template" : ""),
      done);
  return {};
}

}  // namespace mayfly::app
