#include "gateway/stack_plan.h"

#include <algorithm>

#include "domain/arn.h"
#include "domain/serverless.h"
#include "gateway/stack_resources.h"

namespace mayfly::gateway {
namespace {

using domain::member;
using domain::text_of;

constexpr std::size_t kStackParametersMax = 200, kParameterBytesMax = 4096;   // as there

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

Result<std::string> pseudo(const std::string& name, const StackNames& names) {
  if (name == "AWS::Region") return std::string(domain::kAwsRegion);
  if (name == "AWS::AccountId") return std::string(domain::kAwsAccount);
  if (name == "AWS::Partition") return std::string("aws");
  if (name == "AWS::URLSuffix") return std::string("amazonaws.com");
  if (name == "AWS::StackName") return names.name;
  if (name == "AWS::StackId") return names.id;
  return wrong("Unresolved resource dependencies [" + name.substr(0, 255) + "] in the Resources block of the template");
}

// "F.Version" and "F.Alias" are SAM's names for what it made of F.
std::string real_id(const StackSpec& spec, const std::string& name) {
  for (const char* suffix : {"Version", "Alias"}) {
    const std::string base = name.ends_with(std::string(".") + suffix) ? name.substr(0, name.rfind('.')) : "";
    if (!base.empty())
      for (const auto& [id, resource] : member(spec.root, "Resources").items())
        if (id.starts_with(base + suffix) && text_of(member(resource, "Type")) == std::string("AWS::Lambda::") + suffix) return id;
  }
  return name;
}

domain::Lookups lookups(const StackSpec& spec, const StackNames& names, const std::vector<StackResource>& resources,
                        const std::set<std::string>& pending) {
  const auto found = [&resources](const std::string& id) { return std::ranges::find(resources, id, &StackResource::id); };
  return {.reference = [&, found](const std::string& name) -> Result<Json> {
            if (spec.parameters.contains(name)) {
              const std::string type = text_of(member(member(member(spec.root, "Parameters"), name), "Type"));
              const Json& value = spec.parameters[name];
              if (!type.starts_with("List<") && type != "CommaDelimitedList") return value;
              Json list = Json::array();
              std::string_view rest = value.get_ref<const std::string&>();
              for (;;) {
                const std::size_t end = std::min(rest.find(','), rest.size());
                list.push_back(std::string(rest.substr(0, end)));
                if (end == rest.size()) return list;
                rest.remove_prefix(end + 1);
              }
            }
            const std::string id = real_id(spec, name);
            if (pending.contains(id)) return Json("\x01new " + id);
            if (const auto at = found(id); at != resources.end()) return Json(at->physical);
            TRY(const std::string text, pseudo(name, names));
            return Json(text);
          },
          .attribute = [&, found](const std::string& name, const std::string& attribute) -> Result<Json> {
            const std::string id = real_id(spec, name);
            if (pending.contains(id)) return Json("\x01new " + id + "." + attribute);
            const auto at = found(id);
            if (at == resources.end()) {
              TRY(const std::string text, pseudo(name, names));
              return Json(text);
            }
            if (const Json& value = member(at->attributes, attribute); !value.is_null()) return value;
            return wrong("Requested attribute " + attribute.substr(0, 80) + " does not exist in schema for " + at->type);
          }};
}

const Json& resource_of(const StackSpec& spec, const std::string& id) { return member(member(spec.root, "Resources"), id); }

Result<void> check_parameter(const std::string& name, const Json& parameter, const std::string& value) {
  if (value.size() > kParameterBytesMax)
    return wrong("Parameter '" + name + "' has " + std::to_string(value.size()) + " bytes: at most " + std::to_string(kParameterBytesMax));
  const Json& allowed = member(parameter, "AllowedValues");
  if (allowed.is_array() && std::ranges::none_of(allowed, [&](const Json& one) { return text_of(one) == value; }))
    return wrong("Parameter '" + name + "' must be one of AllowedValues");
  if (text_of(member(parameter, "Type")) == "Number" && (value.empty() || value.find_first_not_of("0123456789.-+eE") != value.npos))
    return wrong("Parameter '" + name + "' must be a number.");
  return {};
}

Result<void> visit(const StackSpec& spec, const std::string& id, std::map<std::string, int>& seen, std::vector<std::string>& order,
                   const std::map<std::string, std::set<std::string>>& needs) {
  int& state = seen[id];
  if (state == 2) return {};
  if (state == 1) return wrong("Circular dependency between resources: [" + id + "]");
  state = 1;
  for (const std::string& other : needs.at(id)) TRY_VOID(visit(spec, other, seen, order, needs));
  seen[id] = 2;
  order.push_back(id);
  return {};
}

}  // namespace

Result<StackSpec> read_spec(const std::string& text, const std::map<std::string, ParameterValue>& given, const Json& previous) {
  auto root = domain::parse_template(text);
  if (!root) return wrong("Template format error: " + root.error().message);
  TRY(domain::Expanded expanded, domain::expand_serverless(*root));
  StackSpec spec{.text = text, .root = std::move(expanded.root)};
  for (const auto& [id, note] : expanded.notes) {
    const std::string before = text_of(member(spec.notes, id));
    spec.notes[id] = before + (before.empty() ? "" : "; ") + note;
  }
  const Json& resources = member(spec.root, "Resources");
  if (!resources.is_object() || resources.empty()) return wrong("Template format error: At least one Resources member must be defined.");
  if (resources.size() > domain::kTemplateResourcesMax)
    return wrong("Template format error: Number of resources, " + std::to_string(resources.size()) + ", is greater than maximum allowed, " +
                 std::to_string(domain::kTemplateResourcesMax));
  const Json& parameters = member(spec.root, "Parameters");
  if (parameters.size() > kStackParametersMax)
    return wrong("Template format error: more than " + std::to_string(kStackParametersMax) + " parameters");
  for (const auto& [name, value] : given)
    if (!parameters.contains(name)) return wrong("Parameters: [" + name.substr(0, 255) + "] do not exist in the template");
  for (const auto& [name, parameter] : parameters.items()) {
    const auto said = given.find(name);
    const bool kept = (said == given.end() || said->second.previous) && previous.contains(name) && said != given.end();
    if (said != given.end() && !said->second.previous) spec.parameters[name] = said->second.value;
    else if (kept) spec.parameters[name] = previous[name];
    else if (parameter.contains("Default")) spec.parameters[name] = text_of(parameter["Default"]);
    else return wrong("Parameters: [" + name.substr(0, 255) + "] must have values");
    TRY_VOID(check_parameter(name, parameter, spec.parameters[name].get_ref<const std::string&>()));
  }
  return spec;
}

Result<std::vector<std::string>> order_of(const StackSpec& spec, const StackNames& names) {
  const std::vector<StackResource> none;
  const std::set<std::string> nothing;
  domain::Resolver conditions(spec.root, lookups(spec, names, none, nothing));
  std::map<std::string, std::set<std::string>> needs;
  std::vector<std::string> ids;
  std::string unknown;
  for (const auto& [id, resource] : member(spec.root, "Resources").items()) {
    if (id.size() > 255 ||
        !std::ranges::all_of(id, [](char c) { return (c | 32) >= 'a' && (c | 32) <= 'z' ? true : c >= '0' && c <= '9'; }))
      return wrong("Template format error: Resource name " + id.substr(0, 255) + " is non alphanumeric.");
    if (const std::string condition = text_of(member(resource, "Condition")); !condition.empty()) {
      TRY(const bool holds, conditions.condition(condition));
      if (!holds) continue;
    }
    const std::string type = text_of(member(resource, "Type"));
    if (!StackResources::can_make(type, names.name)) unknown += (unknown.empty() ? "" : ", ") + id + " (" + type.substr(0, 120) + ")";
    ids.push_back(id);
    needs[id];
  }
  if (!unknown.empty()) return wrong("Unrecognized resource types: this node can't make " + unknown + ": leave them out");
  for (const std::string& id : ids) {
    const Json& resource = resource_of(spec, id);
    const auto need = [&](const std::string& name) {
      std::string other = real_id(spec, name);
      if (!needs.contains(other)) other = other.substr(0, other.find('.'));
      if (needs.contains(other) && other != id) needs[id].insert(other);
    };
    domain::each_reference(member(resource, "Properties"), need);
    const Json& on = member(resource, "DependsOn");
    if (on.is_string()) need(on.get<std::string>());
    if (on.is_array())
      for (const Json& other : on) need(text_of(other));
  }
  std::map<std::string, int> seen;
  std::vector<std::string> order;
  for (const std::string& id : ids) TRY_VOID(visit(spec, id, seen, order, needs));
  return order;
}

std::string capability_wanted(const StackSpec& spec) {
  std::string wanted;
  for (const auto& [id, resource] : member(spec.root, "Resources").items()) {
    if (!text_of(member(resource, "Type")).starts_with("AWS::IAM::")) continue;
    const Json& properties = member(resource, "Properties");
    for (const char* name : {"RoleName", "PolicyName", "ManagedPolicyName"})
      if (name != std::string("PolicyName") && properties.contains(name)) return "CAPABILITY_NAMED_IAM";
    wanted = "CAPABILITY_IAM";
  }
  return wanted;
}

Result<Json> properties_of(const StackSpec& spec, const StackNames& names, const std::vector<StackResource>& resources,
                           const std::set<std::string>& pending, const std::string& id) {
  const Json& properties = member(resource_of(spec, id), "Properties");
  if (properties.is_null()) return Json::object();
  if (!properties.is_object()) return wrong(id + ".Properties: a map is wanted");
  return domain::Resolver(spec.root, lookups(spec, names, resources, pending)).value(properties, id);
}

Result<Json> outputs_of(const StackSpec& spec, const StackNames& names, const std::vector<StackResource>& resources,
                        const std::set<std::string>& pending) {
  Json outputs = Json::array();
  domain::Resolver resolver(spec.root, lookups(spec, names, resources, pending));
  for (const auto& [key, output] : member(spec.root, "Outputs").items()) {
    if (const std::string condition = text_of(member(output, "Condition")); !condition.empty()) {
      TRY(const bool holds, resolver.condition(condition));
      if (!holds) continue;
    }
    TRY(const std::string value, resolver.text(member(output, "Value"), "Outputs." + key));
    outputs.push_back({{"key", key}, {"value", value}, {"description", text_of(member(output, "Description"))}});
  }
  return outputs;
}

Result<StackChanges> changes_of(const StackSpec& spec, const Stack& stack) {
  const StackNames names{stack.name, stack.id};
  TRY(const auto order, order_of(spec, names));
  StackChanges all;
  std::set<std::string> pending;
  const auto add = [&](const std::string& id, const std::string& type, const std::string& physical, const char* action,
                       const char* replacement) {
    all.changes.push_back({{"id", id}, {"type", type}, {"physical", physical}, {"action", action}, {"replacement", replacement}});
  };
  for (const std::string& id : order)
    if (std::ranges::find(stack.resources, id, &StackResource::id) == stack.resources.end()) pending.insert(id);
  for (const std::string& id : order) {
    TRY(const Json properties, properties_of(spec, names, stack.resources, pending, id));
    const std::string type = text_of(member(resource_of(spec, id), "Type"));
    const auto before = std::ranges::find(stack.resources, id, &StackResource::id);
    if (before == stack.resources.end()) {
      TRY_VOID(StackResources::check(type, id, properties));
      add(id, type, "", "Add", "");
    } else if (before->type != type) {
      return wrong("Update of resource type is not permitted. The new template modifies resource type of the following resources: [" + id +
                   "]");
    } else if (before->properties != properties) {
      TRY_VOID(StackResources::check(type, id, properties));
      const bool replaces = StackResources::replaces(type, before->properties, properties);
      if (replaces) pending.insert(id);
      add(id, type, before->physical, "Modify", replaces ? "True" : "False");
    }
  }
  for (const StackResource& resource : stack.resources)
    if (std::ranges::find(order, resource.id) == order.end()) add(resource.id, resource.type, resource.physical, "Remove", "");
  TRY(const Json outputs, outputs_of(spec, names, stack.resources, pending));
  all.any = !all.changes.empty() || outputs != stack.outputs || spec.tags != stack.spec.tags;
  return all;
}

}  // namespace mayfly::gateway
