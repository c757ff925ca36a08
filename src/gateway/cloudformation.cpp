#include "gateway/cloudformation.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <utility>

#include "domain/arn.h"
#include "gateway/lambda_forms.h"
#include "gateway/xml.h"

namespace mayfly::gateway {
namespace {

using domain::member;
using domain::text_of;

constexpr std::uint64_t kFormMax = 4 << 20;               // a template of 1 MiB, encoded
constexpr std::size_t kFieldsMax = 2000, kListMax = 250;
constexpr const char* kNamespace = "http://cloudformation.amazonaws.com/doc/2010-05-15/";
constexpr const char* kStsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/";
constexpr const char* kNoChanges =
    "The submitted information didn't contain changes. Submit different information to create a change set.";

bool is_stack_name(const std::string& name) {
  return !name.empty() && name.size() <= 128 && std::isalpha(static_cast<unsigned char>(name[0])) &&
         std::ranges::all_of(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-'; });
}

// BUCKET and KEY of http://HOST/BUCKET/KEY, or of http://BUCKET.s3.HOST/KEY.
std::pair<std::string, std::string> object_at(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t host = scheme == url.npos ? 0 : scheme + 3, slash = std::min(url.find('/', host), url.size());
  const std::size_t query = std::min(url.find('?'), url.size());
  std::string path = percent_decoded(url.substr(std::min(slash + 1, query), query - std::min(slash + 1, query))).value_or("");
  const std::string authority = url.substr(host, slash - host);
  if (url.starts_with("s3://")) return {authority, path};
  if (const std::size_t s3 = authority.find(".s3"); s3 != authority.npos) return {authority.substr(0, s3), path};
  const std::size_t end = std::min(path.find('/'), path.size());
  return {path.substr(0, end), path.substr(std::min(end + 1, path.size()))};
}

bool can_change(const Stack& stack) {
  const std::string& s = stack.status;
  return s == "CREATE_COMPLETE" || s == "UPDATE_COMPLETE" || s == "UPDATE_ROLLBACK_COMPLETE" || s == "UPDATE_FAILED";
}

}  // namespace

std::string CloudFormation::Call::text(const std::string& key) const {
  const auto at = form.find(key);
  return at == form.end() ? std::string() : at->second;
}

std::vector<std::string> CloudFormation::Call::list(const std::string& key) const {
  std::vector<std::string> all;
  for (std::size_t i = 1; i <= kListMax; ++i) {
    const auto at = form.find(key + ".member." + std::to_string(i));
    if (at == form.end()) break;
    all.push_back(at->second);
  }
  return all;
}

CloudFormation::CloudFormation(Stacks& stacks, control::Deploys& deploys, const Turn& turn, const sigv4::Keys& keys)
    : stacks_(stacks), deploys_(deploys), turn_(turn), keys_(keys) {}

void CloudFormation::add_routes(Router& router) {
  router.add(Method::post, "/", [this](HttpRequest& request, Responder to) { handle(request, to); }, kFormMax);
}

void CloudFormation::handle(HttpRequest& request, const Responder& to) {
  Call call{.to = to, .host = std::string(request.header("host"))};
  std::size_t fields = 0;
  for (std::string_view rest = request.body; const auto pair = take_pair(rest);) {
    const auto key = percent_decoded(pair->first, true), value = percent_decoded(pair->second, true);
    if (!key || !value || ++fields > kFieldsMax)
      return refuse(call, {"ValidationError", key && value ? "the request has more than " + std::to_string(kFieldsMax) + " fields"
                                                           : "the request is no form of name=value pairs"});
    call.form.emplace(*key, *value);
  }
  call.action = call.text("Action");
  const bool sts = call.text("Version") == "2011-06-15";
  if (!keys_.empty())
    if (const auto refusal = sigv4::check(request, keys_, turn_.wall, sts ? "sts" : "cloudformation"))
      return refuse(call, {refusal->type, refusal->message, 403});
  if (sts && call.action == "GetCallerIdentity") {
    const std::string account(domain::kAwsAccount);
    return answer(call, {{"Arn", "arn:aws:iam::" + account + ":root"}, {"UserId", account}, {"Account", account}});
  }
  if (sts || (call.text("Version") != "2010-05-15"))
    return refuse(call, {"InvalidAction", "'" + call.action.substr(0, 80) + "' of version '" + call.text("Version").substr(0, 40) +
                                              "' is not an action here: there is CloudFormation's 2010-05-15 and STS's GetCallerIdentity"});
  act(call);
}

void CloudFormation::answer(const Call& call, const Json& result) {
  const std::string name = call.action + "Result";
  const std::string body = "<" + call.action + "Response xmlns=\"" + (call.text("Version") == "2011-06-15" ? kStsNamespace : kNamespace) +
                           "\">" + xml::element(name, result) +
                           "<ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId>" + "</ResponseMetadata></" +
                           call.action + "Response>";
  call.to.send({.content_type = "text/xml", .body = body});
}

void CloudFormation::refuse(const Call& call, const Refused& why) {
  const Json error{{"Type", why.status < 500 ? "Sender" : "Receiver"}, {"Code", why.code}, {"Message", why.message}};
  call.to.send({.status = why.status, .content_type = "text/xml",
                .body = std::string("<ErrorResponse xmlns=\"") + kNamespace + "\">" + xml::element("Error", error) + "</ErrorResponse>"});
}

Stack* CloudFormation::need(const Call& call) {
  const std::string name = call.text("StackName");
  if (name.empty()) {
    refuse(call, {"ValidationError", "StackName is missing: name the stack"});
    return nullptr;
  }
  Stack* stack = stacks_.find(name);
  if (!stack) refuse(call, {"ValidationError", "Stack with id " + name.substr(0, 1024) + " does not exist"});
  return stack;
}

ChangeSet* CloudFormation::need_change_set(const Call& call, Stack*& stack) {
  const std::string name = call.text("ChangeSetName");
  for (const auto& [stack_name, one] : stacks_.all())
    for (ChangeSet& set : one->change_sets)
      if (set.id == name || (set.name == name && (stack_name == call.text("StackName") || one->id == call.text("StackName")))) {
        stack = one.get();
        return &set;
      }
  if (!call.text("StackName").empty() && !need(call)) return nullptr;
  refuse(call, {"ChangeSetNotFound", "ChangeSet [" + name.substr(0, 1024) + "] does not exist", 404});
  return nullptr;
}

// Templates ------------------------------------------------------------------------------------------

void CloudFormation::with_template(const Call& call, const Stack* stack, std::function<void(const std::string&)> then) {
  if (const std::string body = call.text("TemplateBody"); !body.empty()) return then(body);
  const std::string url = call.text("TemplateURL");
  if (url.empty()) {
    if (stack && (call.text("UsePreviousTemplate") == "true" || call.action == "GetTemplateSummary")) return then(stack->spec.text);
    return refuse(call, {"ValidationError", "Either Template URL or Template Body must be specified."});
  }
  const auto [bucket, key] = object_at(url);
  const control::Deploys::Object* object = deploys_.find(bucket, key);
  if (!object)
    return refuse(call, {"ValidationError", "S3 error: The specified key does not exist: '" + key.substr(0, 200) +
                                                "' in the deploy bucket '" + bucket.substr(0, 63) + "'"});
  if (object->size.count > domain::kTemplateMax)
    return refuse(call, {"ValidationError", "Template may not exceed " + std::to_string(domain::kTemplateMax) + " bytes in size."});
  deploys_.read(object->sha256, 0, [call, then = std::move(then)](const Result<std::string>& text) {
    if (!text) return refuse(call, {"InternalFailure", text.error().message, 500});
    then(*text);
  });
}

Result<CloudFormation::Wanted> CloudFormation::wanted_of(const Call& call) {
  Wanted wanted;
  for (std::size_t i = 1; i <= kListMax; ++i) {
    const std::string at = "Parameters.member." + std::to_string(i) + ".";
    if (!call.form.contains(at + "ParameterKey")) break;
    wanted.parameters[call.text(at + "ParameterKey")] = {call.text(at + "ParameterValue"), call.text(at + "UsePreviousValue") == "true"};
  }
  for (std::size_t i = 1; i <= 50; ++i) {
    const std::string at = "Tags.member." + std::to_string(i) + ".";
    if (!call.form.contains(at + "Key")) break;
    wanted.tags[call.text(at + "Key")] = call.text(at + "Value");
  }
  for (const std::string& capability : call.list("Capabilities")) wanted.capabilities.push_back(capability);
  return wanted;
}

void CloudFormation::prepare(Wanted wanted, const Stack& stack, Told told) {
  struct Prepared {
    Result<StackSpec> spec = fail(Code::internal, "not read");
    Result<StackChanges> changes = fail(Code::internal, "not compared");
  };
  const auto prepared = std::make_shared<Prepared>();
  const bool taken = deploys_.line()([prepared, wanted = std::move(wanted), stack] {
    prepared->spec = read_spec(wanted.text, wanted.parameters, stack.spec.parameters);
    if (!prepared->spec) return;
    prepared->spec->tags = wanted.tags;
    prepared->spec->capabilities = wanted.capabilities;
    prepared->changes = changes_of(*prepared->spec, stack);
  }, [prepared, told] { told(std::move(prepared->spec), std::move(prepared->changes)); });
  if (!taken) told(fail(Code::exhausted, "the node has too much to do: try again"), fail(Code::exhausted, ""));
}

void CloudFormation::act(const Call& call) {
  if (ask(call)) return;
  if (call.action == "CreateChangeSet") return create_change_set(call);
  if (call.action == "ExecuteChangeSet") return execute_change_set(call);
  if (call.action == "CreateStack" || call.action == "UpdateStack") return change_stack(call, call.action == "CreateStack");
  if (call.action == "DeleteStack") return delete_stack(call);
  if (call.action == "DeleteChangeSet") {
    Stack* stack = nullptr;
    const ChangeSet* set = need_change_set(call, stack);
    if (!set) return;
    std::erase_if(stack->change_sets, [id = set->id](const ChangeSet& s) { return s.id == id; });
    return stacks_.save(*stack, [call](const Result<void>&) { answer(call, Json::object()); });
  }
  refuse(call, {"InvalidAction",
                "Could not find operation " + call.action.substr(0, 80) + " for version 2010-05-15: this node has no such action"});
}

// Changes --------------------------------------------------------------------------------------------

void CloudFormation::create_change_set(const Call& call) {
  const std::string name = call.text("StackName"), set = call.text("ChangeSetName");
  std::string type = call.text("ChangeSetType");
  if (type.empty()) type = "UPDATE";
  Stack* stack = stacks_.find(name);
  if (!is_stack_name(set))
    return refuse(
        call, {"ValidationError", "ChangeSetName '" + set.substr(0, 128) + "' is not 1 to 128 of a-z, A-Z, 0-9 and '-', a letter first"});
  if (type == "UPDATE" && (!stack || stack->status == "REVIEW_IN_PROGRESS"))
    return refuse(call, {"ValidationError", "Stack [" + name.substr(0, 128) + "] does not exist"});
  if (type == "CREATE" && stack && stack->status != "REVIEW_IN_PROGRESS")
    return refuse(call, {"ValidationError",
                         "Stack [" + stack->name + "] already exists and cannot be created again with the changeSet [" + set + "]."});
  if (type != "UPDATE" && type != "CREATE")
    return refuse(call, {"ValidationError", "ChangeSetType '" + type.substr(0, 40) + "' is not supported: write CREATE or UPDATE"});
  if (stack && type == "UPDATE" && !can_change(*stack))
    return refuse(call, {"ValidationError", "Stack:" + stack->id + " is in " + stack->status + " state and can not be updated."});
  if (!stack && !is_stack_name(name))
    return refuse(call,
                  {"ValidationError", "StackName '" + name.substr(0, 128) + "' is not 1 to 128 of a-z, A-Z, 0-9 and '-', a letter first"});
  if (!stack && stacks_.all().size() >= Stacks::kStacksMax)
    return refuse(call, {"LimitExceededException",
                         "this node has " + std::to_string(Stacks::kStacksMax) + " stacks, as many as it keeps: delete one"});
  if (stack && std::ranges::find(stack->change_sets, set, &ChangeSet::name) != stack->change_sets.end())
    return refuse(call,
                  {"AlreadyExistsException", "ChangeSet " + set + " cannot be created due to a mismatch with existing attribute Name"});
  auto wanted = wanted_of(call);
  if (!wanted) return refuse(call, wanted.error());
  with_template(call, stack, [this, call, name, wanted = *wanted](const std::string& text) mutable {
    wanted.text = text;
    Stack of = stacks_.find(name) ? *stacks_.find(name) : Stack{.name = name, .id = "arn:aws:cloudformation:new"};
    prepare(std::move(wanted), of, [this, call, name](Result<StackSpec> spec, const Result<StackChanges>& changes) {
      prepared(call, name, std::move(spec), changes);
    });
  });
}

void CloudFormation::prepared(const Call& call, const std::string& name, Result<StackSpec> spec, const Result<StackChanges>& changes) {
  if (!spec) return refuse(call, spec.error());
  if (const std::string wanted = capability_wanted(*spec); !wanted.empty()) {
    const auto has = [&](const char* capability) {
      return std::ranges::find(spec->capabilities, Json(capability)) != spec->capabilities.end();
    };
    if (!has("CAPABILITY_NAMED_IAM") && !(wanted == "CAPABILITY_IAM" && has("CAPABILITY_IAM")))
      return refuse(call, {"InsufficientCapabilitiesException", "Requires capabilities : [" + wanted + "]"});
  }
  Stack* stack = stacks_.find(name);
  if (stack && stack->busy())
    return refuse(call, {"ValidationError", "Stack:" + stack->id + " is in " + stack->status + " state and can not be updated."});
  if (!stack) stack = &stacks_.add(name);
  ChangeSet set{.name = call.text("ChangeSetName"),
                .description = call.text("Description"),
                .type = call.text("ChangeSetType"),
                .status = "CREATE_COMPLETE",
                .execution = "AVAILABLE",
                .spec = *std::move(spec),
                .created_us = turn_.wall.since_epoch.count()};
  set.id = "arn:aws:cloudformation:" + std::string(domain::kAwsRegion) + ":" + std::string(domain::kAwsAccount) + ":changeSet/" + set.name +
           "/" + stacks_.new_id();
  if (!changes || !changes->any) {
    set.status = "FAILED";
    set.execution = "UNAVAILABLE";
    set.reason = changes ? kNoChanges : changes.error().message;
  } else {
    set.changes = changes->changes;
  }
  if (stack->change_sets.size() >= Stack::kChangeSetsMax) stack->change_sets.erase(stack->change_sets.begin());
  stack->change_sets.push_back(set);
  stacks_.save(*stack, [call, id = set.id, stack_id = stack->id](const Result<void>& kept) {
    if (!kept) return refuse(call, {"InternalFailure", kept.error().message, 500});
    answer(call, {{"Id", id}, {"StackId", stack_id}});
  });
}

void CloudFormation::execute_change_set(const Call& call) {
  Stack* stack = nullptr;
  ChangeSet* set = need_change_set(call, stack);
  if (!set) return;
  if (set->execution != "AVAILABLE" || stack->busy())
    return refuse(call, {"InvalidChangeSetStatus", "ChangeSet [" + set->id + "] cannot be executed in its current status of [" +
                                                       (stack->busy() ? stack->status : set->status) + "]"});
  const StackSpec spec = set->spec;
  const bool create = stack->status == "REVIEW_IN_PROGRESS";
  ChangeSet executed = *set;
  executed.execution = "EXECUTE_COMPLETE";
  stack->change_sets = {std::move(executed)};                  // the others were made of what was
  stacks_.execute(*stack, spec, create, call.host, call.text("DisableRollback") != "true");
  answer(call, Json::object());
}

void CloudFormation::change_stack(const Call& call, bool create) {
  const std::string name = call.text("StackName");
  Stack* stack = stacks_.find(name);
  if (create && stack) return refuse(call, {"AlreadyExistsException", "Stack [" + stack->name + "] already exists"});
  if (create && (!is_stack_name(name) || stacks_.all().size() >= Stacks::kStacksMax))
    return refuse(call, {"ValidationError", "StackName '" + name.substr(0, 128) + "' is not a name, or there are " +
                                                std::to_string(Stacks::kStacksMax) + " stacks already"});
  if (!create && !need(call)) return;
  if (!create && !can_change(*stack))
    return refuse(call, {"ValidationError", "Stack:" + stack->id + " is in " + stack->status + " state and can not be updated."});
  auto wanted = wanted_of(call);
  if (!wanted) return refuse(call, wanted.error());
  with_template(call, stack, [this, call, name, create, wanted = *wanted](const std::string& text) mutable {
    wanted.text = text;
    Stack of = stacks_.find(name) ? *stacks_.find(name) : Stack{.name = name, .id = "arn:aws:cloudformation:new"};
    prepare(std::move(wanted), of, [this, call, name, create](Result<StackSpec> spec, const Result<StackChanges>& changes) {
      Stack* now = stacks_.find(name);
      if (!spec) return refuse(call, spec.error());
      if (!changes) return refuse(call, changes.error());
      if (create != (now == nullptr) || (now && now->busy()))
        return refuse(call, {"ValidationError", "the stack has changed meanwhile: try again"});
      if (!changes->any) return refuse(call, {"ValidationError", "No updates are to be performed."});
      const std::string capability = capability_wanted(*spec);
      if (!capability.empty() &&
          std::ranges::none_of(spec->capabilities, [&](const Json& c) { return c == capability || c == "CAPABILITY_NAMED_IAM"; }))
        return refuse(call, {"InsufficientCapabilitiesException", "Requires capabilities : [" + capability + "]"});
      Stack& stack_now = now ? *now : stacks_.add(name);
      stacks_.execute(stack_now, *spec, create, call.host,
                      call.text("DisableRollback") != "true" && call.text("OnFailure") != "DO_NOTHING");
      answer(call, {{"StackId", stack_now.id}});
    });
  });
}

void CloudFormation::delete_stack(const Call& call) {
  Stack* stack = stacks_.find(call.text("StackName"));
  if (stack && stack->busy())
    return refuse(call, {"ValidationError", "Stack [" + stack->name + "] cannot be deleted while in status " + stack->status});
  if (stack) stacks_.remove(*stack, call.host);
  answer(call, {});                                            // what is not there is gone, as there
}

}  // namespace mayfly::gateway
