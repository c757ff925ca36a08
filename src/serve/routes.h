// Which version answers a call: names to functions, qualifiers to versions, alias weights to a choice.
// Holds only what can serve. Small, because ten thousand functions at zero are to cost next to nothing.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "base/result.h"
#include "domain/function.h"

namespace mayfly::serve {

// What the way of a request must know of a version.
struct Target {
  VersionId version;
  FunctionId function;
  int number = 0;
  Duration timeout{};
  Bytes body_max;
  int queue_max = 0;
  std::optional<int> calls_max;              // of the function, all versions together; absent: no limit of its own
  bool recorded = false;                     // its calls are told to DispatcherEvents::on_recorded_call
  bool http = false;                         // a program that is called by HTTP, and by nothing else
};

struct Route {
  std::vector<Target> targets;               // by number, ascending; at least one
  std::vector<domain::Alias> aliases;
  bool any_http = false;                     // of the targets; set() finds out
};

class Routes {
 public:
  void set(std::string_view function, Route route);
  void remove(std::string_view function);

  [[nodiscard]] const Route* find(std::string_view function) const;
  // Error: not_found, with the versions and aliases that there are.
  [[nodiscard]] Result<const Target*> resolve(std::string_view function, std::string_view qualifier, Random& random) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, Route, Hash, std::equal_to<>> routes_;
};

}  // namespace mayfly::serve
