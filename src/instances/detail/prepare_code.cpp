#include "instances/detail/prepare_code.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <vector>

#include "domain/code_order.h"
#include "domain/link.h"
#include "domain/manifest.h"
#include "domain/network.h"
#include "instances/http_runtimes.h"
#include "instances/runtimes.h"
#include "os/disk.h"

namespace mayfly::instances {
namespace {

constexpr const char* kTaskFolder = "/var/task";
constexpr std::uint64_t kUnpackedLeast = 1ULL << 30, kUnpackedFactor = 100;  // what an archive may hold: by its own size
constexpr const char* kModelSocket = "/run/mayfly/models.sock";

std::string environment(const char* name) {
  const char* value = ::getenv(name);
  return value ? value : "";
}

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

}  // namespace

Result<Prepared> prepare_unpack(const StartOrder& order) {
  if (order.files.size() != 1 || order.output.empty()) return fail(Code::internal, "an unpack wants one archive and a folder");
  const std::string archive = std::filesystem::absolute(order.files[0].location), folder = std::filesystem::absolute(order.output);
  TRY_VOID(os::let_all_run(archive));  // the sandbox's own user reads it
  return Prepared{.binds = archive + "\t" + domain::kArchivePlace + "\n" + folder + "\t" + domain::kPackagePlace + "\trw\n",
                  .output_max = std::max(kUnpackedLeast, kUnpackedFactor * order.files[0].size.count)};
}

Result<Prepared> prepare_code(const StartOrder& order, const std::string& models) {
  const bool http = domain::Manifest{.runtime = order.runtime}.serves_http();
  HttpProgram program;
  Runtime runtime;
  if (http) {
    TRY(program, find_http_program(order, environment("PATH"), environment("HOME")));
    runtime = {program.arguments.at(0), program.folders};
  } else {
    TRY(runtime, find_runtime(order.runtime, environment("PATH"), environment("HOME")));
  }
  Prepared prepared;
  const auto bind = [&](const std::string& source, const std::string& target) { prepared.binds += source + "\t" + target + "\n"; };
  for (const std::string& folder : runtime.folders) bind(folder, folder);
  for (const ModelFile& file : order.files) {
    const std::string location = std::filesystem::absolute(file.location);
    if (file.path.empty()) {
      bind(location, kTaskFolder);
      continue;
    }
    // Artifacts are the node's alone; these are read, and `bootstrap` is run, by the sandbox's own user.
    TRY_VOID(os::let_all_run(location));
    bind(location, std::string(kTaskFolder) + "/" + file.path);
  }
  if (!models.empty()) bind(models, kModelSocket);
  domain::CodeOrder code{.arguments = arguments_of(runtime, order.runtime, order.handler, order.memory_max),
                         .handler = order.handler, .function = order.model_name,
                         .version = order.version_number, .memory_mb = static_cast<int>(order.memory_max.count >> 20),
                         .timeout_ms = std::chrono::duration_cast<std::chrono::milliseconds>(order.timeout).count(),
                         .runtime = order.runtime};
  if (http) {
    code.arguments = std::move(program.arguments);
    code.environment = std::move(program.environment);
    code.contract = order.runtime.starts_with("azure") ? domain::Contract::azure : domain::Contract::http;
    code.concurrency = order.concurrency;
  }
  for (const auto& [name, value] : order.environment) code.environment.push_back(name + "=" + value);
  if (!models.empty()) code.model_socket = kModelSocket;
  code.machine_network = order.network.reach == domain::Reach::host;
  if (code.machine_network) bind_names(prepared.binds);
  TRY(code.outbound, prepare_outbound(order.network.outbound, prepared.binds));
  prepared.order = domain::to_json(code);
  return prepared;
}

}  // namespace mayfly::instances
