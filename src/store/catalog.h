// Functions, versions and aliases on disk. The node keeps its own copy in memory: it loads everything at
// start and calls one of these for each change, before it tells anybody. Each call is one transaction,
// durable when it returns; after an error nothing of it is there. It blocks: one background line runs it,
// one call at a time (a second thread inside stops the process). Ids and version numbers are never reused.
// It doesn't check use cases (may this version go?); control does.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "domain/function.h"
#include "store/detail/sqlite.h"

namespace mayfly::store {

struct Added {
  FunctionId function;
  VersionId version;
  int number = 0;
  WallTime function_created;
  std::vector<domain::Alias> aliases;  // of the function, all of them, as they are now
};

class Catalog {
 public:
  [[nodiscard]] static Result<Catalog> open(const std::string& path);

  // By id; versions by number, aliases by name.
  [[nodiscard]] Result<std::vector<domain::Function>> load();

  // Takes everything of the version but id, function and number, which it gives. The function is made where it is new.
  // The alias moves wholly to the version. A new function gets "live" in any case.
  [[nodiscard]] Result<Added> add_version(std::string_view function, const domain::Version& version,
                                          const std::optional<std::string>& alias);
  [[nodiscard]] Result<void> set_compiled(VersionId version, const domain::Compiled& compiled);  // clears the error
  [[nodiscard]] Result<void> set_compile_error(VersionId version, std::string_view text);
  [[nodiscard]] Result<void> set_alias(FunctionId function, const domain::Alias& alias);
  [[nodiscard]] Result<void> remove_alias(FunctionId function, std::string_view alias);  // with its settings
  // All of them or none; one whose document is "" is removed, whether it is there or not.
  [[nodiscard]] Result<void> set_settings(FunctionId function, const std::vector<domain::Setting>& settings);
  [[nodiscard]] Result<void> remove_version(VersionId version);                           // with its settings
  [[nodiscard]] Result<void> remove_function(FunctionId function);  // with all that is its own

  // Layers (store/catalog_layers.cpp). By name and number; numbers are never reused.
  [[nodiscard]] Result<std::vector<domain::LayerVersion>> load_layers();
  [[nodiscard]] Result<int> add_layer(const domain::LayerVersion& layer);   // takes everything but number and policy
  [[nodiscard]] Result<void> remove_layer(std::string_view name, int number);
  [[nodiscard]] Result<void> set_layer_statement(std::string_view name, int number, const domain::LayerStatement& statement);

  // Name of a function, deleted ones too: usage outlives them.
  [[nodiscard]] Result<std::string> name_of(FunctionId function);

 private:
  explicit Catalog(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  Result<std::vector<domain::Alias>> aliases_of(FunctionId function);

  std::unique_ptr<Database> database_;
};

// Every artifact and every dependency's key that a version names, read by a connection of its own: on any thread, beside the Catalog.
[[nodiscard]] Result<std::unordered_set<std::string>> referenced_artifacts(const std::string& catalog_path);

}  // namespace mayfly::store
