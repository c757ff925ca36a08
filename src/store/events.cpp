#include "store/events.h"

#include <utility>

namespace mayfly::store {
namespace {

// Step i makes schema version i + 1. A step that was released never changes: add another.
constexpr std::string_view kSchema[] = {
    R"(CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, function TEXT NOT NULL, qualifier TEXT NOT NULL, body BLOB NOT NULL,
                            context_size INTEGER NOT NULL, request_high INTEGER NOT NULL, request_low INTEGER NOT NULL,
                            queued_us INTEGER NOT NULL, due_us INTEGER NOT NULL, attempts INTEGER NOT NULL, waits INTEGER NOT NULL,
                            hops INTEGER NOT NULL);)",
};

std::int64_t number_of(std::uint64_t value) { return static_cast<std::int64_t>(value); }
std::int64_t number_of(WallTime time) { return time.since_epoch.count(); }
std::uint64_t unsigned_of(std::int64_t value) { return static_cast<std::uint64_t>(value); }

}  // namespace

Result<Events> Events::open(const std::string& path) {
  TRY(auto database, Database::open(path, Database::Sync::full));
  TRY_VOID(database->migrate(kSchema, std::size(kSchema)));
  return Events(std::move(database));
}

Result<std::vector<Event>> Events::load() {
  const Database::Use use(*database_);
  TRY(Statement rows, database_->prepare("SELECT id, function, qualifier, length(body), context_size, request_high, request_low, "
                                         "queued_us, due_us, attempts, waits, hops FROM events ORDER BY id"));
  std::vector<Event> events;
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) return events;
    events.push_back({.id = unsigned_of(rows.integer(0)), .function = std::string(rows.text(1)), .qualifier = std::string(rows.text(2)),
                      .body_size = unsigned_of(rows.integer(3)), .context_size = unsigned_of(rows.integer(4)),
                      .request_id_high = unsigned_of(rows.integer(5)), .request_id_low = unsigned_of(rows.integer(6)),
                      .queued = {std::chrono::microseconds(rows.integer(7))}, .due = {std::chrono::microseconds(rows.integer(8))},
                      .attempts = static_cast<int>(rows.integer(9)), .waits = static_cast<int>(rows.integer(10)),
                      .hops = static_cast<int>(rows.integer(11))});
  }
}

Result<void> Events::apply(EventChanges& changes) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  TRY(Statement add, database_->prepare("INSERT INTO events (function, qualifier, body, context_size, request_high, request_low, "
                                        "queued_us, due_us, attempts, waits, hops) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (Event& event : changes.added) {
    TRY_VOID(add.bind(1, std::string_view(event.function)).bind(2, std::string_view(event.qualifier)).bind(3, std::string_view(event.body))
                 .bind(4, number_of(event.context_size)).bind(5, number_of(event.request_id_high)).bind(6, number_of(event.request_id_low))
                 .bind(7, number_of(event.queued)).bind(8, number_of(event.due)).bind(9, std::int64_t{event.attempts})
                 .bind(10, std::int64_t{event.waits}).bind(11, std::int64_t{event.hops}).run());
    event.id = unsigned_of(database_->last_id());
  }
  TRY(Statement change, database_->prepare("UPDATE events SET due_us = ?, attempts = ?, waits = ? WHERE id = ?"));
  for (const Event& event : changes.changed)
    TRY_VOID(change.bind(1, number_of(event.due)).bind(2, std::int64_t{event.attempts}).bind(3, std::int64_t{event.waits})
                 .bind(4, number_of(event.id)).run());
  TRY(Statement remove, database_->prepare("DELETE FROM events WHERE id = ?"));
  for (const std::uint64_t id : changes.done) TRY_VOID(remove.bind(1, number_of(id)).run());
  return transaction.commit();
}

Result<std::string> Events::body(std::uint64_t id) {
  const Database::Use use(*database_);
  TRY(Statement row, database_->prepare("SELECT body FROM events WHERE id = ?"));
  TRY(const bool there, row.bind(1, number_of(id)).step());
  if (!there) return fail(Code::not_found, "event " + std::to_string(id) + " is not in the queue");
  std::string body(row.text(0));
  row.reset();
  return body;
}

}  // namespace mayfly::store
