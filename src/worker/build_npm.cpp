// Dependencies of Node.js: by npm, which runs no scripts.

#include "domain/json.h"
#include "domain/link.h"
#include "worker/detail/build_tool.h"

namespace mayfly::worker {

using domain::BuildOrder;
using domain::Dependency;
using Json = nlohmann::json;

Result<std::vector<Dependency>> build_npm(const BuildOrder& order, BuildTool& tool) {
  const std::string tree = at_build(domain::kBuiltTree);
  if (!order.alone) TRY_VOID(copy_tree(domain::kPackagePlace, tree));
  bool locked = false;
  for (const char* file : {"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"}) {
    if (!is_there(at_package(file))) continue;
    locked = locked || std::string_view(file).ends_with("lock.json") || std::string_view(file).starts_with("npm-");
    if (order.alone) TRY_VOID(copy_tree(at_package(file), tree + "/" + file));
  }
  tool.set("npm_config_cache=" + at_build("cache"));
  TRY_VOID(tool.run({order.script, locked ? "ci" : "install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress",
                     "--no-update-notifier", "--color=false", "--loglevel=http"},
                    tree));
  std::vector<Dependency> installed;
  if (!is_there(tree + "/node_modules/.package-lock.json")) return installed;
  TRY(const std::string text, read_text(tree + "/node_modules/.package-lock.json"));
  const Json list = Json::parse(text).at("packages");
  for (const auto& [path, item] : list.items()) {
    const std::size_t at = path.rfind("node_modules/");
    if (at == path.npos || item.value("link", false)) continue;
    std::string hash = item.value("integrity", "");
    if (const std::size_t dash = hash.find('-'); dash != hash.npos) hash[dash] = ':';
    installed.push_back({path.substr(at + std::string_view("node_modules/").size()), item.value("version", ""), std::move(hash)});
  }
  return installed;
}

}  // namespace mayfly::worker
