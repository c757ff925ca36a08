// What clients of AWS's deployments leave with the node, on disk: the names of uploaded objects (their bytes are artifacts,
// store/artifacts.h) and stacks as documents. Control keeps a copy in memory, loads everything at start, and calls one of these for each
// change. Each call is one transaction, durable when it returns. It blocks: one background line runs it, one call at a time.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "store/detail/sqlite.h"

namespace mayfly::store {

struct StoredObject {
  std::string bucket, key;
  std::string sha256;                 // of its artifact
  Bytes size;
  std::string etag;                   // without quotes
  std::string headers;                // that it is given with: a JSON object of name: value
  WallTime modified;
};

struct StackDocument {
  std::string id, document;
};

class Deploys {
 public:
  [[nodiscard]] static Result<Deploys> open(const std::string& path);

  [[nodiscard]] Result<std::vector<StoredObject>> load_objects();
  // Both in one transaction.
  [[nodiscard]] Result<void> change_objects(const std::vector<StoredObject>& put, const std::vector<StoredObject>& gone);
  [[nodiscard]] Result<std::vector<StackDocument>> load_stacks();
  [[nodiscard]] Result<void> put_stack(const StackDocument& stack);
  [[nodiscard]] Result<void> remove_stack(std::string_view id);

 private:
  explicit Deploys(std::unique_ptr<Database> database) : database_(std::move(database)) {}

  std::unique_ptr<Database> database_;
};

// The artifacts of all objects, read by a connection of its own: on any thread.
[[nodiscard]] Result<void> add_object_artifacts(const std::string& path, std::unordered_set<std::string>& names);

}  // namespace mayfly::store
