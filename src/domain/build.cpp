#include "domain/build.h"

#include <algorithm>

#include "domain/json.h"

namespace mayfly::domain {
namespace {

using Json = nlohmann::json;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Of the words that a package says of itself: bounded, and what people can read.
std::string text_at(const Json& item, const char* key, std::size_t most) {
  const auto found = item.find(key);
  std::string text = found != item.end() && found->is_string() ? found->get<std::string>().substr(0, most) : "";
  std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < ' '; });
  return text;
}

}  // namespace

std::string_view name(BuildKind kind) {
  constexpr std::string_view kNames[] = {"pip", "npm", "maven", "go"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string to_json(const BuildOrder& o) {
  return dump({{"kind", static_cast<int>(o.kind)}, {"program", o.program}, {"script", o.script}, {"runtime", o.runtime},
               {"environment", o.environment}, {"home", o.home}, {"alone", o.alone}, {"time_ms", o.time_ms}, {"memory_mb", o.memory_mb},
               {"memory", o.memory}});
}

Result<BuildOrder> parse_build_order(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    const int kind = json.at("kind").get<int>();
    if (kind < 0 || kind > static_cast<int>(BuildKind::go)) return fail(Code::internal, "a build of an unknown kind");
    return BuildOrder{.kind = static_cast<BuildKind>(kind), .program = json.at("program"), .script = json.at("script"),
                      .runtime = json.at("runtime"), .environment = json.at("environment").get<std::vector<std::string>>(),
                      .home = json.at("home").get<std::vector<std::pair<std::string, std::string>>>(),
                      .alone = json.at("alone").get<bool>(), .time_ms = json.at("time_ms").get<std::int64_t>(),
                      .memory_mb = json.at("memory_mb").get<std::int64_t>(), .memory = json.at("memory")};
  } catch (const Json::exception& error) {
    return fail(Code::internal, std::string("an order to build can't be read: ") + error.what());
  }
}

std::string to_json(const std::vector<Dependency>& installed) {
  Json list = Json::array();
  for (const Dependency& each : installed) list.push_back({{"name", each.name}, {"version", each.version}, {"hash", each.hash}});
  return dump(list);
}

Result<std::vector<Dependency>> parse_dependencies(std::string_view text) {
  if (text.size() > kDependenciesTextMax)
    return fail(Code::invalid_argument, "the list of what was installed has " + std::to_string(text.size()) + " bytes: too long");
  const Json list = parse_json<Json>(text);
  if (!list.is_array() || list.size() > kDependenciesMax)
    return fail(Code::invalid_argument, "the list of what was installed is not one of at most " + std::to_string(kDependenciesMax));
  std::vector<Dependency> installed;
  for (const Json& item : list) {
    if (!item.is_object()) return fail(Code::invalid_argument, "the list of what was installed holds something else");
    installed.push_back({text_at(item, "name", 256), text_at(item, "version", 128), text_at(item, "hash", 256)});
  }
  std::ranges::sort(installed, {}, [](const Dependency& d) { return std::pair(std::string_view(d.name), std::string_view(d.version)); });
  return installed;
}

}  // namespace mayfly::domain
