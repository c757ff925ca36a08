// Layers in the catalog: a row for each version, and one for each statement of who may use it.
#include "store/catalog.h"
#include "store/detail/values.h"

namespace mayfly::store {

Result<std::vector<domain::LayerVersion>> Catalog::load_layers() {
  const Database::Use use(*database_);
  std::vector<domain::LayerVersion> layers;
  TRY(Statement rows, database_->prepare("SELECT name, number, created_us, sha256, size, description, license, runtimes, architectures "
                                         "FROM layers ORDER BY name, number"));
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) break;
    domain::LayerVersion layer{.name = std::string(rows.text(0)), .number = static_cast<int>(rows.integer(1)),
                               .created = {std::chrono::microseconds(rows.integer(2))}, .sha256 = std::string(rows.text(3)),
                               .size = {static_cast<std::uint64_t>(rows.integer(4))}, .description = std::string(rows.text(5)),
                               .license = std::string(rows.text(6)), .runtimes = {}, .architectures = {}, .policy = {}};
    TRY(layer.runtimes, notes_from(rows.text(7)));
    TRY(layer.architectures, notes_from(rows.text(8)));
    layers.push_back(std::move(layer));
  }
  TRY(Statement statements, database_->prepare("SELECT name, number, id, document FROM layer_statements ORDER BY name, number, place"));
  std::size_t at = 0;                  // both are in one order
  for (;;) {
    TRY(const bool row, statements.step());
    if (!row) return layers;
    const int number = static_cast<int>(statements.integer(1));
    while (layers[at].name != statements.text(0) || layers[at].number != number) ++at;  // a foreign key holds this
    layers[at].policy.push_back({std::string(statements.text(2)), std::string(statements.text(3))});
  }
}

Result<int> Catalog::add_layer(const domain::LayerVersion& layer) {
  const Database::Use use(*database_);
  TRY(Transaction transaction, Transaction::begin(*database_));
  TRY(Statement next, database_->prepare("INSERT INTO layer_names (name, numbers) VALUES (?, 1) "
                                         "ON CONFLICT (name) DO UPDATE SET numbers = numbers + 1 RETURNING numbers"));
  next.bind(1, std::string_view(layer.name));
  TRY([[maybe_unused]] const bool row, next.step());
  const std::int64_t number = next.integer(0);
  TRY_VOID(next.run());
  TRY(Statement insert, database_->prepare("INSERT INTO layers (name, number, created_us, sha256, size, description, license, runtimes, "
                                           "architectures) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  const std::string runtimes = to_column(layer.runtimes), architectures = to_column(layer.architectures);
  insert.bind(1, std::string_view(layer.name)).bind(2, number).bind(3, std::int64_t{layer.created.since_epoch.count()})
      .bind(4, std::string_view(layer.sha256)).bind(5, static_cast<std::int64_t>(layer.size.count))
      .bind(6, std::string_view(layer.description)).bind(7, std::string_view(layer.license)).bind(8, std::string_view(runtimes))
      .bind(9, std::string_view(architectures));
  TRY_VOID(insert.run());
  TRY_VOID(transaction.commit());
  return static_cast<int>(number);
}

Result<void> Catalog::remove_layer(std::string_view name, int number) {
  const Database::Use use(*database_);
  TRY(Statement remove, database_->prepare("DELETE FROM layers WHERE name = ? AND number = ?"));
  return remove.bind(1, name).bind(2, std::int64_t{number}).run();
}

Result<void> Catalog::set_layer_statement(std::string_view name, int number, const domain::LayerStatement& statement) {
  const Database::Use use(*database_);
  const bool gone = statement.document.empty();
  TRY(Statement change, database_->prepare(gone ? "DELETE FROM layer_statements WHERE name = ? AND number = ? AND id = ?"
                                                : "INSERT INTO layer_statements (name, number, id, document) VALUES (?, ?, ?, ?)"));
  change.bind(1, name).bind(2, std::int64_t{number}).bind(3, std::string_view(statement.id));
  if (!gone) change.bind(4, std::string_view(statement.document));
  return change.run();
}

}  // namespace mayfly::store
