// The part of CloudFormation that tells what there is: stacks, events, resources, change sets and templates.
#include <algorithm>
#include <memory>
#include <utility>

#include "base/rfc3339.h"
#include "gateway/cloudformation.h"
#include "gateway/lambda_forms.h"

namespace mayfly::gateway {
namespace {

using domain::member;
using domain::text_of;

std::string time_of(std::int64_t us) { return rfc3339(WallTime{std::chrono::microseconds(us)}); }

Json listed(const Json& object, const char* key, const char* value) {
  Json list = Json::array();
  for (const auto& [k, v] : object.items()) list.push_back({{key, k}, {value, v}});
  return list;
}

Json resource_json(const Stack& stack, const StackResource& resource, bool named) {
  Json json{{"LogicalResourceId", resource.id}, {"PhysicalResourceId", resource.physical}, {"ResourceType", resource.type},
            {named ? "Timestamp" : "LastUpdatedTimestamp", time_of(resource.updated_us)}, {"ResourceStatus", resource.status}};
  if (!resource.reason.empty()) json["ResourceStatusReason"] = resource.reason;
  if (named) json.update({{"StackName", stack.name}, {"StackId", stack.id}});
  return json;
}

Json stack_json(const Stack& stack) {
  Json json{{"StackId", stack.id},
            {"StackName", stack.name},
            {"Parameters", listed(stack.spec.parameters, "ParameterKey", "ParameterValue")},
            {"CreationTime", time_of(stack.created_us)},
            {"StackStatus", stack.status},
            {"DisableRollback", !stack.rollback},
            {"NotificationARNs", Json::array()},
            {"Capabilities", stack.spec.capabilities},
            {"Outputs", Json::array()},
            {"Tags", listed(stack.spec.tags, "Key", "Value")},
            {"EnableTerminationProtection", false},
            {"DriftInformation", {{"StackDriftStatus", "NOT_CHECKED"}}}};
  if (stack.updated_us != 0) json["LastUpdatedTime"] = time_of(stack.updated_us);
  if (!stack.reason.empty()) json["StackStatusReason"] = stack.reason;
  if (const std::string text = text_of(member(stack.spec.root, "Description")); !text.empty()) json["Description"] = text;
  for (const Json& output : stack.outputs) {
    Json one{{"OutputKey", output["key"]}, {"OutputValue", output["value"]}};
    if (!text_of(output["description"]).empty()) one["Description"] = output["description"];
    json["Outputs"].push_back(std::move(one));
  }
  return json;
}

}  // namespace

bool CloudFormation::ask(const Call& call) {
  struct Question { const char* action; void (CloudFormation::*answered)(const Call&); };
  constexpr Question kQuestions[] = {
      {"DescribeStacks", &CloudFormation::describe_stacks}, {"ListStacks", &CloudFormation::describe_stacks},
      {"DescribeStackEvents", &CloudFormation::describe_events}, {"DescribeChangeSet", &CloudFormation::describe_change_set},
      {"ListChangeSets", &CloudFormation::describe_change_set}, {"DescribeStackResources", &CloudFormation::describe_resources},
      {"DescribeStackResource", &CloudFormation::describe_resources}, {"ListStackResources", &CloudFormation::describe_resources},
      {"GetTemplate", &CloudFormation::get_template}, {"GetTemplateSummary", &CloudFormation::template_summary},
      {"ValidateTemplate", &CloudFormation::template_summary}};
  const auto* at = std::ranges::find(kQuestions, call.action, [](const Question& q) { return std::string(q.action); });
  if (at == std::end(kQuestions)) return false;
  (this->*at->answered)(call);
  return true;
}

void CloudFormation::describe_stacks(const Call& call) {
  Json all = Json::array();
  if (call.action == "ListStacks") {
    const auto statuses = call.list("StackStatusFilter");
    for (const auto& [name, stack] : stacks_.all())
      if (statuses.empty() || std::ranges::find(statuses, stack->status) != statuses.end())
        all.push_back(
            {{"StackId", stack->id}, {"StackName", name}, {"CreationTime", time_of(stack->created_us)}, {"StackStatus", stack->status}});
    return answer(call, {{"StackSummaries", std::move(all)}});
  }
  if (!call.text("StackName").empty()) {
    const Stack* stack = need(call);
    if (!stack) return;
    all.push_back(stack_json(*stack));
  } else {
    for (const auto& [name, stack] : stacks_.all()) all.push_back(stack_json(*stack));
  }
  answer(call, {{"Stacks", std::move(all)}});
}

void CloudFormation::describe_events(const Call& call) {
  const Stack* stack = need(call);
  if (!stack) return;
  Json all = Json::array();
  for (const Json& event : stack->events) {
    Json one{{"StackId", stack->id}, {"EventId", event["id"]}, {"StackName", stack->name}, {"LogicalResourceId", event["resource"]},
             {"PhysicalResourceId", event["physical"]}, {"ResourceType", event["type"]},
             {"Timestamp", time_of(event["us"].get<std::int64_t>())}, {"ResourceStatus", event["status"]}};
    if (!text_of(event["reason"]).empty()) one["ResourceStatusReason"] = event["reason"];
    all.push_back(std::move(one));
  }
  std::ranges::reverse(all);
  answer(call, {{"StackEvents", std::move(all)}});
}

void CloudFormation::describe_resources(const Call& call) {
  const Stack* stack = need(call);
  if (!stack) return;
  const std::string wanted = call.text("LogicalResourceId");
  const bool described = call.action != "ListStackResources";
  Json all = Json::array();
  for (const StackResource& resource : stack->resources)
    if (wanted.empty() || resource.id == wanted) all.push_back(resource_json(*stack, resource, call.action == "DescribeStackResources"));
  if (!described) return answer(call, {{"StackResourceSummaries", std::move(all)}});
  if (call.action == "DescribeStackResources") return answer(call, {{"StackResources", std::move(all)}});
  if (all.empty())
    return refuse(call, {"ValidationError", "Resource " + wanted.substr(0, 255) + " does not exist for stack " + stack->name});
  answer(call, {{"StackResourceDetail", all[0]}});
}

void CloudFormation::describe_change_set(const Call& call) {
  if (call.action == "ListChangeSets") {
    const Stack* stack = need(call);
    if (!stack) return;
    Json all = Json::array();
    for (const ChangeSet& set : stack->change_sets)
      all.push_back({{"StackId", stack->id},
                     {"StackName", stack->name},
                     {"ChangeSetId", set.id},
                     {"ChangeSetName", set.name},
                     {"ExecutionStatus", set.execution},
                     {"Status", set.status},
                     {"StatusReason", set.reason},
                     {"CreationTime", time_of(set.created_us)}});
    return answer(call, {{"Summaries", std::move(all)}});
  }
  Stack* stack = nullptr;
  const ChangeSet* set = need_change_set(call, stack);
  if (!set) return;
  Json changes = Json::array();
  for (const Json& change : set->changes) {
    Json one{{"Action", change["action"]},
             {"LogicalResourceId", change["id"]},
             {"ResourceType", change["type"]},
             {"Scope", Json::array()},
             {"Details", Json::array()}};
    if (!text_of(change["physical"]).empty()) one["PhysicalResourceId"] = change["physical"];
    if (!text_of(change["replacement"]).empty()) one["Replacement"] = change["replacement"];
    changes.push_back({{"Type", "Resource"}, {"ResourceChange", std::move(one)}});
  }
  Json json{{"ChangeSetName", set->name}, {"ChangeSetId", set->id}, {"StackId", stack->id}, {"StackName", stack->name},
            {"Description", set->description}, {"Parameters", listed(set->spec.parameters, "ParameterKey", "ParameterValue")},
            {"CreationTime", time_of(set->created_us)}, {"ExecutionStatus", set->execution}, {"Status", set->status},
            {"NotificationARNs", Json::array()}, {"Capabilities", set->spec.capabilities}, {"Tags", listed(set->spec.tags, "Key", "Value")},
            {"Changes", std::move(changes)}};
  if (!set->reason.empty()) json["StatusReason"] = set->reason;
  answer(call, json);
}

void CloudFormation::get_template(const Call& call) {
  const Stack* stack = nullptr;
  const StackSpec* spec = nullptr;
  if (Stack* of = nullptr; !call.text("ChangeSetName").empty()) {
    const ChangeSet* set = need_change_set(call, of);
    if (!set) return;
    spec = &set->spec;
  } else {
    stack = need(call);
    if (!stack) return;
    spec = &stack->spec;
  }
  const bool processed = call.text("TemplateStage") == "Processed" && !spec->root.is_null();
  answer(call, {{"TemplateBody", processed ? lambda::dump(spec->root) : spec->text}, {"StagesAvailable", {"Original", "Processed"}}});
}

void CloudFormation::template_summary(const Call& call) {
  const Stack* stack = call.text("StackName").empty() ? nullptr : need(call);
  if (!stack && !call.text("StackName").empty()) return;
  with_template(call, stack, [this, call](const std::string& text) {
    const auto root = std::make_shared<Result<Json>>(fail(Code::internal, "not read"));
    const bool taken = deploys_.line()([root, text] { *root = domain::parse_template(text); }, [call, root] {
      if (!*root) return refuse(call, {"ValidationError", "Template format error: " + root->error().message});
      Json parameters = Json::array(), types = Json::array(), capabilities = Json::array();
      for (const auto& [name, parameter] : member(**root, "Parameters").items()) {
        Json one{{"ParameterKey", name},
                 {"ParameterType", text_of(member(parameter, "Type"))},
                 {"NoEcho", text_of(member(parameter, "NoEcho")) == "true"}};
        if (parameter.contains("Default")) one["DefaultValue"] = text_of(parameter["Default"]);
        if (const std::string said = text_of(member(parameter, "Description")); !said.empty()) one["Description"] = said;
        parameters.push_back(std::move(one));
      }
      for (const auto& [id, resource] : member(**root, "Resources").items()) types.push_back(text_of(member(resource, "Type")));
      Json json{{"Parameters", std::move(parameters)}, {"Capabilities", std::move(capabilities)}};
      if (call.action == "GetTemplateSummary") json["ResourceTypes"] = std::move(types);
      if (const std::string said = text_of(member(**root, "Description")); !said.empty()) json["Description"] = said;
      answer(call, json);
    });
    if (!taken) refuse(call, {"Throttling", "the node has too much to do: try again"});
  });
}

}  // namespace mayfly::gateway
