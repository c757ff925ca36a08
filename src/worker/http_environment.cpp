#include "worker/http_environment.h"

#include <map>

namespace mayfly::worker {

std::vector<std::string> http_environment(const domain::CodeOrder& order, int port) {
  std::map<std::string, std::string, std::less<>> all = {
      {"LANG", "C.UTF-8"}, {"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/tmp"}, {"TZ", ":UTC"}};
  for (const std::string& entry : order.environment) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) all.insert_or_assign(entry.substr(0, equals), entry.substr(equals + 1));
  }
  std::string number = std::to_string(order.version);
  number.insert(0, 5 - std::min<std::size_t>(5, number.size()), '0');
  const std::pair<std::string_view, std::string> reserved[] = {
      {"PORT", std::to_string(port)},
      {"K_SERVICE", order.function},
      {"K_CONFIGURATION", order.function},
      {"K_REVISION", order.function + "-" + number},     // as Knative names them: hello-00001
  };
  for (const auto& [name, value] : reserved) all.insert_or_assign(std::string(name), value);
  if (order.contract == domain::Contract::azure) all.insert_or_assign("FUNCTIONS_CUSTOMHANDLER_PORT", std::to_string(port));
  std::vector<std::string> list;
  for (const auto& [name, value] : all) list.push_back(name + "=" + value);
  return list;
}

}  // namespace mayfly::worker
