// Layers: archives of files that functions of code have below /opt, beside their own in /var/task. One has a name and versions 1, 2, 3…,
// each immutable; a version of a function names up to five of them, in order. As AWS Lambda defines them; what of a layer is found how
// is said in docs/code.md. Here a layer version is a value; control/node_layers.cpp keeps them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"

namespace mayfly::domain {

constexpr std::size_t kFunctionLayersMax = 5;     // of a version of a function, as there
constexpr std::size_t kLayerVersionsMax = 10'000; // of a node

// A layer as a function names it.
struct LayerName {
  std::string name;
  int number = 0;              // 0: the newest
  friend bool operator==(const LayerName&, const LayerName&) = default;
};
// "NAME:3" or "NAME", or an ARN of whatever account and region: …:layer:NAME:3. invalid_argument says what is wrong.
[[nodiscard]] Result<LayerName> parse_layer(std::string_view text);
[[nodiscard]] std::string to_text(const LayerName& layer);      // "NAME:3", "NAME"
[[nodiscard]] bool valid_layer_name(std::string_view name);     // 1 to 140 of a-z, A-Z, 0-9, '-' and '_'

// A layer of a version of a function: its bytes stay as long as the version, whatever becomes of the layer.
struct LayerRef {
  std::string name;
  int number = 0;
  std::string sha256;          // the archive
  Bytes size;
  friend bool operator==(const LayerRef&, const LayerRef&) = default;
};

struct LayerStatement {        // of who may use it: kept and told again
  std::string id;
  std::string document;        // a JSON object; "" in a change: to be removed
};

struct LayerVersion {
  std::string name;
  int number = 0;
  WallTime created;
  std::string sha256;          // the archive
  Bytes size;
  std::string description, license;
  std::vector<std::string> runtimes, architectures;   // that it says it is for; told to those who list them
  std::vector<LayerStatement> policy;                 // in the order in which they were added
};

}  // namespace mayfly::domain
