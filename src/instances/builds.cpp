#include "instances/builds.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/units.h"
#include "domain/link.h"
#include "domain/manifest.h"
#include "instances/build_tools.h"

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;
using domain::BuildKind;

constexpr Bytes kConfigMax = 32_KiB;

// How registries are reached, by each tool's own names. A tool is given its own alone: what they hold may be a secret of another's.
struct Reach {
  std::vector<std::string_view> variables;
  std::vector<std::string_view> home_files;   // below the user's home; copied, as they are often for their owner's eyes alone
  std::vector<std::pair<std::string_view, std::string_view>> named_files;  // where the environment names another one: what stands for it
};
constexpr std::string_view kProxies[] = {"http_proxy", "https_proxy", "all_proxy", "no_proxy",
                                         "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"};
// … those whose value is a file or a folder, which is shown with it.
constexpr std::string_view kPathVariables[] = {
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "PIP_CLIENT_CERT",
    "PIP_FIND_LINKS", "npm_config_cafile", "NPM_CONFIG_CAFILE", "GIT_SSL_CAINFO",
};

Reach reach_of(BuildKind kind) {
  switch (kind) {
    case BuildKind::pip:
      return {.variables = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT",
                            "PIP_RETRIES", "PIP_NO_INDEX"},
              .home_files = {".config/pip/pip.conf", ".pip/pip.conf", ".netrc"},
              .named_files = {{"PIP_CONFIG_FILE", "pip.conf"}, {"NETRC", "netrc"}}};
    case BuildKind::npm:
      return {.variables = {"npm_config_registry", "NPM_CONFIG_REGISTRY", "npm_config_proxy", "NPM_CONFIG_PROXY", "npm_config_https_proxy",
                            "NPM_CONFIG_HTTPS_PROXY", "npm_config_noproxy", "NPM_CONFIG_NOPROXY", "npm_config_strict_ssl",
                            "NPM_CONFIG_STRICT_SSL"},
              .home_files = {".npmrc", ".netrc"},
              .named_files = {{"NPM_CONFIG_USERCONFIG", "npmrc"}, {"npm_config_userconfig", "npmrc"}, {"NETRC", "netrc"}}};
    case BuildKind::maven:
      return {.variables = {}, .home_files = {".m2/settings.xml", ".m2/settings-security.xml"}, .named_files = {}};
    case BuildKind::go:
      return {.variables = {"GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE", "GOVCS"},
              .home_files = {".config/go/env", ".netrc"},
              .named_files = {{"NETRC", "netrc"}}};
  }
  return {};
}

constexpr std::string_view kMachineFiles[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/npmrc", "/etc/gai.conf",
                                              "/etc/ca-certificates", "/etc/services", "/etc/protocols"};

// "" where there is none.
Result<std::string> text_of(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  if (error) return std::string();
  if (size > kConfigMax.count)
    return fail(Code::exhausted, file.string() + " has " + to_text(Bytes{size}) + ", and a build can be given " + to_text(kConfigMax) +
                                     " of it: shorten it");
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

bool is_shown(const std::vector<std::string>& shown, const std::string& path) {
  return std::ranges::any_of(shown, [&](const std::string& folder) {
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
  });
}

Result<void> add_configuration(Build& build) {
  std::vector<std::string>& environment = build.order.environment;
  const Reach reach = reach_of(build.order.kind);
  std::vector<std::string_view> names(std::begin(kProxies), std::end(kProxies));
  names.insert(names.end(), reach.variables.begin(), reach.variables.end());
  for (const std::string_view name : names)
    if (const char* value = ::getenv(std::string(name).c_str())) environment.push_back(std::string(name) + "=" + value);
  for (const std::string_view name : kPathVariables) {
    const std::string value = environment_value(std::string(name).c_str());
    std::error_code error;
    if (!value.starts_with('/') || value.find_first_of(" \t\n:") != value.npos || !fs::exists(value, error)) continue;
    const bool covered = std::ranges::any_of(std::initializer_list<std::string_view>{"/tmp/", "/proc/", "/dev/"},
                                             [&](std::string_view own) { return value.starts_with(own); });
    if (covered) continue;
    environment.push_back(std::string(name) + "=" + value);
    if (!is_shown(build.shown, value)) build.shown.push_back(value);
  }
  for (const auto& [name, file] : reach.named_files) {
    const std::string value = environment_value(std::string(name).c_str());
    if (value.empty() || value == "off" || value == "/dev/null") continue;
    TRY(std::string text, text_of(value));
    if (text.empty()) continue;
    environment.push_back(std::string(name) + "=" + domain::kBuildPlace + "/home/" + std::string(file));
    build.order.home.emplace_back(file, std::move(text));
  }
  const std::string home = environment_value("HOME");
  for (const std::string_view file : reach.home_files) {
    if (home.empty()) break;
    TRY(std::string text, text_of(fs::path(home) / file));
    if (!text.empty()) build.order.home.emplace_back(file, std::move(text));
  }
  return {};
}

}  // namespace

std::string environment_value(const char* name) {
  const char* value = ::getenv(name);
  return value ? value : "";
}

Result<Build> plan_build(const StartOrder& order) {
  TRY(const BuildTool tool, find_build_tool(order));
  Build build{.order = {.kind = order.build, .program = tool.program, .script = tool.script, .runtime = order.runtime, .alone = order.alone,
                        .time_ms = std::chrono::duration_cast<std::chrono::milliseconds>(order.timeout).count(),
                        .memory_mb = static_cast<std::int64_t>(order.memory_max.count >> 20), .memory = to_text(order.memory_max)},
              .shown = tool.folders};
  for (const std::string_view file : kMachineFiles) {
    std::error_code error;
    if (fs::exists(file, error)) build.shown.emplace_back(file);
  }
  TRY_VOID(add_configuration(build));
  return build;
}

Result<std::string> builder_of(const StartOrder& order) {
  TRY(const BuildTool tool, find_build_tool(order));
  return order.runtime + "\n" + tool.program + (tool.version.empty() ? "" : "\n" + tool.version);
}

}  // namespace mayfly::instances
