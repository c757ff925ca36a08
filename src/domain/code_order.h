// How a function's own program is started: what the node says to the host process in a sandbox (worker/code_loop.h), as JSON.
// Made by the control side from a version's manifest; both ends are the same binary, but the text passes a socket: parse checks it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::domain {

// As one of the arguments it stands for the text of the host's own runtime for Python:
// {"/usr/bin/python3", "-c", kPythonRuntime} runs a package that brings no runtime client.
constexpr std::string_view kPythonRuntime = "mayfly:python";
// The same for Node.js: {"/usr/bin/node", "--input-type=module", "-e", kNodeRuntime}.
constexpr std::string_view kNodeRuntime = "mayfly:node";
// Those of Azure's programming models, started likewise; behind the program in an order of Contract::azure.
constexpr std::string_view kAzurePython = "mayfly:azure-python";
constexpr std::string_view kAzureNode = "mayfly:azure-node";

// What the program speaks with its host.
enum class Contract : std::uint8_t {
  lambda,  // it asks the Runtime API (worker/code_loop.h)
  http,    // it listens on $PORT (worker/http_host.h)
  azure,   // it is an Azure Functions app: host.json of `folder` names a custom handler's program (worker/azure.h), else `arguments`
           // are the runtime of a language; or they are host.json alone, where this machine has none for the app
};

struct CodeOrder {
  std::vector<std::string> arguments;    // the first is the program: an absolute path, as the sandbox sees it
  std::vector<std::string> environment;  // "NAME=value", the user's; names that AWS Lambda reserves are overruled
  std::string handler;                   // "app.handler"; a custom runtime gives it its own meaning
  std::string function;                  // its name
  int version = 1;
  int memory_mb = 1024;                  // told to the program; the sandbox holds it to the limit
  std::int64_t timeout_ms = 30'000;      // told to the program; each call's deadline comes with the call
  std::string runtime;                   // "python3.11"; told to the program, "" where it is nobody's
  std::string folder = "/var/task";      // where the code lies: working directory and LAMBDA_TASK_ROOT
  std::string model_socket;              // where it calls models of the node, a unix socket; "": it may call none
  std::vector<std::string> outbound;     // where its host listens for connections to each destination (domain/network.h)
  bool machine_network = false;          // its loopback is the machine's: no port is its own for sure
  Contract contract = Contract::lambda;
  int concurrency = 1;                   // calls at a time, of http and azure
  int debug_port = 0;                    // of its loopback: where its debugger listens, told to it as MAYFLY_DEBUG_PORT; 0: none does
  bool h2c = false;                      // of http: it is spoken to in HTTP/2
  std::string user;                      // of a container: USER of its image, for its home; "" where it names none
  bool container = false;                // the program may be a name that is looked for in PATH, or lie below `folder`
  friend bool operator==(const CodeOrder&, const CodeOrder&) = default;
};

constexpr int kDebugPort = 5678;
constexpr std::size_t kCodeOrderMax = 48 * 1024;  // bytes of its JSON: it travels in one packet

[[nodiscard]] std::string to_json(const CodeOrder& order);
[[nodiscard]] Result<CodeOrder> parse_code_order(std::string_view json);

// A name that an environment may have: letters, digits and '_', not a digit first.
[[nodiscard]] bool valid_environment_name(std::string_view name);

}  // namespace mayfly::domain
