// An Azure Functions app with a custom handler, as its folder describes it: host.json names the program, NAME/function.json each
// function's bindings. Turns a request into what the handler is sent, and its answer into what the caller gets. Reads files of a
// user's: it runs in the sandbox. Pure but for read(); driven by worker/http_host.h.
//
// Promises: routes as in function.json below the prefix of host.json (api), literal segments before {parameters}; requests pass through
// unchanged where host.json says so (enableForwardingHttpRequest, enableProxyingHttpRequest) and the function has HTTP bindings only;
// else the handler is sent POST /NAME {"Data", "Metadata"} and answers {"Outputs", "Logs", "ReturnValue"}.
// Not there: triggers but HTTP, outputs but HTTP (they are refused at start), the Functions language workers, keys (authLevel).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::worker {

class AzureApp {
 public:
  struct Request {
    std::string bytes;               // head and body
    std::size_t function = 0;        // whose answer it gets
  };
  struct Reply {
    std::string bytes;               // head and body
    std::size_t head_size = 0;
    std::string log;                 // lines of "Logs"
  };

  [[nodiscard]] static Result<AzureApp> read(const std::string& folder);

  const std::vector<std::string>& arguments() const { return arguments_; }  // the program first, absolute

  // Whether requests and answers go through as they are: then request() says only whether there is a function for it.
  bool passes() const { return passes_; }
  // head: request line and headers with the empty line. not_found: no function has this route.
  [[nodiscard]] Result<Request> request(std::string_view head, std::string_view body) const;
  // head: without the empty line.
  [[nodiscard]] Result<Reply> answer(std::size_t function, std::string_view head, std::string_view body) const;

 private:
  struct Function {
    std::string name;
    std::string trigger = "req";     // the binding's name, key of Data
    std::string output;              // of the http output binding; "" none; "$return"
    std::vector<std::string> methods;  // upper case; none: all
    std::vector<std::string> route;  // segments: "orders", "{id}", "{*rest}"
  };

  Result<void> read_host(const std::string& folder);
  Result<void> read_function(const std::string& folder, const std::string& name);

  std::vector<std::string> arguments_;
  std::string prefix_ = "api";
  bool passes_ = false;
  std::vector<Function> functions_;  // those with more literals first
};

}  // namespace mayfly::worker
