// What a template and parameters come to: the resources in the order in which they can be made, their properties with all references
// resolved, and how they differ from what a stack has. Pure; gateway/stacks.h does what it says.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "domain/template.h"
#include "gateway/stack.h"

namespace mayfly::gateway {

struct StackNames {                      // that Ref finds as AWS::StackName and AWS::StackId
  std::string name, id;
};

// Reads the template and its parameters; `previous` are those of the stack, for UsePreviousValue and what is not said. Errors are
// ValidationError in AWS's words where AWS has them.
struct ParameterValue {
  std::string value;
  bool previous = false;
};
[[nodiscard]] Result<StackSpec> read_spec(const std::string& text, const std::map<std::string, ParameterValue>& given,
                                          const Json& previous);
// Logical ids, each behind what it refers to; without those whose condition is false. Refuses types that can't be made, by name.
[[nodiscard]] Result<std::vector<std::string>> order_of(const StackSpec& spec, const StackNames& names);
[[nodiscard]] std::string capability_wanted(const StackSpec& spec);      // "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM" or ""

// Of one resource, its properties as they are to be made. `resources` are those that there are; what is `pending` has unknown values.
[[nodiscard]] Result<Json> properties_of(const StackSpec& spec, const StackNames& names, const std::vector<StackResource>& resources,
                                         const std::set<std::string>& pending, const std::string& id);
[[nodiscard]] Result<Json> outputs_of(const StackSpec& spec, const StackNames& names, const std::vector<StackResource>& resources,
                                      const std::set<std::string>& pending);
struct StackChanges {
  Json changes = Json::array();          // as ChangeSet's
  bool any = false;                      // outputs and tags counted
};
[[nodiscard]] Result<StackChanges> changes_of(const StackSpec& spec, const Stack& stack);

}  // namespace mayfly::gateway
