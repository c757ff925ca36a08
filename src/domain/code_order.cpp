#include "domain/code_order.h"

#include <algorithm>

#include "domain/json.h"

namespace mayfly::domain {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kOutboundMax = 64, kArgumentsMax = 64, kEnvironmentMax = 256;

std::unexpected<Error> wrong(const std::string& what) { return fail(Code::invalid_argument, "an order to run code: " + what); }

bool has_nul(const std::string& text) { return text.find('\0') != std::string::npos; }

std::int64_t integer(const Json& json) {
  if (!json.is_number_integer()) throw Json::type_error::create(302, "an integer is expected", &json);
  return json.get<std::int64_t>();
}

Result<void> check(const CodeOrder& order) {
  if (order.arguments.empty() || order.arguments[0].empty() || (!order.container && !order.arguments[0].starts_with('/')))
    return wrong("the program must be an absolute path");
  if (order.arguments.size() > kArgumentsMax) return wrong("more than 64 arguments");
  if (order.environment.size() > kEnvironmentMax) return wrong("more than 256 environment variables");
  if (order.outbound.size() > kOutboundMax) return wrong("more than 64 destinations");
  if (!order.folder.starts_with('/')) return wrong("the folder must be an absolute path");
  if (!order.model_socket.empty() && !order.model_socket.starts_with('/')) return wrong("the models' socket must be an absolute path");
  for (const std::string& entry : order.environment) {
    const std::size_t equals = std::min(entry.find('='), entry.size());
    if (equals == entry.size() || !valid_environment_name(std::string_view(entry).substr(0, equals)))
      return wrong("the environment has '" + entry.substr(0, std::min<std::size_t>(equals, 64)) + "', which is no NAME=value");
  }
  const std::vector<std::string> texts{order.handler, order.function, order.folder, order.model_socket, order.runtime, order.user};
  for (const auto* list : {&order.arguments, &order.environment, &texts})
    if (std::ranges::any_of(*list, has_nul)) return wrong("a text holds a NUL");
  return {};
}

}  // namespace

bool valid_environment_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name[0]) && std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::string to_json(const CodeOrder& o) {
  return Json{{"arguments", o.arguments},
              {"environment", o.environment},
              {"handler", o.handler},
              {"function", o.function},
              {"version", o.version},
              {"memory_mb", o.memory_mb},
              {"timeout_ms", o.timeout_ms},
              {"folder", o.folder},
              {"model_socket", o.model_socket},
              {"runtime", o.runtime},
              {"contract", static_cast<int>(o.contract)},
              {"concurrency", o.concurrency},
              {"outbound", o.outbound},
              {"machine_network", o.machine_network},
              {"container", o.container},
              {"user", o.user},
              {"h2c", o.h2c},
              {"debug_port", o.debug_port}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<CodeOrder> parse_code_order(std::string_view text) {
  if (text.size() > kCodeOrderMax) return wrong("it has " + std::to_string(text.size()) + " bytes, at most 49152 are taken");
  try {
    const Json json = Json::parse(text);
    CodeOrder order;
    order.arguments = json.at("arguments").get<std::vector<std::string>>();
    order.environment = json.at("environment").get<std::vector<std::string>>();
    order.handler = json.at("handler").get<std::string>();
    order.function = json.at("function").get<std::string>();
    order.folder = json.at("folder").get<std::string>();
    order.machine_network = json.value("machine_network", false);
    order.outbound = json.value("outbound", std::vector<std::string>());
    order.model_socket = json.value("model_socket", "");
    order.runtime = json.at("runtime").get<std::string>();
    order.container = json.value("container", false);
    order.user = json.value("user", "");
    order.h2c = json.value("h2c", false);
    const std::int64_t debug_port = json.contains("debug_port") ? integer(json.at("debug_port")) : 0;
    if (debug_port < 0 || debug_port > 65535) return wrong("debug_port is out of range");
    order.debug_port = static_cast<int>(debug_port);
    const std::int64_t version = integer(json.at("version")), memory = integer(json.at("memory_mb"));
    order.timeout_ms = integer(json.at("timeout_ms"));
    if (version < 1 || version > 1'000'000'000 || memory < 1 || memory > 1'000'000'000 || order.timeout_ms < 1)
      return wrong("version, memory_mb or timeout_ms is out of range");
    const std::int64_t contract = integer(json.at("contract")), concurrency = integer(json.at("concurrency"));
    if (contract < 0 || contract > static_cast<int>(Contract::azure) || concurrency < 1 || concurrency > 1024)
      return wrong("contract or concurrency is out of range");
    order.contract = static_cast<Contract>(contract);
    order.concurrency = static_cast<int>(concurrency);
    order.version = static_cast<int>(version);
    order.memory_mb = static_cast<int>(memory);
    TRY_VOID(check(order));
    return order;
  } catch (const Json::exception& error) {
    return wrong(error.what());
  }
}

}  // namespace mayfly::domain
