// AWS CloudFormation's query protocol of 2010-05-15 (and STS's GetCallerIdentity of 2011-06-15): POST / with Action=…, answered in XML;
// what the SAM CLI and `aws cloudformation deploy` ask. Change sets, stacks, their events, resources and templates. Driven by
// gateway/gateway.h; templates are read on a background line, stacks moved by gateway/stacks.h. What it is asked is answered in
// cloudformation_views.cpp. Actions that are not here are refused by name.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "control/deploys.h"
#include "gateway/router.h"
#include "gateway/sigv4.h"
#include "gateway/stack_plan.h"
#include "gateway/stacks.h"

namespace mayfly::gateway {

class CloudFormation {
 public:
  using Form = std::map<std::string, std::string, std::less<>>;
  CloudFormation(Stacks& stacks, control::Deploys& deploys, const Turn& turn, const sigv4::Keys& keys);
  void add_routes(Router& router);

 private:
  struct Refused {                        // as AWS's error: its code and words
    std::string code, message;
    int status = 400;
  };
  struct Call {
    Form form;
    Responder to;
    std::string action, host;
    [[nodiscard]] std::string text(const std::string& key) const;
    [[nodiscard]] std::vector<std::string> list(const std::string& key) const;   // key.member.N
  };
  struct Wanted {                         // of a change
    std::string text;
    std::map<std::string, ParameterValue> parameters;
    Json tags = Json::object(), capabilities = Json::array();
  };
  using Told = std::function<void(Result<StackSpec>, Result<StackChanges>)>;

  void handle(HttpRequest& request, const Responder& to);
  void act(const Call& call);
  [[nodiscard]] bool ask(const Call& call);                     // what changes nothing; false: it is another action
  static void answer(const Call& call, const Json& result);
  static void refuse(const Call& call, const Refused& why);
  static void refuse(const Call& call, const Error& error) { refuse(call, {"ValidationError", error.message}); }
  [[nodiscard]] Stack* need(const Call& call);                  // null: it was refused
  [[nodiscard]] ChangeSet* need_change_set(const Call& call, Stack*& stack);
  [[nodiscard]] static Result<Wanted> wanted_of(const Call& call);
  // The template's text from TemplateBody or TemplateURL, or the stack's own.
  void with_template(const Call& call, const Stack* stack, std::function<void(const std::string&)> then);
  // Reads and compares on a background line.
  void prepare(Wanted wanted, const Stack& stack, Told told);
  void create_change_set(const Call& call);
  void prepared(const Call& call, const std::string& stack, Result<StackSpec> spec, const Result<StackChanges>& changes);
  void execute_change_set(const Call& call);
  void change_stack(const Call& call, bool create);             // CreateStack, UpdateStack
  void delete_stack(const Call& call);
  void describe_change_set(const Call& call);
  void describe_stacks(const Call& call);
  void describe_events(const Call& call);
  void describe_resources(const Call& call);
  void get_template(const Call& call);
  void template_summary(const Call& call);

  Stacks& stacks_;
  control::Deploys& deploys_;
  const Turn& turn_;
  const sigv4::Keys& keys_;
};

}  // namespace mayfly::gateway
