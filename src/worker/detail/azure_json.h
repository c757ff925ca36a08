// Small words on JSON that what reads Azure's files and messages shares: text that may be anything, names in any case.
#pragma once
#include <string>
#include <string_view>

#include "base/http.h"
#include "domain/json.h"

namespace mayfly::worker::detail {

using Json = nlohmann::json;

inline std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// "name" of an object, where it is a text.
inline std::string text_of(const Json& json, const char* name, std::string otherwise = {}) {
  const auto at = json.find(name);
  return at != json.end() && at->is_string() ? at->get<std::string>() : otherwise;
}

// A member, any case: handlers write statusCode, StatusCode, status.
inline const Json* member(const Json& json, std::string_view name) {
  if (!json.is_object()) return nullptr;
  for (auto at = json.begin(); at != json.end(); ++at)
    if (same_word(at.key(), name)) return &*at;
  return nullptr;
}

inline Json query_of(std::string_view query) {
  Json all = Json::object();
  while (const auto pair = take_pair(query)) {
    const auto key = percent_decoded(pair->first, true), value = percent_decoded(pair->second, true);
    if (key && value && !key->empty()) all[*key] = *value;
  }
  return all;
}

inline bool is_utf8(std::string_view text) {
  try {
    static_cast<void>(Json(text).dump());
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

// Of an answer that is JSON.
inline std::string json_head(int status, std::string_view reason, std::size_t size) {
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason) + "\r\nContent-Type: application/json; charset=utf-8\r\n" +
         "Content-Length: " + std::to_string(size) + "\r\n\r\n";
}

}  // namespace mayfly::worker::detail
