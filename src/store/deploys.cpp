#include "store/deploys.h"

namespace mayfly::store {
namespace {

// Step i makes schema version i + 1. A step that was released never changes: add another.
constexpr std::string_view kSchema[] = {
    R"(CREATE TABLE objects (bucket TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
                             headers TEXT NOT NULL, modified_us INTEGER NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
       CREATE TABLE stacks (id TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;)",
};

}  // namespace

Result<Deploys> Deploys::open(const std::string& path) {
  TRY(auto database, Database::open(path, Database::Sync::full));
  TRY_VOID(database->migrate(kSchema, std::size(kSchema)));
  return Deploys(std::move(database));
}

Result<std::vector<StoredObject>> Deploys::load_objects() {
  const Database::Use use(*database_);
  TRY(Statement rows, database_->prepare("SELECT bucket, key, sha256, size, etag, headers, modified_us FROM objects"));
  std::vector<StoredObject> objects;
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) return objects;
    objects.push_back({.bucket = std::string(rows.text(0)), .key = std::string(rows.text(1)), .sha256 = std::string(rows.text(2)),
                       .size = {static_cast<std::uint64_t>(rows.integer(3))}, .etag = std::string(rows.text(4)),
                       .headers = std::string(rows.text(5)), .modified = {std::chrono::microseconds(rows.integer(6))}});
  }
}

Result<void> Deploys::change_objects(const std::vector<StoredObject>& put, const std::vector<StoredObject>& gone) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  TRY(Statement remove, database_->prepare("DELETE FROM objects WHERE bucket = ? AND key = ?"));
  for (const StoredObject& object : gone)
    TRY_VOID(remove.bind(1, std::string_view(object.bucket)).bind(2, std::string_view(object.key)).run());
  TRY(Statement add, database_->prepare("INSERT OR REPLACE INTO objects (bucket, key, sha256, size, etag, headers, modified_us) "
                                        "VALUES (?, ?, ?, ?, ?, ?, ?)"));
  for (const StoredObject& object : put)
    TRY_VOID(add.bind(1, std::string_view(object.bucket)).bind(2, std::string_view(object.key)).bind(3, std::string_view(object.sha256))
                 .bind(4, static_cast<std::int64_t>(object.size.count)).bind(5, std::string_view(object.etag))
                 .bind(6, std::string_view(object.headers)).bind(7, static_cast<std::int64_t>(object.modified.since_epoch.count())).run());
  return transaction.commit();
}

Result<std::vector<StackDocument>> Deploys::load_stacks() {
  const Database::Use use(*database_);
  TRY(Statement rows, database_->prepare("SELECT id, document FROM stacks"));
  std::vector<StackDocument> stacks;
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) return stacks;
    stacks.push_back({std::string(rows.text(0)), std::string(rows.text(1))});
  }
}

Result<void> Deploys::put_stack(const StackDocument& stack) {
  const Database::Use use(*database_);
  TRY(Statement put, database_->prepare("INSERT OR REPLACE INTO stacks (id, document) VALUES (?, ?)"));
  return put.bind(1, std::string_view(stack.id)).bind(2, std::string_view(stack.document)).run();
}

Result<void> Deploys::remove_stack(std::string_view id) {
  const Database::Use use(*database_);
  TRY(Statement remove, database_->prepare("DELETE FROM stacks WHERE id = ?"));
  return remove.bind(1, id).run();
}

Result<void> add_object_artifacts(const std::string& path, std::unordered_set<std::string>& names) {
  TRY(const auto database, Database::open(path, Database::Sync::full));
  TRY(Statement rows, database->prepare("SELECT sha256 FROM objects"));
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) return {};
    names.insert(std::string(rows.text(0)));
  }
}

}  // namespace mayfly::store
