// How each kind of resource of a stack is made, changed, undone and removed here: by calls of the node's Lambda API
// (gateway/inner_calls.h). What a kind needs that is not here is that API's to refuse. AWS::IAM roles and policies are names without
// effect, as a role is in CreateFunction; AWS::S3::Bucket and its policy are a name of the deploy bucket, in the SAM CLI's stack alone.
// Every operation tells its outcome once. What it made itself before it failed, create() takes away again.
#pragma once
#include <functional>
#include <string>

#include "base/random.h"
#include "control/control.h"
#include "gateway/inner_calls.h"
#include "gateway/stack.h"

namespace mayfly::gateway {

struct Made {
  std::string physical;
  Json attributes = Json::object();
};

class StackResources {
 public:
  using Told = std::function<void(Result<Made>)>;
  struct Of {                             // whose
    std::string stack, stack_id, id, type, host;
  };

  StackResources(InnerCalls calls, control::Control& control);

  [[nodiscard]] static bool can_make(const std::string& type, const std::string& stack);
  // What can be said of properties before anything is made.
  [[nodiscard]] static Result<void> check(const std::string& type, const std::string& id, const Json& properties);
  // Whether a change of these needs another resource in its place.
  [[nodiscard]] static bool replaces(const std::string& type, const Json& before, const Json& after);

  void create(const Of& of, const Json& properties, Told told);
  void update(const Of& of, const StackResource& before, const Json& properties, Told told);
  void remove(const Of& of, const StackResource& resource, Told told);   // fine where it is gone
  // What undo() needs besides the resource as it was; taken before an update.
  [[nodiscard]] Json snapshot(const StackResource& resource) const;
  void undo(const Of& of, const StackResource& before, const StackResource& now, const Json& snapshot, Told told);
  // Whether no function has this name: then what has it after a create that was cut off by the end of the node is the stack's own.
  [[nodiscard]] bool is_free(const std::string& function) const { return !control_.describe(function); }
  // The name that create() is going to give, where it is known before: a function's.
  [[nodiscard]] static std::string name_before(const Of& of, const Json& properties);

 private:
  using Then = std::function<void(const InnerAnswer&)>;
  struct Call {
    Method method;
    std::string path;
    Json body;
  };
  // One after the other; the first that is refused ends it. `made` is told with the last answer that was given to `keep`.
  void run(const Of& of, std::vector<Call> calls, std::function<void(Result<Json>)> done, Json first = {});
  void create_function(const Of& of, const Json& properties, Told told);
  void update_function(const Of& of, const StackResource& before, const Json& properties, Told told);
  void undo_function(const Of& of, const StackResource& before, const StackResource& now, const Json& snapshot, Told told);
  void remove_versions(const std::string& function, int above, std::function<void()> done);
  void put_alias(const Of& of, const Json& properties, bool create, Told told);
  static std::vector<Call> settings_of(const Of& of, const std::string& function, const Json& before, const Json& after);

  const InnerCalls calls_;
  control::Control& control_;
  Random random_;
};

}  // namespace mayfly::gateway
