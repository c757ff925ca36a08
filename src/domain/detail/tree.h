// A small document as a tree of values that know their line, read from YAML or JSON. It refuses what
// a manifest has no use for and what makes YAML dangerous: anchors and aliases (they grow), tags,
// deep nesting (it overflows stacks), duplicate keys (one would win silently), several documents.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::domain {

struct Tree {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  int line = 1;                   // where the value begins; 1 for all of JSON
  std::string text;               // of a scalar
  std::vector<std::string> keys;  // of a map, in the order of items
  std::vector<int> key_lines;
  std::vector<Tree> items;        // of a list or a map
};

constexpr std::size_t kTreeDepthMax = 6;

// Error: invalid_argument, "line N: …".
[[nodiscard]] Result<Tree> tree_from_yaml(std::string_view yaml);
[[nodiscard]] Result<Tree> tree_from_json(std::string_view json);

}  // namespace mayfly::domain
