#include <algorithm>
#include <cmath>

#include "base/hex.h"
#include "gateway/control_json.h"

namespace mayfly::gateway {
namespace {

// Depth without parsing: brackets outside strings. Exact for valid JSON, and it runs before the parser does.
int depth_of(std::string_view text) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

Result<std::string> text_at(const Json& object, std::string_view key, std::string missing) {
  const auto at = object.find(key);
  if (at == object.end()) return missing;
  if (!at->is_string()) return wrong("'" + std::string(key) + "' is " + at->dump().substr(0, 64) + ": write a string");
  return at->get<std::string>();
}

Result<bool> flag_at(const Json& object, std::string_view key) {
  const auto at = object.find(key);
  if (at == object.end()) return false;
  if (!at->is_boolean()) return wrong("'" + std::string(key) + "' is " + at->dump().substr(0, 64) + ": write true or false");
  return at->get<bool>();
}

Result<domain::FileRef> parse_file(const Json& entry, std::size_t index) {
  const std::string where = "files[" + std::to_string(index) + "]";
  if (!entry.is_object() || !entry.contains("path") || !entry.contains("sha256"))
    return wrong(where + " is " + entry.dump().substr(0, 100) + R"(: write {"path": "model.onnx", "sha256": "…", "size": 1234})");
  TRY(std::string path, text_at(entry, "path", ""));
  TRY(std::string sha256, text_at(entry, "sha256", ""));
  if (!is_sha256(sha256))
    return wrong(where + ".sha256 is '" + sha256.substr(0, 80) + "': write the 64 lower-case hexadecimal digits that the upload answered");
  domain::FileRef file{.path = std::move(path), .sha256 = std::move(sha256), .size = {}};
  if (const auto size = entry.find("size"); size != entry.end()) {
    if (!size->is_number_unsigned()) return wrong(where + ".size is " + size->dump().substr(0, 64) + ": write the number of bytes");
    file.size = {size->get<std::uint64_t>()};
  }
  TRY(file.archive, flag_at(entry, "archive"));
  return file;
}

}  // namespace

Result<Json> parse_object(std::string_view body) {
  if (body.size() > kBodyMax)
    return wrong("the body has " + std::to_string(body.size()) + " bytes: at most " + std::to_string(kBodyMax) + " are read");
  if (const int depth = depth_of(body); depth > kDepthMax)
    return wrong("the body is nested " + std::to_string(depth) + " levels deep: at most " + std::to_string(kDepthMax) + " are read");
  Json json;
  try {
    json = Json::parse(body);
  } catch (const Json::exception& e) { return wrong("the body is not JSON: " + std::string(e.what())); }
  if (!json.is_object()) return wrong("the body is " + std::string(json.type_name()) + ": write a JSON object");
  return json;
}

Result<Json> parse_body(std::string_view body, std::initializer_list<std::string_view> known) {
  TRY(Json json, parse_object(body));
  for (const auto& [key, value] : json.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string names;
    for (const auto name : known) names += (names.empty() ? "'" : ", '") + std::string(name) + "'";
    return wrong("the body has an unknown key '" + key.substr(0, 64) + "': known are " + names);
  }
  return json;
}

Result<control::DeployOrder> parse_deploy(std::string_view body) {
  TRY(const Json json, parse_body(body, {"name", "manifest", "files", "alias", "force"}));
  control::DeployOrder order;
  TRY(order.name, text_at(json, "name", ""));
  TRY(order.manifest, text_at(json, "manifest", ""));
  TRY(order.force, flag_at(json, "force"));
  if (const auto alias = json.find("alias"); alias != json.end() && alias->is_null()) {
    order.alias.reset();
  } else {
    TRY(order.alias, text_at(json, "alias", "live"));
  }
  const auto files = json.find("files");
  if (files == json.end() || !files->is_array() || files->empty()) {
    const auto manifest = order.manifest.empty() ? Result<domain::Manifest>() : domain::parse_manifest(order.manifest);
    if (!manifest) return fail(manifest.error());
    if (manifest->image.is_wanted()) return order;           // the deploy pulls it
    return wrong("'files' is missing or empty: upload the model with PUT /api/artifacts and name it here with path, sha256 and size");
  }
  for (std::size_t i = 0; i < files->size(); ++i) {
    TRY(domain::FileRef file, parse_file((*files)[i], i));
    order.files.push_back(std::move(file));
  }
  return order;
}

Result<std::vector<domain::Weight>> parse_weights(std::string_view body) {
  TRY(const Json json, parse_body(body, {"weights"}));
  const auto list = json.find("weights");
  constexpr auto kExample = R"(write {"weights": [{"version": 1, "share": 0.9}, {"version": 2, "share": 0.1}]})";
  if (list == json.end() || !list->is_array() || list->empty()) return wrong(std::string("'weights' is missing or empty: ") + kExample);
  std::vector<domain::Weight> weights;
  double sum = 0;
  for (const Json& entry : *list) {
    const bool whole = entry.is_object() && entry.contains("version") && entry["version"].is_number_integer() && entry["version"] >= 1 &&
                       entry["version"] <= 1'000'000'000;
    if (!whole) return wrong("a weight is " + entry.dump().substr(0, 100) + ": " + kExample);
    domain::Weight weight{.version = entry["version"].get<int>(), .share = 1};
    if (const auto share = entry.find("share"); share != entry.end()) {
      if (!share->is_number()) return wrong("'share' is " + share->dump().substr(0, 64) + ": write a number above 0, at most 1");
      weight.share = share->get<double>();
    } else if (list->size() > 1) {
      return wrong("a weight of several has no 'share': " + entry.dump().substr(0, 100) + ": " + kExample);
    }
    if (!(weight.share > 0 && weight.share <= 1))
      return wrong("'share' of version " + std::to_string(weight.version) + " is " + std::to_string(weight.share) +
                   ": write a number above 0, at most 1");
    sum += weight.share;
    weights.push_back(weight);
  }
  if (std::abs(sum - 1) > 1e-6) return wrong("the shares add up to " + std::to_string(sum) + ": they must add up to 1");
  return weights;
}

Result<std::string> parse_rollback(std::string_view body) {
  if (body.empty()) return "live";
  TRY(const Json json, parse_body(body, {"alias"}));
  return text_at(json, "alias", "live");
}

Result<ScaleOrder> parse_scale(std::string_view body) {
  TRY(const Json json, parse_body(body, {"instances", "evict"}));
  const auto count = json.find("instances");
  if (count == json.end() || !count->is_number_integer() || *count < 0 || *count > 1000)
    return wrong("'instances' is " + (count == json.end() ? "missing" : count->dump().substr(0, 64)) +
                 ": write a whole number from 0 to 1000");
  ScaleOrder order{.instances = count->get<int>()};
  TRY(order.evict, flag_at(json, "evict"));
  if (order.evict && order.instances > 0)
    return wrong("'evict' goes only with 'instances': 0, not " + std::to_string(order.instances) + ": instances need their template");
  return order;
}

}  // namespace mayfly::gateway
