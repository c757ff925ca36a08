#include "domain/template.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>

#include "domain/json.h"

namespace mayfly::domain {
namespace {

constexpr std::size_t kCost = 16;  // of a value that is looked at, in bytes that are made: functions in functions can grow as aliases do

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

// A key is written without the Fn:: that it has in full.
std::string full_name(const std::string& tag) { return tag == "Ref" || tag == "Condition" ? tag : "Fn::" + tag; }

class Builder {
 public:
  Result<Json> build(const YAML::Node& node, std::size_t depth) {
    if (++nodes_ > kTemplateNodesMax)
      return wrong("it has more than " + std::to_string(kTemplateNodesMax) + " values, aliases (*name) written out: write less");
    if (depth > kTemplateDepthMax) return wrong("it is nested more than " + std::to_string(kTemplateDepthMax) + " deep");
    const std::string& tag = node.Tag();
    if (tag.size() < 2 || tag[0] != '!') return plain(node, depth);
    const std::string name = tag.substr(1);
    TRY(Json argument, plain(node, depth + 1));
    if (name == "GetAtt" && argument.is_string()) {
      const auto& text = argument.get_ref<const std::string&>();
      const std::size_t dot = std::min(text.find('.'), text.size());
      argument = Json::array({text.substr(0, dot), text.substr(std::min(dot + 1, text.size()))});
    }
    Json json = Json::object();
    json[full_name(name)] = std::move(argument);
    return json;
  }

 private:
  Result<Json> plain(const YAML::Node& node, std::size_t depth) {
    if (node.IsNull()) return Json();
    if (node.IsScalar()) return Json(node.Scalar());
    if (node.IsSequence()) {
      Json list = Json::array();
      for (const YAML::Node& item : node) {
        TRY(Json built, build(item, depth + 1));
        list.push_back(std::move(built));
      }
      return list;
    }
    Json map = Json::object();
    for (const auto& pair : node) {
      if (!pair.first.IsScalar()) return wrong("a key that is no text");
      const std::string& key = pair.first.Scalar();
      if (map.contains(key)) return wrong("the key '" + key.substr(0, 80) + "' is there twice");
      TRY(map[key], build(pair.second, depth + 1));
    }
    return map;
  }

  std::size_t nodes_ = 0;
};

Result<void> check_size(const Json& json, std::size_t depth, std::size_t& nodes) {
  if (++nodes > kTemplateNodesMax) return wrong("it has more than " + std::to_string(kTemplateNodesMax) + " values: write less");
  if (depth > kTemplateDepthMax) return wrong("it is nested more than " + std::to_string(kTemplateDepthMax) + " deep");
  if (json.is_structured())
    for (const Json& item : json) TRY_VOID(check_size(item, depth + 1, nodes));
  return {};
}

const Json& no_value() {
  static const Json none(Json::value_t::discarded);
  return none;
}

}  // namespace

Result<Json> parse_template(std::string_view text) {
  if (text.size() > kTemplateMax)
    return wrong("Template may not exceed " + std::to_string(kTemplateMax) + " bytes in size: it has " + std::to_string(text.size()));
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != text.npos && text[first] == '{') {
    const Json json = parse_json<Json>(text);
    std::size_t nodes = 0;
    if (json.is_object()) TRY_VOID(check_size(json, 0, nodes));
    if (json.is_object()) return json;
  }
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) return wrong("it is no template");
    return Builder().build(root, 0);
  } catch (const YAML::Exception& error) { return wrong(std::string("it is not YAML: ") + error.what()); }
}

std::string text_of(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  return json.is_number() || json.is_boolean() ? json.dump() : std::string();
}

std::pair<std::string, const Json*> intrinsic(const Json& json) {
  if (!json.is_object() || json.size() != 1) return {};
  const auto only = json.begin();
  if (only.key() == "Ref" || (only.key() == "Condition" && only.value().is_string())) return {only.key(), &only.value()};
  if (only.key().starts_with("Fn::")) return {only.key().substr(4), &only.value()};
  return {};
}

const Json& member(const Json& object, const std::string& key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto at = object.find(key);
  return at == object.end() ? none : *at;
}

void each_reference(const Json& json, const std::function<void(const std::string& name)>& told) {
  const auto [function, argument] = intrinsic(json);
  if (function == "Ref") return told(text_of(*argument));
  if (function == "GetAtt") {
    if (argument->is_array() && argument->size() == 2) return told(text_of((*argument)[0]) + "." + text_of((*argument)[1]));
    return told(text_of(*argument));
  }
  if (function == "Sub") {
    const std::string text = text_of(argument->is_array() && !argument->empty() ? (*argument)[0] : *argument);
    for (std::size_t at = text.find("${"); at != text.npos; at = text.find("${", at + 2)) {
      const std::size_t close = text.find('}', at);
      if (close != text.npos && text[at + 2] != '!') told(text.substr(at + 2, close - at - 2));
    }
  }
  if (json.is_structured())
    for (const Json& item : json) each_reference(item, told);
}

Result<Json> Resolver::made(std::string text, const std::string& where) {
  made_ += text.size();
  if (made_ > kResolvedMax)
    return wrong(where + ": what the template's functions make has more than " + std::to_string(kResolvedMax) + " bytes");
  return Json(std::move(text));
}

Result<std::string> Resolver::text(const Json& json, const std::string& where) {
  TRY(const Json value, deep(json, where, 0));
  if (value.is_null()) return std::string();
  if (value.is_structured()) return wrong(where + ": a text is wanted");
  return text_of(value);
}

Result<Json> Resolver::deep(const Json& json, const std::string& where, std::size_t depth) {
  made_ += kCost;
  if (depth > 2 * kTemplateDepthMax || made_ > kResolvedMax) return wrong(where + ": its functions are nested too deep, or too many");
  if (const auto [function, argument] = intrinsic(json); !function.empty()) {
    TRY(Json value, call(function, *argument, where, depth + 1));
    if (value.is_discarded() && depth == 0) return Json();
    return value;
  }
  if (json.is_object()) {
    Json object = Json::object();
    for (const auto& [key, item] : json.items()) {
      TRY(Json value, deep(item, where + "." + key, depth + 1));
      if (!value.is_discarded()) object[key] = std::move(value);
    }
    return object;
  }
  if (json.is_array()) {
    Json list = Json::array();
    for (const Json& item : json) {
      TRY(Json value, deep(item, where, depth + 1));
      if (!value.is_discarded()) list.push_back(std::move(value));
    }
    return list;
  }
  if (json.is_string()) return made(json.get<std::string>(), where);
  return json;
}

Result<Json> Resolver::call(const std::string& function, const Json& argument, const std::string& where, std::size_t depth) {
  const auto with_place = [&](Result<Json> found) -> Result<Json> {
    if (!found) return fail(found.error().code, where + ": " + found.error().message);
    if (found->is_string()) return made(found->get<std::string>(), where);
    return found;
  };
  if (function == "Ref") {
    if (text_of(argument) == "AWS::NoValue") return no_value();
    return with_place(lookups_.reference(text_of(argument)));
  }
  if (function == "GetAtt") return attribute(argument, where, depth);
  if (function == "Sub") return substitute(argument, where, depth);
  if (function == "If") {
    if (!argument.is_array() || argument.size() != 3) return wrong(where + ": Fn::If takes a list of three");
    TRY(const bool holds, condition(text_of(argument[0])));
    return deep(argument[holds ? 1 : 2], where, depth);
  }
  constexpr const char* kOfLists[] = {"Join", "Select", "Split", "FindInMap"};
  if (std::ranges::find(kOfLists, function) == std::end(kOfLists))
    return wrong(where + ": " + function + " is not resolved here: write the value");
  TRY(const Json list, deep(argument, where, depth));
  if (!list.is_array()) return wrong(where + ": Fn::" + function + " takes a list");
  if (function == "Join") return join(list, where);
  if (function == "Select") return select(list, where);
  if (function == "FindInMap") return find_in_map(list, where);
  if (list.size() != 2 || text_of(list[0]).empty()) return wrong(where + ": Fn::Split takes a separator and a text");
  Json parts = Json::array();
  const std::string by = text_of(list[0]), text = text_of(list[1]);
  for (std::size_t at = 0;;) {
    const std::size_t end = std::min(text.find(by, at), text.size());
    parts.push_back(text.substr(at, end - at));
    if (end == text.size()) return parts;
    at = end + by.size();
  }
}

Result<Json> Resolver::attribute(const Json& argument, const std::string& where, std::size_t depth) {
  std::string id = text_of(argument), name;
  if (argument.is_array() && argument.size() == 2) {
    id = text_of(argument[0]);
    TRY(const Json resolved, deep(argument[1], where, depth));
    name = text_of(resolved);
  } else {
    const std::size_t dot = std::min(id.find('.'), id.size());
    name = id.substr(std::min(dot + 1, id.size()));
    id.resize(dot);
  }
  auto found = lookups_.attribute(id, name);
  if (!found) return fail(found.error().code, where + ": " + found.error().message);
  return found;
}

Result<Json> Resolver::substitute(const Json& argument, const std::string& where, std::size_t depth) {
  const bool list = argument.is_array() && argument.size() == 2 && argument[1].is_object();
  if (!list && !argument.is_string()) return wrong(where + ": Fn::Sub takes a text, or a text and an object of its names");
  const std::string from = text_of(list ? argument[0] : argument);
  std::string to;
  for (std::size_t at = 0; at < from.size();) {
    const std::size_t open = std::min(from.find("${", at), from.size()), close = from.find('}', open);
    to.append(from, at, open - at);
    if (open == from.size() || close == from.npos) break;
    const std::string name = from.substr(open + 2, close - open - 2);
    at = close + 1;
    if (name.starts_with('!')) {
      to += "${" + name.substr(1) + "}";
      continue;
    }
    Result<Json> value = fail(Code::internal, "");
    if (list && argument[1].contains(name)) value = deep(argument[1][name], where, depth);
    else if (name.find('.') != name.npos && !name.starts_with("AWS::")) value = attribute(Json(name), where, depth);
    else value = call("Ref", Json(name), where, depth);
    if (!value) return value;
    if (value->is_structured()) return wrong(where + ": ${" + name.substr(0, 80) + "} is no text");
    to += text_of(*value);
    if (to.size() > kResolvedMax) break;
  }
  return made(std::move(to), where);
}

Result<Json> Resolver::join(const Json& list, const std::string& where) {
  if (list.size() != 2 || !list[1].is_array()) return wrong(where + ": Fn::Join takes a separator and a list");
  std::string text;
  for (const Json& item : list[1]) {
    if (item.is_structured()) return wrong(where + ": Fn::Join joins texts");
    if (&item != &list[1].front()) text += text_of(list[0]);
    text += text_of(item);
    if (text.size() > kResolvedMax) break;
  }
  return made(std::move(text), where);
}

Result<Json> Resolver::select(const Json& list, const std::string& where) {
  const std::string index = list.empty() ? "" : text_of(list[0]);
  std::size_t at = 0;
  const auto [end, error] = std::from_chars(index.data(), index.data() + index.size(), at);
  if (list.size() == 2 && list[1].is_array() && error == std::errc() && end == index.data() + index.size() && at < list[1].size())
    return list[1][at];
  return wrong(where + ": Fn::Select takes a number and a list that has so many");
}

Result<Json> Resolver::find_in_map(const Json& list, const std::string& where) {
  if (list.size() != 3) return wrong(where + ": Fn::FindInMap takes a map and two keys");
  const Json& value = member(member(member(member(root_, "Mappings"), text_of(list[0])), text_of(list[1])), text_of(list[2]));
  if (!value.is_null()) return value;
  return wrong(where + ": Mappings has no " + text_of(list[0]) + "." + text_of(list[1]) + "." + text_of(list[2]));
}

Result<bool> Resolver::condition(const std::string& name) {
  const Json& condition = member(member(root_, "Conditions"), name);
  if (condition.is_null()) return wrong("Unresolved condition dependency " + name.substr(0, 255));
  return test(condition, "Conditions." + name, 0);
}

Result<bool> Resolver::test(const Json& json, const std::string& where, std::size_t depth) {
  made_ += kCost;
  if (made_ > kResolvedMax || depth > kTemplateDepthMax) return wrong(where + ": conditions that go in a circle, or too deep");
  const auto [function, argument] = intrinsic(json);
  if (function == "Condition") {
    const Json& other = member(member(root_, "Conditions"), text_of(*argument));
    if (other.is_null()) return wrong(where + ": Unresolved condition dependency " + text_of(*argument));
    return test(other, where, depth + 1);
  }
  if (function == "Equals" && argument->is_array() && argument->size() == 2) {
    TRY(const Json one, deep((*argument)[0], where, 1));
    TRY(const Json two, deep((*argument)[1], where, 1));
    return text_of(one) == text_of(two) && one.is_structured() == two.is_structured() && (!one.is_structured() || one == two);
  }
  const bool all = function == "And", negated = function == "Not";
  if ((!all && !negated && function != "Or") || !argument->is_array() || argument->empty() || argument->size() > (negated ? 1 : 10))
    return wrong(where + ": write Fn::Equals, Fn::And, Fn::Or, Fn::Not or a Condition");
  for (const Json& item : *argument) {
    TRY(const bool holds, test(item, where, depth + 1));
    if (negated) return !holds;
    if (holds != all) return holds;
  }
  return all;
}

}  // namespace mayfly::domain
