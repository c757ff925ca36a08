#include "worker/code_environment.h"

#include <map>

#include "domain/arn.h"

namespace mayfly::worker {

std::vector<std::string> code_environment(const domain::CodeOrder& order, std::string_view api, std::string_view stream) {
  std::map<std::string, std::string, std::less<>> all = {
      {"LANG", "C.UTF-8"}, {"PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"}, {"HOME", "/tmp"}, {"TZ", ":UTC"}};
  for (const std::string& entry : order.environment) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) all.insert_or_assign(entry.substr(0, equals), entry.substr(equals + 1));
  }
  const std::string version = std::to_string(order.version);
  const std::pair<std::string_view, std::string> reserved[] = {
      {"_HANDLER", order.handler},
      {"AWS_DEFAULT_REGION", std::string(domain::kAwsRegion)},
      {"AWS_EXECUTION_ENV", "AWS_Lambda_" + (order.runtime.empty() ? "provided" : order.runtime)},
      {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", std::to_string(order.memory_mb)},
      {"AWS_LAMBDA_FUNCTION_NAME", order.function},
      {"AWS_LAMBDA_FUNCTION_VERSION", version},
      {"AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"},
      {"AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + order.function},
      {"AWS_LAMBDA_LOG_STREAM_NAME", "[" + version + "]" + std::string(stream)},
      {"AWS_LAMBDA_RUNTIME_API", std::string(api)},
      {"AWS_REGION", std::string(domain::kAwsRegion)},
      {"LAMBDA_RUNTIME_DIR", "/var/runtime"},
      {"LAMBDA_TASK_ROOT", order.folder},
  };
  for (const auto& [name, value] : reserved) all.insert_or_assign(std::string(name), value);
  std::vector<std::string> list;
  for (const auto& [name, value] : all) list.push_back(name + "=" + value);
  return list;
}

}  // namespace mayfly::worker
