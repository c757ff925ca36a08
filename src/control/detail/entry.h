// One function as the node holds it: the catalog's value and how far each version has come.
#pragma once
#include <map>
#include <set>

#include "control/node.h"

namespace mayfly::control {

[[nodiscard]] inline Error not_an_alias(std::string_view name) {
  return {Code::invalid_argument, "'" + std::string(name.substr(0, 80)) +
                                      "' is not an alias name: use 1 to 63 of a-z, 0-9, '-', '_' and '.', not a number alone"};
}

[[nodiscard]] inline bool same_content(const domain::Version& a, const domain::Version& b) {
  return a.files == b.files && a.layers == b.layers && domain::to_json(a.manifest) == domain::to_json(b.manifest);
}

struct Node::Entry {
  domain::Function function;
  std::map<int, Stage> stages;           // by version number; absent: ready or serving, by whether it is compiled

  std::vector<std::string> urls;         // IDs of those that are found now

  // Changes on their way to the disk: an alias must not come to name a version that goes, in either order.
  std::multiset<int> naming;
  std::set<int> leaving;

  // Whether an alias may be so.
  [[nodiscard]] Result<void> check_weights(const std::vector<domain::Weight>& weights) const;
  domain::Version* version(int number) {
    for (domain::Version& v : function.versions)
      if (v.number == number) return &v;
    return nullptr;
  }
  domain::Alias* alias(std::string_view name) {
    for (domain::Alias& a : function.aliases)
      if (a.name == name) return &a;
    return nullptr;
  }
};

}  // namespace mayfly::control
