// SQLite behind Result: statements that are prepared once, bound, stepped and reset; transactions that
// roll back unless committed. One thread at a time a Database: a second one inside is a bug and stops
// the process. The only file that knows sqlite3.h is sqlite.cpp.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace mayfly::store {

class Database;

// Bound values must live until done() or the end of the Statement's run. Columns count from 0, parameters from 1.
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  Statement& bind(int at, std::int64_t value);
  Statement& bind(int at, double value);
  Statement& bind(int at, std::string_view value);
  Statement& bind_null(int at);
  // True: a row is there. False: the end, and the statement is reset.
  [[nodiscard]] Result<bool> step();
  // For what gives no rows: runs to the end and resets.
  [[nodiscard]] Result<void> run();
  void reset();

  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;  // valid until the next step
  bool is_null(int column) const;

 private:
  friend class Database;
  sqlite3_stmt* statement_ = nullptr;
  const Database* database_ = nullptr;
};

class Database {
 public:
  enum class Sync { full, normal };  // full: a commit is on disk when it returns
  [[nodiscard]] static Result<std::unique_ptr<Database>> open(const std::string& path, Sync sync);
  Database() = default;  // closed: see open()
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  [[nodiscard]] Result<Statement> prepare(std::string_view sql);
  [[nodiscard]] Result<void> execute(const std::string& sql);  // one or more statements without parameters
  std::int64_t last_id() const;
  std::int64_t changes() const;
  [[nodiscard]] Error error(int code) const;

  // Brings the schema to `steps.size()`: step i makes version i+1 from i, each in one transaction. A newer
  // schema than that is refused.
  [[nodiscard]] Result<void> migrate(const std::string_view* steps, std::size_t count);

  // Held by each public call of what owns the database.
  class Use {
   public:
    explicit Use(Database& database) : busy_(database.busy_) { ASSERT(!busy_.exchange(true), "two threads use one database at a time"); }
    ~Use() { busy_.store(false); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::atomic<bool>& busy_;
  };

 private:
  sqlite3* handle_ = nullptr;
  std::string path_;
  std::atomic<bool> busy_ = false;
};

class Transaction {
 public:
  [[nodiscard]] static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  [[nodiscard]] Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace mayfly::store
