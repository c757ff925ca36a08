#include "store/catalog.h"

#include <unordered_map>

#include "store/detail/values.h"

namespace mayfly::store {
namespace {

// Step i makes schema version i + 1. A step that was released never changes: add another.
constexpr std::string_view kSchema[] = {
    R"(CREATE TABLE functions (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created_us INTEGER NOT NULL,
                               numbers INTEGER NOT NULL DEFAULT 0);
       CREATE TABLE versions (id INTEGER PRIMARY KEY AUTOINCREMENT, function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                              number INTEGER NOT NULL,
                              created_us INTEGER NOT NULL, manifest TEXT NOT NULL, files TEXT NOT NULL,
                              signature TEXT NOT NULL, compiled TEXT, compile_error TEXT NOT NULL DEFAULT '', UNIQUE (function, number));
       CREATE TABLE aliases (function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE, name TEXT NOT NULL,
                             weights TEXT NOT NULL, before TEXT NOT NULL DEFAULT '[]', PRIMARY KEY (function, name)) WITHOUT ROWID;)",
    // Usage outlives a function; its report needs the name.
    "CREATE TABLE removed_functions (id INTEGER PRIMARY KEY, name TEXT NOT NULL);",
    // What the check said beside the signature.
    R"(ALTER TABLE versions ADD COLUMN notes TEXT NOT NULL DEFAULT '[]';
       ALTER TABLE versions ADD COLUMN template_allowed INTEGER NOT NULL DEFAULT 1;)",
    // What is said of a function beside its versions.
    R"(CREATE TABLE settings (function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE, kind TEXT NOT NULL, key TEXT NOT NULL,
                              document TEXT NOT NULL, updated_us INTEGER NOT NULL, PRIMARY KEY (function, kind, key)) WITHOUT ROWID;)",
    // What was installed for a version of code.
    "ALTER TABLE versions ADD COLUMN dependencies TEXT;",
    // Layers, by AUTOINCREMENT's way: a number that was given is not given again.
    R"(CREATE TABLE layer_names (name TEXT PRIMARY KEY, numbers INTEGER NOT NULL) WITHOUT ROWID;
       CREATE TABLE layers (name TEXT NOT NULL, number INTEGER NOT NULL, created_us INTEGER NOT NULL, sha256 TEXT NOT NULL,
                            size INTEGER NOT NULL, description TEXT NOT NULL, license TEXT NOT NULL, runtimes TEXT NOT NULL,
                            architectures TEXT NOT NULL, PRIMARY KEY (name, number)) WITHOUT ROWID;
       CREATE TABLE layer_statements (place INTEGER PRIMARY KEY, name TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL,
                                      document TEXT NOT NULL, UNIQUE (name, number, id),
                                      FOREIGN KEY (name, number) REFERENCES layers(name, number) ON DELETE CASCADE);
       ALTER TABLE versions ADD COLUMN layers TEXT;)",
};

std::int64_t number_of(std::uint64_t id) { return static_cast<std::int64_t>(id); }
std::uint64_t id_of(std::int64_t number) { return static_cast<std::uint64_t>(number); }

Result<domain::Version> version_from(const Statement& row) {
  domain::Version version{.id = {id_of(row.integer(0))}, .function = {id_of(row.integer(1))}, .number = static_cast<int>(row.integer(2)),
                          .created = {std::chrono::microseconds(row.integer(3))}};
  TRY(version.manifest, domain::manifest_from_json(row.text(4)));
  TRY(version.files, files_from(row.text(5)));
  TRY(version.signature, signature_from(row.text(6)));
  if (!row.is_null(7)) {
    TRY(version.compiled, compiled_from(row.text(7)));
  }
  version.compile_error = row.text(8);
  TRY(version.notes, notes_from(row.text(9)));
  version.template_allowed = row.integer(10) != 0;
  if (!row.is_null(11)) {
    TRY(version.dependencies, dependencies_from(row.text(11)));
  }
  if (!row.is_null(12)) {
    TRY(version.layers, layers_from(row.text(12)));
  }
  return version;
}

Result<domain::Alias> alias_from(const Statement& row, int first) {
  domain::Alias alias{.name = std::string(row.text(first))};
  TRY(alias.weights, weights_from(row.text(first + 1)));
  TRY(alias.before, weights_from(row.text(first + 2)));
  return alias;
}

Result<void> write_alias(Database& database, FunctionId function, const domain::Alias& alias) {
  TRY(Statement write, database.prepare("INSERT INTO aliases (function, name, weights, before) VALUES (?, ?, ?, ?) "
                                        "ON CONFLICT (function, name) DO UPDATE SET weights = excluded.weights, before = excluded.before"));
  const std::string weights = to_column(alias.weights), before = to_column(alias.before);
  return write.bind(1, number_of(function.number))
      .bind(2, std::string_view(alias.name))
      .bind(3, std::string_view(weights))
      .bind(4, std::string_view(before))
      .run();
}

// A change of one row that must be there.
Result<void> change_one(Database& database, Statement& statement, const std::string& what) {
  TRY_VOID(statement.run());
  if (database.changes() == 0) return fail(Code::not_found, what + " is not in the catalog: it was deleted meanwhile");
  return {};
}

}  // namespace

Result<Catalog> Catalog::open(const std::string& path) {
  TRY(auto database, Database::open(path, Database::Sync::full));
  TRY_VOID(database->migrate(kSchema, std::size(kSchema)));
  return Catalog(std::move(database));
}

Result<std::vector<domain::Function>> Catalog::load() {
  const Database::Use use(*database_);
  std::vector<domain::Function> functions;
  std::unordered_map<std::int64_t, std::size_t> at;
  TRY(Statement rows, database_->prepare("SELECT id, name, created_us FROM functions ORDER BY id"));
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) break;
    at.emplace(rows.integer(0), functions.size());
    functions.push_back(
        {.id = {id_of(rows.integer(0))}, .name = std::string(rows.text(1)), .created = {std::chrono::microseconds(rows.integer(2))}});
  }
  TRY(Statement versions,
      database_->prepare(
          "SELECT id, function, number, created_us, manifest, files, signature, compiled, compile_error, notes, template_allowed, "
          "dependencies, layers FROM versions ORDER BY function, number"));
  for (;;) {
    TRY(const bool row, versions.step());
    if (!row) break;
    domain::Function& function = functions[at.at(versions.integer(1))];  // a foreign key holds this
    auto version = version_from(versions);
    if (!version)
      return fail(Code::data_loss, "version " + std::to_string(versions.integer(2)) + " of function '" + function.name +
                                       "' in the catalog is damaged: " + version.error().message +
                                       "; restore the data directory from a copy");
    function.versions.push_back(*std::move(version));
  }
  TRY(Statement aliases, database_->prepare("SELECT function, name, weights, before FROM aliases ORDER BY function, name"));
  for (;;) {
    TRY(const bool row, aliases.step());
    if (!row) break;
    TRY(domain::Alias alias, alias_from(aliases, 1));
    functions[at.at(aliases.integer(0))].aliases.push_back(std::move(alias));
  }
  TRY(Statement settings,
      database_->prepare("SELECT function, kind, key, document, updated_us FROM settings ORDER BY function, kind, key"));
  for (;;) {
    TRY(const bool row, settings.step());
    if (!row) break;
    functions[at.at(settings.integer(0))].settings.push_back(
        {.kind = std::string(settings.text(1)), .key = std::string(settings.text(2)), .document = std::string(settings.text(3)),
         .updated = {std::chrono::microseconds(settings.integer(4))}});
  }
  return functions;
}

Result<std::vector<domain::Alias>> Catalog::aliases_of(FunctionId function) {
  TRY(Statement rows, database_->prepare("SELECT name, weights, before FROM aliases WHERE function = ? ORDER BY name"));
  rows.bind(1, number_of(function.number));
  std::vector<domain::Alias> aliases;
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) return aliases;
    TRY(domain::Alias alias, alias_from(rows, 0));
    aliases.push_back(std::move(alias));
  }
}

Result<Added> Catalog::add_version(std::string_view function, const domain::Version& version, const std::optional<std::string>& alias) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  const std::int64_t created = version.created.since_epoch.count();
  TRY(Statement name, database_->prepare("INSERT INTO functions (name, created_us, numbers) VALUES (?, ?, 1) "
                                         "ON CONFLICT (name) DO UPDATE SET numbers = numbers + 1 RETURNING id, numbers, created_us"));
  name.bind(1, function).bind(2, created);
  TRY([[maybe_unused]] const bool row, name.step());
  Added added{.function = {id_of(name.integer(0))},
              .number = static_cast<int>(name.integer(1)),
              .function_created = {std::chrono::microseconds(name.integer(2))}};
  TRY_VOID(name.run());

  const std::string manifest = domain::to_json(version.manifest), files = to_column(version.files),
                    signature = to_column(version.signature), notes = to_column(version.notes);
  const std::string compiled = version.compiled ? to_column(*version.compiled) : "";
  TRY(Statement insert,
      database_->prepare(
          "INSERT INTO versions (function, number, created_us, manifest, files, signature, compiled, compile_error, notes, "
          "template_allowed, dependencies, layers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.bind(1, number_of(added.function.number)).bind(2, std::int64_t{added.number}).bind(3, created).bind(4, std::string_view(manifest))
      .bind(5, std::string_view(files)).bind(6, std::string_view(signature)).bind(8, std::string_view(version.compile_error))
      .bind(9, std::string_view(notes)).bind(10, std::int64_t{version.template_allowed});
  if (version.compiled) insert.bind(7, std::string_view(compiled));
  const std::string dependencies = version.dependencies ? to_column(*version.dependencies) : "";
  if (version.dependencies) insert.bind(11, std::string_view(dependencies));
  const std::string layers = to_column(version.layers);
  if (!version.layers.empty()) insert.bind(12, std::string_view(layers));
  TRY_VOID(insert.run());
  added.version = {id_of(database_->last_id())};

  TRY(added.aliases, aliases_of(added.function));
  const auto move_alias = [&](const std::string& wanted) -> Result<void> {
    domain::Alias moved{.name = wanted, .weights = {{.version = added.number, .share = 1}}};
    for (const domain::Alias& known : added.aliases)
      if (known.name == wanted) moved.before = known.weights;
    return write_alias(*database_, added.function, moved);
  };
  if (added.aliases.empty() && alias != "live") TRY_VOID(move_alias("live"));
  if (alias) TRY_VOID(move_alias(*alias));
  TRY(added.aliases, aliases_of(added.function));
  TRY_VOID(transaction.commit());
  return added;
}

Result<void> Catalog::set_compiled(VersionId version, const domain::Compiled& compiled) {
  const Database::Use use(*database_);
  TRY(Statement update, database_->prepare("UPDATE versions SET compiled = ?, compile_error = '' WHERE id = ?"));
  const std::string column = to_column(compiled);
  update.bind(1, std::string_view(column)).bind(2, number_of(version.number));
  return change_one(*database_, update, "the version");
}

Result<void> Catalog::set_compile_error(VersionId version, std::string_view text) {
  const Database::Use use(*database_);
  TRY(Statement update, database_->prepare("UPDATE versions SET compile_error = ? WHERE id = ?"));
  update.bind(1, text).bind(2, number_of(version.number));
  return change_one(*database_, update, "the version");
}

Result<void> Catalog::set_alias(FunctionId function, const domain::Alias& alias) {
  const Database::Use use(*database_);
  return write_alias(*database_, function, alias);
}

Result<void> Catalog::set_settings(FunctionId function, const std::vector<domain::Setting>& settings) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  for (const domain::Setting& setting : settings) {
    if (setting.document.empty()) {
      TRY(Statement remove, database_->prepare("DELETE FROM settings WHERE function = ? AND kind = ? AND key = ?"));
      remove.bind(1, number_of(function.number)).bind(2, std::string_view(setting.kind)).bind(3, std::string_view(setting.key));
      TRY_VOID(remove.run());
      continue;
    }
    TRY(Statement write, database_->prepare("INSERT INTO settings (function, kind, key, document, updated_us) VALUES (?, ?, ?, ?, ?) "
                                            "ON CONFLICT (function, kind, key) DO UPDATE SET document = excluded.document, "
                                            "updated_us = excluded.updated_us"));
    write.bind(1, number_of(function.number)).bind(2, std::string_view(setting.kind)).bind(3, std::string_view(setting.key))
        .bind(4, std::string_view(setting.document)).bind(5, std::int64_t{setting.updated.since_epoch.count()});
    TRY_VOID(write.run());
  }
  return transaction.commit();
}

Result<void> Catalog::remove_alias(FunctionId function, std::string_view alias) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  TRY(Statement forget, database_->prepare("DELETE FROM settings WHERE function = ? AND key = ?"));
  TRY_VOID(forget.bind(1, number_of(function.number)).bind(2, alias).run());
  TRY(Statement remove, database_->prepare("DELETE FROM aliases WHERE function = ? AND name = ?"));
  remove.bind(1, number_of(function.number)).bind(2, alias);
  TRY_VOID(change_one(*database_, remove, "alias '" + std::string(alias) + "'"));
  return transaction.commit();
}

Result<void> Catalog::remove_version(VersionId version) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  TRY(Statement forget, database_->prepare("DELETE FROM settings WHERE (function, key) IN "
                                           "(SELECT function, CAST(number AS TEXT) FROM versions WHERE id = ?)"));
  TRY_VOID(forget.bind(1, number_of(version.number)).run());
  TRY(Statement remove, database_->prepare("DELETE FROM versions WHERE id = ?"));
  remove.bind(1, number_of(version.number));
  TRY_VOID(change_one(*database_, remove, "the version"));
  return transaction.commit();
}

Result<void> Catalog::remove_function(FunctionId function) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  TRY(Statement keep, database_->prepare("INSERT INTO removed_functions (id, name) SELECT id, name FROM functions WHERE id = ?"));
  TRY_VOID(keep.bind(1, number_of(function.number)).run());
  TRY(Statement remove, database_->prepare("DELETE FROM functions WHERE id = ?"));
  remove.bind(1, number_of(function.number));
  TRY_VOID(change_one(*database_, remove, "the function"));
  return transaction.commit();
}

Result<std::string> Catalog::name_of(FunctionId function) {
  const Database::Use use(*database_);
  TRY(Statement read,
      database_->prepare("SELECT name FROM functions WHERE id = ?1 UNION ALL SELECT name FROM removed_functions WHERE id = ?1"));
  read.bind(1, number_of(function.number));
  TRY(const bool row, read.step());
  if (!row) return fail(Code::not_found, "there never was a function with the id " + std::to_string(function.number));
  return std::string(read.text(0));
}

Result<std::unordered_set<std::string>> referenced_artifacts(const std::string& catalog_path) {
  TRY(const auto database, Database::open(catalog_path, Database::Sync::full));
  TRY(Statement rows, database->prepare("SELECT files, compiled, dependencies, layers FROM versions"));
  std::unordered_set<std::string> names;
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) break;
    TRY(const auto files, files_from(rows.text(0)));
    for (const domain::FileRef& file : files) names.insert(file.sha256);
    if (!rows.is_null(2)) {
      TRY(const auto dependencies, dependencies_from(rows.text(2)));
      names.insert(dependencies.key);
    }
    if (!rows.is_null(3)) {
      TRY(const auto layers, layers_from(rows.text(3)));
      for (const domain::LayerRef& layer : layers) names.insert(layer.sha256);
    }
    if (rows.is_null(1)) continue;
    TRY(const auto compiled, compiled_from(rows.text(1)));
    names.insert(compiled.sha256);
  }
  TRY(Statement layers, database->prepare("SELECT sha256 FROM layers"));
  for (;;) {
    TRY(const bool row, layers.step());
    if (!row) return names;
    names.insert(std::string(layers.text(0)));
  }
}

}  // namespace mayfly::store
