// The stacks of this node and the machine that moves them: makes what a change set says, one resource after the other, and takes it all
// back where one can't be made. gateway/cloudformation.h asks it; gateway/stack_resources.h does what it orders.
// Promises: what a stack is, and each step before it begins, is durable first; a stack whose change was cut off by the end of the node is
// rolled back (or its deletion goes on) when the next one starts. A failure leaves what was before, with the reason in the events. One
// change at a time of a stack; at most kStacksMax stacks.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/turn.h"
#include "control/deploys.h"
#include "gateway/stack.h"
#include "gateway/stack_resources.h"

namespace mayfly::gateway {

class Stacks {
 public:
  static constexpr std::size_t kStacksMax = 200;
  Stacks(InnerCalls calls, control::Control& control, control::Deploys& deploys, const Turn& turn);

  // Reads those that are kept; what was cut off goes on. After all routes are there.
  void open();
  [[nodiscard]] const std::map<std::string, std::unique_ptr<Stack>, std::less<>>& all() const { return stacks_; }
  [[nodiscard]] Stack* find(std::string_view name_or_id);
  [[nodiscard]] Stack& add(const std::string& name);          // REVIEW_IN_PROGRESS; kept by the next save()
  void save(const Stack& stack, control::Done<void> done);
  // Begins, once that is durable; the stack is not busy.
  void execute(Stack& stack, const StackSpec& spec, bool create, const std::string& host, bool rollback);
  void remove(Stack& stack, const std::string& host);
  void forget(const std::string& name);                       // one that has nothing
  [[nodiscard]] std::string new_id() { return uuid(); }

 private:
  struct Work {                           // a change under way
    std::vector<std::string> order;        // of what is to be made
    std::size_t at = 0;
    std::vector<StackResource> old;        // to be removed once all is made: replaced, or no longer wanted
  };
  std::string uuid();
  std::int64_t now_us();                                      // grows with every call
  void tell(Stack& stack, const StackResource* resource, const std::string& status, const std::string& reason = {});
  void set_status(Stack& stack, const std::string& status, const std::string& reason = {});
  [[nodiscard]] StackResources::Of of(const Stack& stack, const StackResource& resource) const;
  void next(const std::string& name);                         // of what is being made
  void make(Stack& stack, const std::string& id, Json properties);
  void made(const std::string& name, const std::string& id, const Result<Made>& result);
  void finish(Stack& stack);
  void clean(const std::string& name);                        // what a change left behind
  void fail_change(Stack& stack, const std::string& reason);
  void undo(const std::string& name, bool failed);
  void undone(const std::string& name, const StackStep& step, const Result<Made>& result, bool failed);
  void remove_next(const std::string& name, bool failed);

  StackResources resources_;
  control::Deploys& deploys_;
  const Turn& turn_;
  Random random_;
  std::int64_t last_us_ = 0;
  std::map<std::string, std::unique_ptr<Stack>, std::less<>> stacks_;   // by name
  std::map<std::string, Work> working_;
};

}  // namespace mayfly::gateway
