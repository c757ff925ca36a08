#include "worker/code_environment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include "domain/arn.h"
#include "os/fd.h"
#include "worker/container_user.h"

namespace mayfly::worker {

namespace {

constexpr std::string_view kContainerPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";  // as container engines have it

using Names = std::vector<std::pair<std::string, std::string>>;

// What every program has, then the order's own, then what the contract reserves.
std::vector<std::string> environment_of(const domain::CodeOrder& order, const std::string& path, const Names& reserved) {
  std::map<std::string, std::string, std::less<>> all = {{"LANG", "C.UTF-8"}, {"PATH", path}, {"HOME", "/tmp"}, {"TZ", ":UTC"}};
  for (const std::string& entry : order.environment) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) all.insert_or_assign(entry.substr(0, equals), entry.substr(equals + 1));
  }
  for (const auto& [name, value] : reserved) all.insert_or_assign(name, value);
  std::vector<std::string> list;
  for (const auto& [name, value] : all) list.push_back(name + "=" + value);
  return list;
}

}  // namespace

Result<void> find_program(domain::CodeOrder& order) {
  struct stat what {};
  if (::stat(order.folder.c_str(), &what) != 0 || !S_ISDIR(what.st_mode))
    return fail(Code::not_found, "the working directory '" + order.folder + "' is no folder of the image");
  std::string& program = order.arguments.at(0);
  if (program.find('/') != program.npos) {
    if (!program.starts_with('/')) program.insert(0, order.folder + "/");
    if (::access(program.c_str(), X_OK) == 0) return {};
    return fail(Code::not_found, "the image's program '" + program + "' is not in it, or can't be run: its ENTRYPOINT and CMD say what is");
  }
  std::string path(kContainerPath);
  for (const std::string& entry : order.environment)
    if (entry.starts_with("PATH=")) path = entry.substr(5);
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    const std::string file = path.substr(at, end - at) + "/" + program;
    at = end + 1;
    if (!file.starts_with('/') || ::access(file.c_str(), X_OK) != 0 || ::stat(file.c_str(), &what) != 0 || !S_ISREG(what.st_mode)) continue;
    program = file;
    return {};
  }
  return fail(Code::not_found, "the image's program '" + program + "' is not in its PATH, " + path);
}

Result<void> be_user(domain::CodeOrder& order) {
  const auto accounts = [](const char* path) { return read_accounts(os::Fd(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY))); };
  TRY(const ContainerUser user, find_user(order.user, accounts(kPasswdFile), accounts(kGroupFile)));
  if (user.uid == 0) return {};                       // root is the sandbox's own user
  if (::getuid() != user.uid || ::getgid() != user.gid)
    return fail(Code::internal, "the sandbox runs as " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) +
                                    ", and not as the image's user '" + order.user + "'");
  const auto is_home = [](const std::string& entry) { return entry.starts_with("HOME="); };
  if (std::ranges::none_of(order.environment, is_home)) order.environment.push_back("HOME=" + user.home);
  return {};
}

std::vector<std::string> code_environment(const domain::CodeOrder& order, std::string_view api, std::string_view stream) {
  const std::string version = std::to_string(order.version);
  return environment_of(order, order.container ? std::string(kContainerPath) : "/usr/local/bin:/usr/bin:/bin:/opt/bin", {
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
  });
}

std::vector<std::string> extension_environment(const domain::CodeOrder& order, std::string_view api) {
  constexpr std::string_view kNot[] = {"_HANDLER=", "AWS_EXECUTION_ENV=", "AWS_LAMBDA_LOG_GROUP_NAME=", "AWS_LAMBDA_LOG_STREAM_NAME=",
                                       "LAMBDA_RUNTIME_DIR=", "LAMBDA_TASK_ROOT="};
  std::vector<std::string> list = code_environment(order, api, "");
  std::erase_if(list, [&](const std::string& entry) {
    return std::ranges::any_of(kNot, [&](std::string_view name) { return entry.starts_with(name); });
  });
  return list;
}

std::vector<std::string> http_environment(const domain::CodeOrder& order, int port) {
  std::string number = std::to_string(order.version);
  number.insert(0, 5 - std::min<std::size_t>(5, number.size()), '0');
  Names reserved = {
      {"PORT", std::to_string(port)},
      {"K_SERVICE", order.function},
      {"K_CONFIGURATION", order.function},
      {"K_REVISION", order.function + "-" + number},     // as Knative names them: hello-00001
  };
  if (order.contract == domain::Contract::azure) {
    const auto runs = [&](std::string_view runtime) { return std::ranges::count(order.arguments, runtime) > 0; };
    reserved.emplace_back("FUNCTIONS_CUSTOMHANDLER_PORT", std::to_string(port));
    reserved.emplace_back("FUNCTIONS_WORKER_RUNTIME", runs(domain::kAzurePython) ? "python" : runs(domain::kAzureNode) ? "node" : "custom");
    reserved.emplace_back("FUNCTIONS_EXTENSION_VERSION", "~4");
    reserved.emplace_back("AzureWebJobsScriptRoot", order.folder);
    reserved.emplace_back("WEBSITE_SITE_NAME", order.function);
  }
  return environment_of(order, order.container ? std::string(kContainerPath) : "/usr/local/bin:/usr/bin:/bin", reserved);
}

}  // namespace mayfly::worker
