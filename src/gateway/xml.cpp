#include "gateway/xml.h"

#include <algorithm>

namespace mayfly::gateway::xml {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
struct Entity { char plain; std::string_view name; };
constexpr Entity kEntities[] = {{'&', "amp"}, {'<', "lt"}, {'>', "gt"}, {'"', "quot"}, {'\'', "apos"}};

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t end = text[i] == '&' ? text.find(';', i) : text.npos;
    const auto* entity =
        end == text.npos ? std::end(kEntities) : std::ranges::find(kEntities, text.substr(i + 1, end - i - 1), &Entity::name);
    if (entity == std::end(kEntities)) {
      out += text[i];
    } else {
      out += entity->plain;
      i = end;
    }
  }
  return out;
}

}  // namespace

std::string escaped(std::string_view text) {
  // The JSON writer replaces what is not UTF-8.
  const std::string valid = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
  std::string out;
  for (const char c : valid) {
    const auto* entity = std::ranges::find(kEntities, c, &Entity::plain);
    if (entity != std::end(kEntities)) out.append("&").append(entity->name).append(";");
    else if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    else if (c == '\r') out += "&#13;";
    else out += kReplacement;
  }
  return out;
}

std::string element(std::string_view name, const Json& json) {
  if (json.is_null()) return {};
  std::string out = "<" + std::string(name) + ">";
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      if (key.ends_with('*'))                                // a list without an element around it
        for (const Json& item : value) out += element(key.substr(0, key.size() - 1), item);
      else out += element(key, value);
    }
  } else if (json.is_array()) {
    for (const Json& item : json) out += element("member", item);
  } else {
    out += escaped(domain::text_of(json));
  }
  return out + "</" + std::string(name) + ">";
}

std::vector<std::string> texts(std::string_view xml, std::string_view name) {
  const std::string open = "<" + std::string(name) + ">", close = "</" + std::string(name) + ">";
  std::vector<std::string> found;
  for (std::size_t at = xml.find(open); at != xml.npos; at = xml.find(open, at)) {
    at += open.size();
    const std::size_t end = xml.find('<', at);
    if (end == xml.npos) break;
    if (xml.substr(end, close.size()) == close) found.push_back(unescaped(xml.substr(at, end - at)));
  }
  return found;
}

}  // namespace mayfly::gateway::xml
