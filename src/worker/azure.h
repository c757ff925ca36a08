// An Azure Functions app, as its folder describes it: host.json; of a custom handler NAME/function.json for each function; of code in
// Azure's programming models for Python (v2) and Node.js (v4) what our runtime for that language says of its functions, in the same
// form. Turns a request into what the program is sent, and a custom handler's answer into what the caller gets. Reads files of a
// user's: it runs in the sandbox. Pure but for read(); driven by worker/http_host.h.
//
// Promises: routes below the prefix of host.json (api), literal segments before {parameters}; POST /admin/functions/NAME {"input"} runs a
// function with any trigger by hand, and is answered 202 with its outputs; GET /admin/functions lists them, authLevel and all.
// A custom handler is sent requests unchanged where host.json says so and the function has HTTP bindings only; else POST /NAME
// {"Data", "Metadata"}, answered by {"Outputs", "Logs", "ReturnValue"}. Our runtimes are sent the request with lines in front that name
// the function and the route's parameters, and answer with HTTP.
// A binding of blob or queue whose connection is among the settings has a store behind it (worker/azure_bindings.h): plan() says what is
// read before request(), answer() what is written after it. What nothing takes or gives is refused by name, before the function runs: an
// input binding; an output binding but http of a call that came by HTTP, unless outputs may go to the log. Not there: triggers, keys.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/http_parser.h"
#include "base/result.h"
#include "worker/azure_bindings.h"
#include "worker/azure_route.h"

namespace mayfly::worker {

class AzureApp {
 public:
  enum class Form : std::uint8_t {
    as_it_is,   // the caller's bytes go to the program, and its answer comes back
    named,      // for our runtime: `bytes` goes, the answer comes back as it is
    data,       // for a custom handler: `bytes` goes, answer() makes of its answer what the caller gets
    answered,   // `bytes` is the answer already
  };
  struct Request {
    Form form = Form::as_it_is;
    std::string bytes;                 // head and body
    std::size_t head_size = 0;         // of what is answered already
    std::size_t function = 0;          // whose answer it gets
    bool by_hand = false;
  };
  struct Reply {
    std::string bytes;                 // head and body
    std::size_t head_size = 0;
    std::string log;                   // lines of "Logs", and outputs that go to the log
    std::vector<AzureWrite> writes;    // before it is sent
  };
  using Plan = AzurePlan;

  // host.json of the folder, and the function.json of a custom handler. outputs_to_log: of calls by HTTP.
  [[nodiscard]] static Result<AzureApp> read(const std::string& folder, bool outputs_to_log);
  // The same of a text. Without functions yet.
  [[nodiscard]] static Result<AzureApp> parse(std::string_view host_json, const std::string& folder, bool outputs_to_log);
  // [{"name", "bindings": […]}, …]; at least one.
  [[nodiscard]] Result<void> add_functions(std::string_view json);

  void use(AzureSettings settings) { settings_ = std::move(settings); }  // the function's environment

  const std::vector<std::string>& arguments() const { return arguments_; }  // of a custom handler: the program first, absolute; else none
  bool custom() const { return !arguments_.empty(); }

  // Whether a function reads or writes something: then each call is planned first.
  bool stores() const;
  // head: request line and headers with the empty line. not_found: no function has this route.
  [[nodiscard]] Result<Plan> plan(std::string_view head, std::string_view body, AzureMoment moment) const;
  // inputs: what was read, by the plan.
  [[nodiscard]] Result<Request> request(std::string_view head, std::string_view body, const Plan& plan = {},
                                        const std::vector<AzureInput>& inputs = {}) const;
  // To a request of Form::data, or one whose plan writes. head: without the empty line.
  [[nodiscard]] Result<Reply> answer(const Request& request, std::string_view head, std::string_view body, const Plan& plan = {}) const;

 private:
  using Binding = AzureBinding;
  struct Function {
    std::string name;
    Binding trigger;                   // its name is the key of Data
    std::optional<AzureRoute> route;   // of an HTTP trigger
    std::vector<std::string> methods;  // upper case; none: all
    std::string http;                  // name of the http output binding; "" none; "$return"
    std::vector<Binding> inputs, outputs;  // all others
    std::string bindings;              // as read, JSON
  };

  Result<void> read_functions(const std::string& folder);
  Result<void> add_function(const std::string& name, const std::string& description);
  void sort_functions();
  // One call, as it is understood: whose it is, and what of its path.
  struct Asked {
    const Function* function = nullptr;
    AzureRoute::Parameters parameters;
    bool by_hand = false;
  };
  struct Given {                       // beside the caller's own bytes
    const Plan& plan;
    const std::vector<AzureInput>& inputs;
  };
  Result<Asked> asked(const HttpRequestHead& head) const;
  Result<Request> by_route(const HttpRequestHead& head, std::string_view body, const Asked& asked, const Given& given) const;
  Result<Request> by_hand(const HttpRequestHead& head, std::string_view body, const Asked& asked, const Given& given) const;
  Request named(const HttpRequestHead& head, std::string_view body, const Asked& asked, const Given& given) const;
  Result<Reply> envelope(const Request& request, std::string_view head, std::string_view body, const Plan& plan) const;
  Request listed() const;
  Result<void> check_bindings(const Function& function, bool by_hand) const;
  bool is_stored(const Binding& binding) const { return is_storable(binding.type) && connection_of(binding, settings_); }
  std::size_t index_of(const Function& function) const { return static_cast<std::size_t>(&function - functions_.data()); }

  std::vector<std::string> arguments_;
  std::string prefix_ = "api";
  bool passes_ = false;                // requests of functions that have HTTP bindings only
  bool outputs_to_log_ = false;
  bool base64_ = true;                 // messages of queues
  AzureSettings settings_;
  std::vector<Function> functions_;    // those with more literals first
};

}  // namespace mayfly::worker
