// A template of AWS CloudFormation or SAM as a tree of values, and the intrinsic functions in it. What is made of it is others' to say:
// the functions that `mayfly deploy` reads (app/sam.h), and stacks (gateway/stack.h). Pure; foreign bytes go in.
//
// parse_template takes YAML or JSON: !Ref X is {"Ref": "X"}, every scalar of YAML a text. Promises: it ends with an error where the
// text is over kTemplateMax, where aliases blow it up over kTemplateNodesMax values, or where it is nested deeper than kTemplateDepthMax.
// A Resolver makes texts and trees of values: Ref, Sub, GetAtt, Join, Select, Split, FindInMap, If and what Conditions have. What it
// makes is at most kResolvedMax bytes together.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "domain/json.h"

namespace mayfly::domain {

using Json = nlohmann::ordered_json;

constexpr std::size_t kTemplateMax = 1 << 20, kTemplateNodesMax = 100'000, kTemplateDepthMax = 48;
constexpr std::size_t kTemplateResourcesMax = 500;             // as there
constexpr std::size_t kResolvedMax = 8 << 20;

[[nodiscard]] Result<Json> parse_template(std::string_view text);

// A scalar as a text; "" of what is none.
[[nodiscard]] std::string text_of(const Json& json);
// "Ref" and X of {"Ref": X}; "Sub" and X of {"Fn::Sub": X}; nothing of what is no intrinsic function.
[[nodiscard]] std::pair<std::string, const Json*> intrinsic(const Json& json);
// object[key], null where it isn't there.
[[nodiscard]] const Json& member(const Json& object, const std::string& key);
// Every Ref, GetAtt and Sub in it: names as they stand there, "X" or "X.Attribute".
void each_reference(const Json& json, const std::function<void(const std::string& name)>& told);

struct Lookups {
  std::function<Result<Json>(const std::string& name)> reference;
  std::function<Result<Json>(const std::string& id, const std::string& attribute)> attribute;
};

class Resolver {
 public:
  // Mappings and Conditions are the root's, which must outlive this.
  Resolver(const Json& root, Lookups lookups) : root_(root), lookups_(std::move(lookups)) {}

  // All that is in it; `where` begins errors. What is {"Ref": "AWS::NoValue"} is left out of objects and lists, and alone is null.
  [[nodiscard]] Result<Json> value(const Json& json, const std::string& where) { return deep(json, where, 0); }
  [[nodiscard]] Result<std::string> text(const Json& json, const std::string& where);    // "" of null
  [[nodiscard]] Result<bool> condition(const std::string& name);

 private:
  Result<Json> deep(const Json& json, const std::string& where, std::size_t depth);
  Result<Json> call(const std::string& function, const Json& argument, const std::string& where, std::size_t depth);
  Result<Json> substitute(const Json& argument, const std::string& where, std::size_t depth);
  Result<Json> attribute(const Json& argument, const std::string& where, std::size_t depth);
  Result<Json> join(const Json& list, const std::string& where);
  Result<Json> select(const Json& list, const std::string& where);
  Result<Json> find_in_map(const Json& list, const std::string& where);
  Result<bool> test(const Json& json, const std::string& where, std::size_t depth);
  Result<Json> made(std::string text, const std::string& where);

  const Json& root_;
  const Lookups lookups_;
  std::size_t made_ = 0;
};

}  // namespace mayfly::domain
