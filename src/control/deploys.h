// The node's deploy bucket and its stacks: what tools that deploy to AWS (sam, aws cloudformation) upload and describe. Objects are
// artifacts with names; stacks are documents of gateway/stack.h, which drives them. Kept in memory, written behind each change through
// the catalog's line. Runs on the loop's thread.
// Promises: never more than DeployLimits; what is put is durable when `done` is called. A bucket is a name and nothing else: any that
// is allowed is there. Room is made by dropping what is older than `age_min`, the oldest first; what is older than `age_max` goes anyway.
// It is no general store of objects: docs/aws-lambda.md.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/turn.h"
#include "control/node.h"
#include "store/deploys.h"

namespace mayfly::control {

struct DeployLimits {
  std::vector<std::string> buckets;                          // that may be used; none: any
  Bytes object_max = 1_GiB, total_max = 8_GiB;
  std::size_t objects_max = 10'000;
  Duration age_min = std::chrono::hours(1), age_max = std::chrono::hours(24 * 90);
};

class Deploys {
 public:
  using Object = store::StoredObject;

  Deploys(const Turn& turn, store::Store& store, Background catalog, Background bulk, DeployLimits limits);
  [[nodiscard]] Result<void> open();
  const DeployLimits& limits() const { return limits_; }

  // May this be an object's name? not_found: no such bucket here.
  [[nodiscard]] Result<void> check_bucket(std::string_view bucket) const;
  [[nodiscard]] static Result<void> check_key(std::string_view key);
  [[nodiscard]] const Object* find(std::string_view bucket, std::string_view key) const;
  [[nodiscard]] std::optional<domain::FileRef> file_of(std::string_view bucket, std::string_view key) const;
  // By key, those that begin so and come after `after`; `most` of them.
  [[nodiscard]] std::vector<const Object*> list(std::string_view bucket, std::string_view prefix, std::string_view after,
                                                std::size_t most) const;
  [[nodiscard]] std::vector<std::string> buckets() const;    // that have objects
  // Its artifact has been uploaded. exhausted: there is no room.
  void put(Object object, Done<void> done);
  void remove(std::string_view bucket, const std::vector<std::string>& keys, Done<void> done);  // those that are there
  // Bytes of an artifact, at most 1 MiB; "" at its end.
  void read(const std::string& sha256, std::uint64_t offset, Done<std::string> done);
  // A new artifact of several, one behind the other.
  void join(std::vector<domain::FileRef> parts, Done<domain::FileRef> done);

  // Stacks by id, as they were at the start.
  [[nodiscard]] std::vector<store::StackDocument> take_stacks() { return std::move(stacks_); }
  void put_stack(store::StackDocument stack, Done<void> done);
  void remove_stack(std::string id, Done<void> done);
  // For people: what went wrong and can't be told to a client.
  void on_trouble(std::function<void(std::string)> told) { trouble_ = std::move(told); }
  void trouble(const std::string& text) const { if (trouble_) trouble_(text); }
  const Background& line() const { return bulk_work_; }      // for what takes a while

 private:
  [[nodiscard]] Result<std::vector<Object>> make_room(const Object& object) const;   // who is to go
  void change(std::vector<Object> put, std::vector<Object> gone, Done<void> done);

  const Turn& turn_;
  store::Store& store_;
  const Background catalog_work_, bulk_work_;
  const DeployLimits limits_;
  std::map<std::pair<std::string, std::string>, Object> objects_;
  std::uint64_t size_ = 0;                                   // of all
  std::vector<store::StackDocument> stacks_;
  std::function<void(std::string)> trouble_;
};

}  // namespace mayfly::control
