// What a foreign JSON document says under a key, where it may say anything: a value of another kind is as if it were not there. Pure.
#pragma once
#include <string>
#include <vector>

#include "domain/json.h"

namespace mayfly::domain {

// The text; "" where there is none.
[[nodiscard]] inline std::string text_in(const nlohmann::json& json, const char* key) {
  const auto at = json.is_object() ? json.find(key) : json.end();
  return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// The list; an empty one where there is none.
[[nodiscard]] inline const nlohmann::json& list_in(const nlohmann::json& json, const char* key) {
  static const nlohmann::json kNone = nlohmann::json::array();
  const auto at = json.is_object() ? json.find(key) : json.end();
  return at != json.end() && at->is_array() ? *at : kNone;
}

// The texts of the list; what else stands in it is left out.
[[nodiscard]] inline std::vector<std::string> words_in(const nlohmann::json& json, const char* key) {
  std::vector<std::string> words;
  for (const nlohmann::json& word : list_in(json, key))
    if (word.is_string()) words.push_back(word.get<std::string>());
  return words;
}

}  // namespace mayfly::domain
