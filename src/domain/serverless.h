// What the transform AWS::Serverless-2016-10-31 makes of a template: AWS::Serverless::Function and LayerVersion become the AWS::Lambda
// resources that they stand for, with Globals; names as SAM gives them (FRole, FVersion…, FAliaslive, FUrl). A template without the
// transform stays as it is. Pure. app/sam.h shares its reading of Globals.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "domain/template.h"

namespace mayfly::domain {

constexpr const char* kServerless = "AWS::Serverless";         // of the transform, and of its resources' types
constexpr const char* kServerlessFunction = "AWS::Serverless::Function";
constexpr const char* kServerlessLayer = "AWS::Serverless::LayerVersion";

// Properties over Globals: objects are joined, lists come one behind the other, of anything else the first is taken.
[[nodiscard]] Json over_globals(const Json& properties, const Json& globals);
// hello-world-function of HelloWorldFunction.
[[nodiscard]] std::string function_name_of(const std::string& logical_id);

struct Expanded {
  Json root;                                                   // of plain resources
  std::vector<std::pair<std::string, std::string>> notes;      // by logical id: what of it is not made
};
[[nodiscard]] Result<Expanded> expand_serverless(const Json& root);

}  // namespace mayfly::domain
