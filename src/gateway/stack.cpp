#include "gateway/stack.h"

#include <algorithm>

#include "gateway/lambda_forms.h"

namespace mayfly::gateway {
namespace {

Json json_of(const StackSpec& spec) {
  return {{"text", spec.text}, {"root", spec.root}, {"parameters", spec.parameters}, {"tags", spec.tags},
          {"capabilities", spec.capabilities}, {"notes", spec.notes}};
}

StackSpec spec_from(const Json& json) {
  return {.text = json.at("text").get<std::string>(), .root = json.at("root"), .parameters = json.at("parameters"), .tags = json.at("tags"),
          .capabilities = json.at("capabilities"), .notes = json.at("notes")};
}

Json json_of(const ChangeSet& set) {
  return {{"name", set.name}, {"id", set.id}, {"description", set.description}, {"type", set.type}, {"status", set.status},
          {"reason", set.reason}, {"execution", set.execution}, {"spec", json_of(set.spec)}, {"changes", set.changes},
          {"created_us", set.created_us}};
}

std::string text(const Json& json, const char* key) { return json.at(key).get<std::string>(); }

ChangeSet change_set_from(const Json& json) {
  return {.name = text(json, "name"), .id = text(json, "id"), .description = text(json, "description"), .type = text(json, "type"),
          .status = text(json, "status"), .reason = text(json, "reason"), .execution = text(json, "execution"),
          .spec = spec_from(json.at("spec")), .changes = json.at("changes"), .created_us = json.at("created_us").get<std::int64_t>()};
}

}  // namespace

StackResource* Stack::find(const std::string& resource) {
  const auto at = std::ranges::find(resources, resource, &StackResource::id);
  return at == resources.end() ? nullptr : &*at;
}

Json to_json(const StackResource& r) {
  return {{"id", r.id}, {"type", r.type}, {"physical", r.physical}, {"status", r.status}, {"reason", r.reason},
          {"properties", r.properties}, {"attributes", r.attributes}, {"retain", r.retain}, {"updated_us", r.updated_us}};
}

StackResource resource_from(const Json& json) {
  return {.id = text(json, "id"), .type = text(json, "type"), .physical = text(json, "physical"), .status = text(json, "status"),
          .reason = text(json, "reason"), .properties = json.at("properties"), .attributes = json.at("attributes"),
          .retain = json.at("retain").get<bool>(), .updated_us = json.at("updated_us").get<std::int64_t>()};
}

std::string to_document(const Stack& stack) {
  Json json{{"name", stack.name}, {"id", stack.id}, {"status", stack.status}, {"reason", stack.reason}, {"host", stack.host},
            {"spec", json_of(stack.spec)}, {"next", json_of(stack.next)}, {"resources", Json::array()}, {"steps", Json::array()},
            {"events", stack.events}, {"change_sets", Json::array()}, {"outputs", stack.outputs}, {"rollback", stack.rollback},
            {"created_us", stack.created_us}, {"updated_us", stack.updated_us}};
  for (const StackResource& resource : stack.resources) json["resources"].push_back(to_json(resource));
  for (const StackStep& step : stack.steps)
    json["steps"].push_back({{"id", step.id}, {"action", step.action}, {"before", step.before}, {"snapshot", step.snapshot}});
  for (const ChangeSet& set : stack.change_sets) json["change_sets"].push_back(json_of(set));
  return lambda::dump(json);
}

Result<Stack> stack_from(const std::string& document) {
  try {
    const Json json = Json::parse(document);
    Stack stack{.name = text(json, "name"), .id = text(json, "id"), .status = text(json, "status"), .reason = text(json, "reason"),
                .host = text(json, "host"), .spec = spec_from(json.at("spec")), .next = spec_from(json.at("next"))};
    for (const Json& resource : json.at("resources")) stack.resources.push_back(resource_from(resource));
    for (const Json& step : json.at("steps"))
      stack.steps.push_back({text(step, "id"), text(step, "action"), step.at("before"), step.at("snapshot")});
    for (const Json& event : json.at("events")) stack.events.push_back(event);
    for (const Json& set : json.at("change_sets")) stack.change_sets.push_back(change_set_from(set));
    stack.outputs = json.at("outputs");
    stack.rollback = json.at("rollback").get<bool>();
    stack.created_us = json.at("created_us").get<std::int64_t>();
    stack.updated_us = json.at("updated_us").get<std::int64_t>();
    return stack;
  } catch (const Json::exception& error) { return fail(Code::data_loss, std::string("a stack's document can't be read: ") + error.what()); }
}

}  // namespace mayfly::gateway
