// Bindings of an Azure function that have something behind them: a blob is read before the function runs, a blob and messages of a queue
// are written after it, in Azure Storage. Here is what both sides of that say, as values: what a binding is, where it leads in one
// call, what was read, what a function gave, what is to be written. Pure: worker/azure_requests.cpp makes places of a call's data,
// worker/azure_store.h reads and writes. Whatever triggers a function, its data comes as {"input", "metadata"} (worker/azure.h).
//
// Promises: nothing is written unless all that a function gave can be: sizes, counts and texts are checked before. Values are turned as
// Azure's host does it: a list, also as JSON's text, is several messages; messages are base64 unless host.json says none.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "worker/azure_connection.h"
#include "worker/azure_expression.h"

namespace mayfly::worker {

constexpr std::size_t kBindingBytesMax = 64 << 20;   // of all blobs of a call that are read, and of all that are written
constexpr std::size_t kMessagesMax = 1000;           // of a call
constexpr std::size_t kStoredMax = 32;               // bindings of a function that are read or written

struct AzureBinding {
  std::string name, type;              // "$return" is a name
  std::string path;                    // of a blob: "container/name"; of a queue: its name. With expressions
  std::string connection;              // the setting that has the connection string
  std::string data_type;               // "binary", "string", or ""
  friend bool operator==(const AzureBinding&, const AzureBinding&) = default;
};
[[nodiscard]] AzureBinding read_binding(const nlohmann::json& binding);

// Where it leads in a call.
struct AzurePlace {
  AzureBinding binding;
  std::shared_ptr<const AzureAccount> account;
  std::string container, blob;         // of a queue: its name, and ""
  bool is_queue() const { return blob.empty(); }
};
// blob and queue: what there is a store for.
[[nodiscard]] bool is_storable(std::string_view type);
// The setting's value, found as Azure finds it: AzureWebJobsNAME before NAME; "" is AzureWebJobsStorage. None: it isn't set.
[[nodiscard]] std::optional<std::string> connection_of(const AzureBinding& binding, const AzureSettings& settings);
// Errors name the binding.
[[nodiscard]] Result<AzurePlace> place_of(const AzureBinding& binding, const AzureSettings& settings, const nlohmann::json& data,
                                          AzureMoment& moment);

struct AzurePlan {                     // of one call
  std::vector<AzurePlace> reads, writes;
  bool reads_trigger = false;          // the first read is the trigger's own
};

struct AzureInput {                    // what was read for a binding
  std::string name;
  std::optional<std::string> bytes;    // none: the blob isn't there
  std::string head;                    // of the store's answer
};

struct AzureOutput {                   // what a function gave
  enum class Form : std::uint8_t { text, bytes, json };
  std::string name;
  Form form = Form::text;
  std::string value;
};

struct AzureWrite {
  AzurePlace to;
  std::vector<std::string> bodies;     // the blob; or messages, as they are sent
};
[[nodiscard]] Result<std::vector<AzureWrite>> writes_of(const std::vector<AzurePlace>& places, std::vector<AzureOutput> outputs,
                                                        bool base64);

// Between our runtimes and their host: "NAME=KIND:SIZE&…" in a header's line, the bytes in that order in front of the body. KIND of what
// goes there is bytes or none; of what comes back text, bytes or json.
[[nodiscard]] std::string inputs_line(const std::vector<AzureInput>& inputs);
// Takes the outputs off the front of `body`; internal: they are not what the line says.
[[nodiscard]] Result<std::vector<AzureOutput>> take_outputs(std::string_view line, std::string_view& body);

}  // namespace mayfly::worker
