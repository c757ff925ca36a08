// parse_template takes any bytes, and what it accepts is expanded and resolved to an end.
#include <cstdint>

#include "base/assert.h"
#include "domain/serverless.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "Transform: AWS::Serverless-2016-10-31\nGlobals: {Function: {Layers: [a]}}\nResources:\n  F:\n    Type: AWS::Serverless::Function\n"
      "    Properties: {CodeUri: s3://b/k, AutoPublishAlias: live, FunctionUrlConfig: {AuthType: NONE}, Layers: [!Ref L]}\n",
      "V: [!Ref A, !GetAtt B.C, !Sub ['${a}', {a: !If [C, 1, 2]}], !Join ['', [a]], !Select [0, [a]], !Split [',', 'a,b']]\n"
      "Conditions: {C: !Or [!Equals [a, b], !Not [!Condition D]], D: !Condition C}\n",
      R"({"Resources": {"R": {"Type": "AWS::IAM::Role", "Properties": {"Fn::FindInMap": ["a", "b", "c"]}}},)"
      R"( "Mappings": {"a": {"b": {"c": 1}}}})",
      "a: &a [*a]\n",
      "a: &a [1]\nb: [*a, *a]\n",
      nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly::domain;
  const auto root = parse_template({reinterpret_cast<const char*>(data), size});
  if (!root) return 0;
  ASSERT(root->is_object(), "a template is a map");
  const auto expanded = expand_serverless(*root);
  const Json& all = expanded ? expanded->root : *root;
  each_reference(all, [](const std::string&) {});
  Resolver resolver(all, {.reference = [](const std::string& name) -> mayfly::Result<Json> { return Json(name); },
                          .attribute = [](const std::string& id, const std::string&) -> mayfly::Result<Json> { return Json(id); }});
  (void)resolver.value(all, "it");
  (void)resolver.condition("C");
  return 0;
}
