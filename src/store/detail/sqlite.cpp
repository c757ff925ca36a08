#include "store/detail/sqlite.h"

#include <sqlite3.h>

#include <utility>

namespace mayfly::store {

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)), database_(std::exchange(other.database_, nullptr)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(statement_, other.statement_);
  std::swap(database_, other.database_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int at, std::int64_t value) {
  ASSERT(sqlite3_bind_int64(statement_, at, value) == SQLITE_OK, "a parameter that the statement has not");
  return *this;
}

Statement& Statement::bind(int at, double value) {
  ASSERT(sqlite3_bind_double(statement_, at, value) == SQLITE_OK, "a parameter that the statement has not");
  return *this;
}

Statement& Statement::bind(int at, std::string_view value) {
  const char* text = value.data() ? value.data() : "";
  ASSERT(sqlite3_bind_text64(statement_, at, text, value.size(), SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK,
         "a parameter that the statement has not");
  return *this;
}

Statement& Statement::bind_null(int at) {
  ASSERT(sqlite3_bind_null(statement_, at) == SQLITE_OK, "a parameter that the statement has not");
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  const Error error = database_->error(code);
  reset();
  return fail(error);
}

Result<void> Statement::run() {
  for (;;) {
    TRY(const bool row, step());
    if (!row) return {};
  }
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_, column); }
bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
std::string_view Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return text ? std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : std::string_view();
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Sync sync) {
  auto database = std::make_unique<Database>();
  database->path_ = path;
  const int code =
      sqlite3_open_v2(path.c_str(), &database->handle_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) return fail(database->error(code));
  sqlite3_extended_result_codes(database->handle_, 1);
  sqlite3_busy_timeout(database->handle_, 5000);  // another program may read the file
  TRY_VOID(database->execute(std::string("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON; PRAGMA synchronous=") +
                             (sync == Sync::full ? "FULL" : "NORMAL")));
  return database;
}

Database::~Database() { sqlite3_close_v2(handle_); }

Result<Statement> Database::prepare(std::string_view sql) {
  Statement statement;
  statement.database_ = this;
  const int code =
      sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement.statement_, nullptr);
  if (code != SQLITE_OK) return fail(error(code));
  return statement;
}

Result<void> Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(error(code));
  return {};
}

std::int64_t Database::last_id() const { return sqlite3_last_insert_rowid(handle_); }
std::int64_t Database::changes() const { return sqlite3_changes64(handle_); }

Error Database::error(int code) const {
  const std::string text = path_ + ": " + (handle_ ? sqlite3_errmsg(handle_) : sqlite3_errstr(code));
  switch (code & 0xff) {
    case SQLITE_FULL: return {Code::exhausted, text + "; make room, or move the data directory to a larger disk"};
    // A write that the disk refused for another reason, or no room for the index in shared memory.
    case SQLITE_IOERR: return {Code::exhausted, text + "; the disk may be full or failing: make room, and look at the system's log"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return {Code::data_loss, text + ": the file is damaged; restore it from a copy"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {Code::unavailable, text + ": another program holds the file; try again"};
    case SQLITE_CONSTRAINT: return {Code::conflict, text};
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY: return {Code::permission_denied, text + ": the node must be able to write the data directory"};
    default: return {Code::internal, text};
  }
}

Result<void> Database::migrate(const std::string_view* steps, std::size_t count) {
  std::int64_t version = 0;
  {
    TRY(Statement read, prepare("PRAGMA user_version"));
    TRY([[maybe_unused]] const bool row, read.step());
    version = read.integer(0);
  }
  const auto newest = static_cast<std::int64_t>(count);
  if (version > newest)
    return fail(Code::unimplemented, path_ + " was written by a newer release (schema " + std::to_string(version) + ", this one knows " +
                                         std::to_string(newest) + "): use that release, or another data directory");
  for (; version < newest; ++version) {
    TRY(Transaction transaction, Transaction::begin(*this));
    TRY_VOID(execute(std::string(steps[version])));
    TRY_VOID(execute("PRAGMA user_version=" + std::to_string(version + 1)));
    TRY_VOID(transaction.commit());
  }
  return {};
}

Result<Transaction> Transaction::begin(Database& database) {
  TRY_VOID(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  // Some errors (a full disk) have rolled back by themselves: then this fails, which is fine.
  if (database_) [[maybe_unused]] const auto rolled_back = database_->execute("ROLLBACK");
}

Result<void> Transaction::commit() {
  TRY_VOID(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace mayfly::store
