#include "app/attach.h"

#include "domain/json.h"

namespace mayfly::app {

std::string attach_text(std::string_view runtime, std::string_view address, const std::string& folder) {
  using Json = nlohmann::ordered_json;
  const std::string host(address.substr(0, address.rfind(':'))), port(address.substr(address.rfind(':') + 1));
  const auto has = [&](std::string_view language) { return runtime.find(language) != runtime.npos; };
  Json launch{{"name", "mayfly dev"}, {"request", "attach"}};
  std::string by;
  if (has("python")) {
    by = "debugpy";
    launch.update({{"type", "debugpy"}, {"connect", {{"host", host}, {"port", std::stoi(port)}}}, {"justMyCode", true},
                   {"pathMappings", Json::array({{{"localRoot", folder}, {"remoteRoot", "/var/task"}}})}});
  } else if (has("node")) {
    by = "its inspector (also: node inspect " + host + ":" + port + ")";
    launch.update({{"type", "node"}, {"address", host}, {"port", std::stoi(port)}, {"localRoot", folder}, {"remoteRoot", "/var/task"},
                   {"restart", true}});
  } else if (has("java")) {
    by = "JDWP (also: jdb -attach " + host + ":" + port + ")";
    launch.update({{"type", "java"}, {"hostName", host}, {"port", std::stoi(port)}});
  } else {
    return "a debugger that the program starts at 127.0.0.1:$MAYFLY_DEBUG_PORT is reached at " + std::string(address) + "\n";
  }
  return "debug it at " + std::string(address) + ", by " + by + "; for VS Code, in .vscode/launch.json under \"configurations\":\n" +
         launch.dump(2) + "\n";
}

}  // namespace mayfly::app
