#include "domain/start_cache.h"

#include "domain/json.h"

namespace mayfly::domain {

using Json = nlohmann::json;

std::string_view name(StartCacheKind kind) { return kind == StartCacheKind::class_data ? "class-data" : "compile-cache"; }

std::string to_json(const StartCacheOrder& o) {
  const Json json = {
      {"kind", static_cast<int>(o.kind)}, {"code", o.code}, {"dump", o.dump}, {"environment", o.environment}, {"time_ms", o.time_ms}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<StartCacheOrder> parse_start_cache_order(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    const int kind = json.at("kind").get<int>();
    if (kind < 0 || kind > static_cast<int>(StartCacheKind::compile_cache)) return fail(Code::internal, "a start cache of an unknown kind");
    return StartCacheOrder{.kind = static_cast<StartCacheKind>(kind), .code = json.at("code"),
                           .dump = json.at("dump").get<std::vector<std::string>>(),
                           .environment = json.at("environment").get<std::vector<std::string>>(),
                           .time_ms = json.at("time_ms").get<std::int64_t>()};
  } catch (const Json::exception& error) {
    return fail(Code::internal, std::string("an order to make a start cache can't be read: ") + error.what());
  }
}

}  // namespace mayfly::domain
