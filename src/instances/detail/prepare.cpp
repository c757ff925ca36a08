#include "instances/detail/prepare.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <vector>

#include "domain/code_order.h"
#include "domain/manifest.h"
#include "domain/network.h"
#include "domain/optimization.h"
#include "domain/unpacked.h"
#include "instances/built.h"
#include "instances/builds.h"
#include "instances/detail/layer_paths.h"
#include "instances/http_runtimes.h"
#include "instances/runtimes.h"
#include "instances/start_caches.h"
#include "os/disk.h"

namespace mayfly::instances {
namespace {

constexpr const char* kTaskFolder = "/var/task";
constexpr const char* kDependenciesFolder = "/var/dependencies";
constexpr const char* kModelSocket = "/run/mayfly/models.sock";

// What the sandbox's network has, and where its host listens on it.
Result<std::vector<std::string>> prepare_outbound(const std::vector<std::string>& outbound, std::string& binds) {
  TRY(const auto destinations, domain::parse_destinations(outbound));
  const std::vector<domain::Ip> inside = domain::addresses_inside(destinations);
  std::vector<std::string> listen;
  std::set<std::string> said;
  for (std::size_t i = 0; i < destinations.size(); ++i) {
    const domain::Destination& to = destinations[i];
    listen.push_back(domain::to_text({.kind = domain::Destination::Kind::literal, .ip = inside[i], .port = to.port}));
    const std::string address = domain::to_text(inside[i]);
    if (said.insert(address).second) binds += "@" + address + "\t" + (domain::names_loopback(to) ? "" : to.name) + "\n";
  }
  return listen;
}

// What a program looks at to reach others as the machine does.
void bind_names(std::string& binds) {
  for (const char* file : {"/etc/resolv.conf", "/etc/hosts"}) {
    std::error_code error;
    const auto real = std::filesystem::canonical(file, error);
    if (!error) binds += real.string() + "\t" + file + "\n";
  }
}

Result<Prepared> prepare_unpack(const StartOrder& order) {
  if (order.files.size() != 1 || order.output.empty()) return fail(Code::internal, "an unpack wants one archive and a folder");
  const std::string archive = std::filesystem::absolute(order.files[0].location), folder = std::filesystem::absolute(order.output);
  TRY_VOID(os::let_all_run(archive));  // the sandbox's own user reads it
  return Prepared{.binds = archive + "\t" + domain::kArchivePlace + "\n" + folder + "\t" + domain::kPackagePlace + "\trw\n",
                  .order = order.runtime.starts_with("container-") ? domain::kLayer : "",
                  .output_max = domain::unpacked_max(order.files[0].size).count};
}

// Not by a link: what was installed may have left one that leads out of its folder.
bool is_folder(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(std::filesystem::symlink_status(path, error));
}

// Behind what the user's own environment names.
void add_to_python_path(domain::CodeOrder& code) {
  const auto own = std::ranges::find_if(code.environment, [](const std::string& entry) { return entry.starts_with("PYTHONPATH="); });
  if (own == code.environment.end()) code.environment.push_back(std::string("PYTHONPATH=") + kDependenciesFolder);
  else *own += std::string(":") + kDependenciesFolder;
}

// Node.js and Java have one; our runtime for Python starts debugpy (worker/python_runtime.py); other programs are told the port.
Result<void> add_debugger(const StartOrder& order, domain::CodeOrder& code) {
  if (order.network.reach == domain::Reach::host)
    return fail(Code::invalid_argument, "network: host leaves no loopback of its own to debug at: write network: none while debugging");
  const std::string port = std::to_string(domain::kDebugPort);
  const std::string inspect = "--inspect=127.0.0.1:" + port,
                    agent = "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=127.0.0.1:" + port;
  const auto names = [&](std::string_view language) { return order.runtime.find(language) != order.runtime.npos; };
  code.debug_port = domain::kDebugPort;
  code.environment.push_back("MAYFLY_DEBUG_PORT=" + port);
  if (order.runtime.starts_with("nodejs")) code.arguments.insert(code.arguments.begin() + 1, inspect);
  else if (order.runtime.starts_with("java")) code.arguments.insert(code.arguments.begin() + 1, agent);
  else if (names("node")) code.environment.push_back("NODE_OPTIONS=" + inspect);         // of Google's and Azure's frameworks
  else if (names("java")) code.environment.push_back("JAVA_TOOL_OPTIONS=" + agent);
  return {};
}

// A package without one has its layers' (control/node_code.cpp saw that it is there).
bool has_bootstrap(const StartOrder& order) {
  if (order.layers.empty()) return true;
  return std::ranges::any_of(order.files, [](const ModelFile& file) {
    return file.path == "bootstrap" || (file.path.empty() && os::is_below(file.location, "bootstrap"));
  });
}

Result<Prepared> prepare_code(const StartOrder& order, const std::string& models, bool debug) {
  const domain::Manifest kind{.runtime = order.runtime};
  const bool http = kind.serves_http(), container = kind.is_container();
  HttpProgram program;
  Runtime runtime;
  if (container) {
    program = container_program(order);
  } else if (http) {
    TRY(program, find_http_program(order, environment_value("PATH"), environment_value("HOME")));
    runtime = {program.arguments.at(0), program.folders};
  } else {
    TRY(runtime, find_runtime(order.runtime, environment_value("PATH"), environment_value("HOME")));
  }
  if (!order.dependencies.empty() && !is_folder(order.dependencies))
    return fail(Code::unavailable, "what was installed for it is not on the disk any more, and is being installed again: try again later");
  Prepared prepared;
  const auto bind = [&](const std::string& source, const std::string& target) { prepared.binds += source + "\t" + target + "\n"; };
  for (const std::string& folder : runtime.folders) bind(folder, folder);
  for (const ModelFile& file : order.files) {
    const std::string location = std::filesystem::absolute(file.location);
    if (file.path.empty()) {
      bind(location, container ? "/" : kTaskFolder);
      continue;
    }
    // Artifacts are the node's alone; these are read, and `bootstrap` is run, by the sandbox's own user.
    TRY_VOID(os::let_all_run(location));
    bind(location, std::string(kTaskFolder) + "/" + file.path);
  }
  const std::string dependencies = order.dependencies.empty() ? "" : std::filesystem::absolute(order.dependencies).string();
  const bool python = !dependencies.empty() && (order.runtime.find("python") != std::string::npos || order.handler.starts_with("python"));
  if (python) bind(dependencies, kDependenciesFolder);
  else if (!dependencies.empty() && is_folder(dependencies + "/node_modules"))  // where Node.js looks
    bind(dependencies + "/node_modules", std::string(kTaskFolder) + "/node_modules");
  else if (!dependencies.empty()) bind(dependencies, kDependenciesFolder);
  if (!order.layers.empty()) bind(std::filesystem::absolute(order.layers), kLayersFolder);
  if (!models.empty()) bind(models, kModelSocket);
  domain::CodeOrder code{.handler = order.handler, .function = order.model_name,
                         .version = order.version_number, .memory_mb = static_cast<int>(order.memory_max.count >> 20),
                         .timeout_ms = std::chrono::duration_cast<std::chrono::milliseconds>(order.timeout).count(),
                         .runtime = order.runtime, .container = container};
  if (http || container) {
    code.arguments = std::move(program.arguments);
    code.environment = std::move(program.environment);
  } else {
    if (order.runtime.starts_with("provided") && !has_bootstrap(order)) runtime.program = std::string(kLayersFolder) + "/bootstrap";
    code.arguments = arguments_of(runtime, order.runtime, order.handler, order.memory_max, !order.layers.empty());
  }
  if (!dependencies.empty()) run_what_was_built(order.runtime, dependencies, kDependenciesFolder, code.arguments);
  if (container) {
    code.folder = order.image.directory;
    code.user = order.image.user;
    if (!code.user.empty()) bind("USER", code.user);
    if (code.handler.empty() && !order.image.command.empty()) code.handler = order.image.command[0];
  }
  if (http) {
    code.contract = order.runtime.starts_with("azure") ? domain::Contract::azure : domain::Contract::http;
    code.concurrency = order.concurrency;
    code.h2c = order.protocol == domain::Protocol::h2c;
  }
  for (const auto& [name, value] : order.environment) code.environment.push_back(name + "=" + value);
  leave_to_users_options(code.environment, code.arguments);
  if (python) add_to_python_path(code);
  if (!order.layers.empty()) add_layer_paths(code, order.runtime, order.handler);
  if (!models.empty()) code.model_socket = kModelSocket;
  code.machine_network = prepared.machine_network = order.network.reach == domain::Reach::host;
  if (code.machine_network) bind_names(prepared.binds);
  if (debug && order.role != domain::Role::start_cache) TRY_VOID(add_debugger(order, code));
  TRY(code.outbound, prepare_outbound(order.network.outbound, prepared.binds));
  if (order.role == domain::Role::start_cache) {
    prepared.binds += std::filesystem::absolute(order.output).string() + "\t" + domain::kStartCachePlace + "\trw\n";
    prepared.order = domain::to_json(plan_start_cache(order, std::move(code)));
    if (prepared.order.size() > domain::kStartCacheOrderMax)
      return fail(Code::exhausted, "its environment is too large for a start cache to be made: it takes " +
                                       std::to_string(prepared.order.size()) + " bytes, at most 61440");
    return prepared;
  }
  // One that is gone from the disk, or was damaged there, is none: the start is as it would be without.
  if (!order.start_cache.empty() && is_whole(order.start_cache, order)) {
    bind(std::filesystem::absolute(order.start_cache), domain::kStartCachePlace);
    use_start_cache(order, code);
  }
  prepared.order = domain::to_json(code);
  return prepared;
}

Result<Prepared> prepare_build(const StartOrder& order) {
  TRY(const Build build, plan_build(order));
  Prepared prepared{.order = domain::to_json(build.order), .machine_network = true};
  if (prepared.order.size() > domain::kBuildOrderMax)
    return fail(Code::exhausted, "the registries' configuration (pip.conf, .npmrc, settings.xml and the like) takes " +
                                     std::to_string(prepared.order.size()) + " bytes, at most 49152 can be given to a build: shorten it");
  const auto bind = [&](const std::string& source, const std::string& target) { prepared.binds += source + "\t" + target + "\n"; };
  for (const std::string& path : build.shown) bind(path, path);
  for (const ModelFile& file : order.files) {
    const std::string location = std::filesystem::absolute(file.location);
    if (!file.path.empty()) TRY_VOID(os::let_all_run(location));
    bind(location, file.path.empty() ? domain::kPackagePlace : std::string(domain::kPackagePlace) + "/" + file.path);
  }
  prepared.binds += std::filesystem::absolute(order.output).string() + "\t" + domain::kBuildPlace + "\trw\n";
  return prepared;
}

// No network and nothing of the machine but /usr: what it runs is the zygote's own.
Result<Prepared> prepare_optimize(const StartOrder& order) {
  Prepared prepared{.order = order.optimization};
  const auto bind = [&](const std::string& source, const std::string& target) -> Result<void> {
    const std::string location = std::filesystem::absolute(source);
    TRY_VOID(os::let_all_run(location));  // the sandbox's own user reads it
    prepared.binds += location + "\t" + target + "\n";
    return {};
  };
  for (const ModelFile& file : order.files) TRY_VOID(bind(file.location, std::string(domain::kPackagePlace) + "/" + file.path));
  if (!order.samples.empty())
    TRY_VOID(bind(order.samples, domain::kSamplesPlace + std::filesystem::path(order.samples).extension().string()));
  prepared.binds += std::filesystem::absolute(order.output).string() + "\t" + domain::kOptimizePlace + "\trw\n";
  return prepared;
}

}  // namespace

Result<Prepared> prepare(const StartOrder& order, const std::string& models, bool debug) {
  if (order.role == domain::Role::unpack) return prepare_unpack(order);
  if (order.role == domain::Role::build) return prepare_build(order);
  if (order.role == domain::Role::optimize) return prepare_optimize(order);
  return prepare_code(order, models, debug);
}

}  // namespace mayfly::instances
