#include "gateway/stacks.h"

#include <algorithm>
#include <utility>

#include "base/hex.h"
#include "domain/arn.h"
#include "gateway/stack_plan.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

constexpr const char* kCutOff = "the node was stopped while this was under way";
constexpr std::size_t kReasonMax = 1024;

bool is_create(const Stack& stack) { return stack.status.starts_with("CREATE") || stack.status.starts_with("ROLLBACK"); }

}  // namespace

Stacks::Stacks(InnerCalls calls, control::Control& control, control::Deploys& deploys, const Turn& turn)
    : resources_(calls, control), deploys_(deploys), turn_(turn), random_(os::random_seed()) {}

void Stacks::open() {
  for (const store::StackDocument& kept : deploys_.take_stacks()) {
    auto stack = stack_from(kept.document);
    if (!stack) {
      deploys_.trouble("stack " + kept.id + ": " + stack.error().message);
      continue;
    }
    const std::string name = stack->name;
    stacks_[name] = std::make_unique<Stack>(*std::move(stack));
  }
  for (const auto& [name, stack] : stacks_) {
    if (!stack->busy()) continue;
    if (stack->status.starts_with("DELETE")) remove_next(name, false);
    else if (stack->status.ends_with("CLEANUP_IN_PROGRESS"))
      set_status(*stack, stack->status.starts_with("UPDATE_ROLLBACK") ? "UPDATE_ROLLBACK_COMPLETE" : "UPDATE_COMPLETE", kCutOff);
    else fail_change(*stack, kCutOff);
  }
}

Stack* Stacks::find(std::string_view wanted) {
  if (const auto at = stacks_.find(wanted); at != stacks_.end()) return at->second.get();
  for (const auto& [name, stack] : stacks_)
    if (stack->id == wanted) return stack.get();
  return nullptr;
}

std::string Stacks::uuid() { return uuid_text(random_.next(), random_.next()); }

std::int64_t Stacks::now_us() { return last_us_ = std::max<std::int64_t>(last_us_ + 1, turn_.wall.since_epoch.count()); }

Stack& Stacks::add(const std::string& name) {
  auto stack = std::make_unique<Stack>();
  stack->name = name;
  stack->id = "arn:aws:cloudformation:" + std::string(domain::kAwsRegion) + ":" + std::string(domain::kAwsAccount) + ":stack/" + name +
              "/" + uuid();
  stack->created_us = now_us();
  Stack& kept = *(stacks_[name] = std::move(stack));
  kept.status = "REVIEW_IN_PROGRESS";
  tell(kept, nullptr, kept.status, "User Initiated");
  return kept;
}

void Stacks::save(const Stack& stack, control::Done<void> done) {
  deploys_.put_stack({stack.id, to_document(stack)}, [this, done = std::move(done), id = stack.id](const Result<void>& kept) {
    if (!kept) deploys_.trouble("stack " + id + " is not on disk: " + kept.error().message);
    if (done) done(kept);
  });
}

void Stacks::forget(const std::string& name) {
  const auto at = stacks_.find(name);
  if (at == stacks_.end()) return;
  deploys_.remove_stack(at->second->id, [](const Result<void>&) {});
  working_.erase(name);
  stacks_.erase(at);
}

void Stacks::tell(Stack& stack, const StackResource* resource, const std::string& status, const std::string& reason) {
  stack.events.push_back({{"id", uuid()},
                          {"us", now_us()},
                          {"resource", resource ? resource->id : stack.name},
                          {"type", resource ? resource->type : "AWS::CloudFormation::Stack"},
                          {"physical", resource ? resource->physical : stack.id},
                          {"status", status},
                          {"reason", reason.substr(0, kReasonMax)}});
  if (stack.events.size() > Stack::kEventsMax) stack.events.erase(stack.events.begin());
}

void Stacks::set_status(Stack& stack, const std::string& status, const std::string& reason) {
  stack.status = status;
  stack.reason = reason.substr(0, kReasonMax);
  stack.updated_us = now_us();
  tell(stack, nullptr, status, reason);
  save(stack, {});
}

StackResources::Of Stacks::of(const Stack& stack, const StackResource& resource) const {
  return {.stack = stack.name, .stack_id = stack.id, .id = resource.id, .type = resource.type, .host = stack.host};
}

// Make -----------------------------------------------------------------------------------------------

void Stacks::execute(Stack& stack, const StackSpec& spec, bool create, const std::string& host, bool rollback) {
  stack.next = spec;
  stack.steps.clear();
  stack.host = host;
  stack.rollback = rollback;
  set_status(stack, create ? "CREATE_IN_PROGRESS" : "UPDATE_IN_PROGRESS", "User Initiated");
  const auto order = order_of(spec, {stack.name, stack.id});
  if (!order) return fail_change(stack, order.error().message);
  working_[stack.name] = {.order = *order, .old = {}};
  save(stack, [this, name = stack.name](const Result<void>& kept) {
    Stack* now = find(name);
    if (!now) return;
    if (!kept) return fail_change(*now, kept.error().message);
    next(name);
  });
}

void Stacks::next(const std::string& name) {
  Stack* stack = find(name);
  Work& work = working_[name];
  while (stack && work.at < work.order.size()) {
    const std::string& id = work.order[work.at++];
    auto properties = properties_of(stack->next, {stack->name, stack->id}, stack->resources, {}, id);
    if (!properties) return fail_change(*stack, properties.error().message);
    const StackResource* before = stack->find(id);
    if (before && before->properties == *properties) continue;
    return make(*stack, id, *std::move(properties));
  }
  if (stack) finish(*stack);
}

void Stacks::make(Stack& stack, const std::string& id, Json properties) {
  const Json& wanted = domain::member(domain::member(stack.next.root, "Resources"), id);
  const std::string type = domain::text_of(domain::member(wanted, "Type"));
  StackResource* before = stack.find(id);
  StackStep step{.id = id, .action = "create"};
  StackResource resource{
      .id = id, .type = type, .status = "CREATE_IN_PROGRESS", .properties = std::move(properties), .attributes = Json::object()};
  resource.retain = domain::text_of(domain::member(wanted, "DeletionPolicy")) == "Retain";
  resource.updated_us = now_us();
  if (before) {
    const bool replaces = StackResources::replaces(type, before->properties, resource.properties);
    step = {.id = id, .action = replaces ? "replace" : "update", .before = to_json(*before), .snapshot = resources_.snapshot(*before)};
    if (!replaces) {
      resource.status = "UPDATE_IN_PROGRESS";
      resource.physical = before->physical;
      resource.attributes = before->attributes;
    }
  }
  if (resource.physical.empty()) resource.physical = StackResources::name_before(of(stack, resource), resource.properties);
  if (step.action != "update" && !resource.physical.empty()) step.snapshot = {{"free", resources_.is_free(resource.physical)}};
  tell(stack, &resource, resource.status,
       step.action == "replace" ? "Requested update requires the creation of a new physical resource" : "");
  if (before) *before = resource;
  else stack.resources.push_back(resource);
  stack.steps.push_back(step);
  save(stack, [this, name = stack.name, id, step](const Result<void>& kept) {
    Stack* now = find(name);
    StackResource* now_made = now ? now->find(id) : nullptr;
    if (!now_made) return;
    if (!kept) return made(name, id, fail(kept.error()));
    const auto told = [this, name, id](const Result<Made>& result) { made(name, id, result); };
    const StackResource copy = *now_made;
    if (step.action == "update") resources_.update(of(*now, copy), resource_from(step.before), copy.properties, told);
    else resources_.create(of(*now, copy), copy.properties, told);
  });
}

void Stacks::made(const std::string& name, const std::string& id, const Result<Made>& result) {
  Stack* stack = find(name);
  StackResource* resource = stack ? stack->find(id) : nullptr;
  if (!resource) return;
  const std::string action = resource->status.substr(0, resource->status.find('_'));   // CREATE or UPDATE
  resource->updated_us = now_us();
  if (!result) {
    resource->status = action + "_FAILED";
    resource->reason = result.error().message.substr(0, kReasonMax);
    tell(*stack, resource, resource->status, resource->reason);
    return fail_change(*stack,
                       "The following resource(s) failed to " + std::string(action == "CREATE" ? "create" : "update") + ": [" + id + "]. ");
  }
  resource->physical = result->physical;
  resource->attributes = result->attributes;
  resource->status = action + "_COMPLETE";
  resource->reason = domain::text_of(domain::member(stack->next.notes, id));
  tell(*stack, resource, resource->status, resource->reason);
  save(*stack, [this, name](const Result<void>&) { next(name); });
}

void Stacks::finish(Stack& stack) {
  auto outputs = outputs_of(stack.next, {stack.name, stack.id}, stack.resources, {});
  if (!outputs) return fail_change(stack, outputs.error().message);
  Work& work = working_[stack.name];
  for (const StackStep& step : stack.steps)
    if (step.action == "replace") work.old.push_back(resource_from(step.before));
  std::vector<StackResource> kept;
  for (StackResource& resource : stack.resources) {
    if (std::ranges::find(work.order, resource.id) != work.order.end()) kept.push_back(std::move(resource));
    else work.old.push_back(std::move(resource));
  }
  const bool create = is_create(stack);
  stack.resources = std::move(kept);
  stack.outputs = *std::move(outputs);
  stack.spec = std::exchange(stack.next, {});
  stack.steps.clear();
  if (create || work.old.empty()) {
    working_.erase(stack.name);
    return set_status(stack, create ? "CREATE_COMPLETE" : "UPDATE_COMPLETE");
  }
  set_status(stack, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS");
  clean(stack.name);
}

// What can't be removed stays, and the stack is complete all the same, as there.
void Stacks::clean(const std::string& name) {
  Stack* stack = find(name);
  Work& work = working_[name];
  if (!stack) return;
  while (!work.old.empty()) {
    StackResource old = std::move(work.old.back());
    work.old.pop_back();
    const StackResource* now = stack->find(old.id);
    if (now && now->physical == old.physical) continue;       // the new one has its place
    if (old.retain) {
      tell(*stack, &old, "DELETE_SKIPPED");
      continue;
    }
    tell(*stack, &old, "DELETE_IN_PROGRESS");
    return resources_.remove(of(*stack, old), old, [this, name, old](const Result<Made>& removed) {
      if (Stack* then = find(name)) {
        tell(*then, &old, removed ? "DELETE_COMPLETE" : "DELETE_FAILED", removed ? "" : removed.error().message);
        clean(name);
      }
    });
  }
  working_.erase(name);
  set_status(*stack, "UPDATE_COMPLETE");
}

// Roll back ------------------------------------------------------------------------------------------

void Stacks::fail_change(Stack& stack, const std::string& reason) {
  working_.erase(stack.name);
  const bool create = is_create(stack);
  if (!stack.rollback && reason != kCutOff) return set_status(stack, create ? "CREATE_FAILED" : "UPDATE_FAILED", reason);
  set_status(stack, create ? "ROLLBACK_IN_PROGRESS" : "UPDATE_ROLLBACK_IN_PROGRESS",
             reason + (create ? "Rollback requested by user." : ""));
  undo(stack.name, false);
}

void Stacks::undo(const std::string& name, bool failed) {
  Stack* stack = find(name);
  if (!stack) return;
  const bool create = is_create(*stack);
  if (stack->steps.empty()) {
    stack->next = {};
    const std::string status = create ? "ROLLBACK" : "UPDATE_ROLLBACK";
    return set_status(*stack, status + (failed ? "_FAILED" : "_COMPLETE"),
                      failed ? "Some resources could not be taken back: see the events" : "");
  }
  const StackStep step = stack->steps.back();
  const StackResource* at = stack->find(step.id);
  if (!at) {
    stack->steps.pop_back();
    return undo(name, failed);
  }
  const StackResource now = *at;
  const auto told = [this, name, step, failed](const Result<Made>& result) { undone(name, step, result, failed); };
  if (step.action == "update") {
    tell(*stack, &now, "UPDATE_IN_PROGRESS");
    return resources_.undo(of(*stack, now), resource_from(step.before), now, step.snapshot, told);
  }
  // A create that failed has left nothing; one that was cut off may have, under a name that another may have had before.
  const bool cut_off = now.status == "CREATE_IN_PROGRESS", its_own = domain::member(step.snapshot, "free") == Json(true);
  if (now.status == "CREATE_FAILED" || (cut_off && !its_own)) return told(Made{});
  if (now.type == "AWS::Lambda::Version") return told(Made{});   // a name for a version that goes with its code, or stays
  tell(*stack, &now, "DELETE_IN_PROGRESS");
  resources_.remove(of(*stack, now), now, told);
}

void Stacks::undone(const std::string& name, const StackStep& step, const Result<Made>& result, bool failed) {
  Stack* stack = find(name);
  StackResource* now = stack ? stack->find(step.id) : nullptr;
  if (!now) return;
  if (!result) {
    tell(*stack, now, step.action == "update" ? "UPDATE_FAILED" : "DELETE_FAILED", result.error().message);
    failed = true;
  } else if (step.action == "update") {
    *now = resource_from(step.before);
    now->updated_us = now_us();
    now->status = "UPDATE_COMPLETE";
    tell(*stack, now, now->status);
  } else {
    tell(*stack, now, "DELETE_COMPLETE");
    if (step.before.is_null()) std::erase_if(stack->resources, [&](const StackResource& r) { return r.id == step.id; });
    else *now = resource_from(step.before);
  }
  stack->steps.pop_back();
  save(*stack, [this, name, failed](const Result<void>&) { undo(name, failed); });
}

// Remove ---------------------------------------------------------------------------------------------

void Stacks::remove(Stack& stack, const std::string& host) {
  stack.host = host;
  stack.steps.clear();
  set_status(stack, "DELETE_IN_PROGRESS", "User Initiated");
  save(stack, [this, name = stack.name](const Result<void>&) { remove_next(name, false); });
}

// Those that were made last go first. One that can't go is left, and the stack with it.
void Stacks::remove_next(const std::string& name, bool failed) {
  Stack* stack = find(name);
  if (!stack) return;
  const auto last = std::ranges::find_if(stack->resources.rbegin(), stack->resources.rend(),
                                         [](const StackResource& r) { return r.status != "DELETE_FAILED"; });
  if (last == stack->resources.rend()) {
    if (failed || !stack->resources.empty()) {
      for (StackResource& resource : stack->resources) resource.status = "CREATE_COMPLETE";
      return set_status(*stack, "DELETE_FAILED", "Some resources could not be deleted: see the events");
    }
    return forget(name);
  }
  const StackResource resource = *last;
  const auto gone = [this, name, id = resource.id, failed](const Result<Made>& removed) {
    Stack* now = find(name);
    StackResource* left = now ? now->find(id) : nullptr;
    if (!left) return;
    if (removed) {
      tell(*now, left, left->retain ? "DELETE_SKIPPED" : "DELETE_COMPLETE");
      std::erase_if(now->resources, [&](const StackResource& r) { return r.id == id; });
    } else {
      left->status = "DELETE_FAILED";
      left->reason = removed.error().message.substr(0, kReasonMax);
      tell(*now, left, left->status, left->reason);
    }
    save(*now, [this, name, failed, ok = removed.has_value()](const Result<void>&) { remove_next(name, failed || !ok); });
  };
  if (resource.retain) return gone(Made{});
  tell(*stack, &resource, "DELETE_IN_PROGRESS");
  resources_.remove(of(*stack, resource), resource, gone);
}

}  // namespace mayfly::gateway
