#include "domain/function_url.h"

#include <algorithm>

#include "domain/json.h"

namespace mayfly::domain {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";

std::vector<std::string> texts_in(const Json& json, const char* key) {
  std::vector<std::string> texts;
  const auto at = json.find(key);
  if (at == json.end() || !at->is_array()) return texts;
  for (const Json& text : *at)
    if (text.is_string()) texts.push_back(text.get<std::string>());
  return texts;
}

Cors cors_in(const Json& json) {
  Cors cors{.origins = texts_in(json, "AllowOrigins"), .methods = texts_in(json, "AllowMethods"), .headers = texts_in(json, "AllowHeaders"),
            .exposed = texts_in(json, "ExposeHeaders")};
  if (const auto at = json.find("AllowCredentials"); at != json.end()) cors.credentials = *at == true;
  if (const auto at = json.find("MaxAge"); at != json.end() && at->is_number_integer()) cors.max_age = at->get<int>();
  return cors;
}

}  // namespace

std::string make_url_id(Random& random) {
  std::string id;
  while (id.size() < kUrlIdSize) id += kLetters[static_cast<std::size_t>(random.between(0, static_cast<int>(kLetters.size()) - 1))];
  return id;
}

bool is_url_id(std::string_view text) { return text.size() == kUrlIdSize && text.find_first_not_of(kLetters) == text.npos; }

std::vector<FunctionUrl> urls_of(const Function& function) {
  std::vector<FunctionUrl> urls;
  for (const Setting& setting : function.settings) {
    if (setting.kind != kUrl) continue;
    const Json json = parse_json<Json>(setting.document);
    if (!json.is_object() || !json.contains("id") || !json["id"].is_string()) continue;
    FunctionUrl url{.id = json["id"].get<std::string>(), .function = function.name, .qualifier = setting.key};
    url.streams = json.contains("InvokeMode") && json["InvokeMode"] == "RESPONSE_STREAM";
    url.signs = !json.contains("AuthType") || json["AuthType"] != "NONE";
    if (const auto at = json.find("Cors"); at != json.end() && at->is_object()) url.cors = cors_in(*at);
    if (is_url_id(url.id)) urls.push_back(std::move(url));
  }
  return urls;
}

}  // namespace mayfly::domain
