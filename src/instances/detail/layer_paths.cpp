#include "instances/detail/layer_paths.h"

#include <algorithm>
#include <string>

namespace mayfly::instances {
namespace {

// Behind what `name` says already, else behind `before`.
void add_to_path(domain::CodeOrder& code, const std::string& name, std::string_view more, std::string_view before = {}) {
  const auto own = std::ranges::find_if(code.environment, [&](const std::string& entry) { return entry.starts_with(name + "="); });
  if (own != code.environment.end()) own->append(own->ends_with("=") ? "" : ":").append(more);
  else code.environment.push_back(name + "=" + std::string(before) + std::string(more));
}

// "python3.11" of "python3.11" and of "azure-python3.11"; "" where no version is said.
std::string_view python_of(std::string_view runtime) {
  const std::size_t at = runtime.find("python3.");
  return at == runtime.npos ? std::string_view() : runtime.substr(at);
}

}  // namespace

void add_layer_paths(domain::CodeOrder& code, std::string_view runtime, std::string_view handler) {
  if (runtime.find("python") != runtime.npos || handler.starts_with("python")) {
    const std::string_view version = python_of(runtime);
    if (!version.empty()) add_to_path(code, "PYTHONPATH", "/opt/python/lib/" + std::string(version) + "/site-packages");
    add_to_path(code, "PYTHONPATH", "/opt/python");
  }
  if (runtime.find("node") != runtime.npos || handler.starts_with("node")) {
    if (runtime.starts_with("nodejs"))    // nodejs22.x: node22
      add_to_path(code, "NODE_PATH", "/opt/nodejs/node" + std::string(runtime.substr(6, runtime.find('.') - 6)) + "/node_modules");
    add_to_path(code, "NODE_PATH", "/opt/nodejs/node_modules");
  }
  add_to_path(code, "LD_LIBRARY_PATH", "/opt/lib");
  // A handler of Lambda has /opt/bin in its PATH in any case (worker/code_environment.cpp).
  if (code.contract != domain::Contract::lambda) add_to_path(code, "PATH", "/opt/bin", "/usr/local/bin:/usr/bin:/bin:");
}

}  // namespace mayfly::instances
