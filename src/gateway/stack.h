// A stack of AWS CloudFormation as a value: what it was asked to be, the resources that it has, what happened to it, and the change
// sets that wait. As a document it survives a restart of the node (control/deploys.h). Pure; gateway/stacks.h moves it.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "domain/template.h"

namespace mayfly::gateway {

using domain::Json;

struct StackSpec {                       // what a stack is to be
  std::string text;                      // the template as it came
  Json root;                             // … without the transform
  Json parameters = Json::object();      // name: value, defaults included
  Json tags = Json::object(), capabilities = Json::array();
  Json notes = Json::object();           // logical id: what of it is not made
};

struct StackResource {
  std::string id, type, physical, status, reason;
  Json properties, attributes;           // as they were made; what Fn::GetAtt finds
  bool retain = false;                   // when it is no longer in the template, or the stack goes
  std::int64_t updated_us = 0;
  friend bool operator==(const StackResource&, const StackResource&) = default;
};

struct StackStep {                       // of a change under way: how it is undone
  std::string id, action;                // "create", "update", "replace"
  Json before;                           // the resource; null: there was none
  Json snapshot;                         // StackResources::snapshot()
};

struct ChangeSet {
  std::string name, id, description, type;   // "CREATE" or "UPDATE"
  std::string status, reason, execution;
  StackSpec spec;
  Json changes = Json::array();          // {"id", "type", "physical", "action", "replacement"}
  std::int64_t created_us = 0;
};

struct Stack {
  static constexpr std::size_t kEventsMax = 500, kChangeSetsMax = 10;

  std::string name, id, status, reason, host;
  StackSpec spec, next;                  // next: while a change is under way
  std::vector<StackResource> resources;
  std::vector<StackStep> steps;          // done or begun, of the change under way
  std::vector<Json> events;              // oldest first: {"id", "us", "resource", "type", "physical", "status", "reason"}
  std::vector<ChangeSet> change_sets;
  Json outputs = Json::array();          // {"key", "value", "description"}
  bool rollback = true;
  std::int64_t created_us = 0, updated_us = 0;

  [[nodiscard]] StackResource* find(const std::string& resource);
  [[nodiscard]] bool busy() const { return status.ends_with("_IN_PROGRESS") && status != "REVIEW_IN_PROGRESS"; }
};

[[nodiscard]] Json to_json(const StackResource& resource);
[[nodiscard]] StackResource resource_from(const Json& json);
[[nodiscard]] std::string to_document(const Stack& stack);
[[nodiscard]] Result<Stack> stack_from(const std::string& document);

}  // namespace mayfly::gateway
