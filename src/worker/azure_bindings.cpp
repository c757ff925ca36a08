#include "worker/azure_bindings.h"

#include <algorithm>
#include <charconv>

#include "base/http.h"
#include "domain/json.h"
#include "os/digest.h"
#include "worker/azure_storage.h"
#include "worker/detail/azure_json.h"

namespace mayfly::worker {
namespace {

using namespace detail;

std::string named(const AzureBinding& binding) { return "the binding '" + binding.name + "' of type " + binding.type + ": "; }

std::unexpected<Error> broken(const AzureBinding& binding, const std::string& why) { return fail(Code::internal, named(binding) + why); }

// A list is several messages, also one that is JSON's text; of an object its text is the message.
std::vector<std::string> messages_of(AzureOutput output) {
  std::vector<std::string> messages;
  const bool list = output.form != AzureOutput::Form::bytes && output.value.find_first_not_of(" \t\r\n") != std::string::npos &&
                    output.value[output.value.find_first_not_of(" \t\r\n")] == '[';
  const Json json = list ? domain::parse_json<Json>(output.value) : Json();
  if (json.is_array()) {
    for (const Json& each : json) messages.push_back(each.is_string() ? each.get<std::string>() : dump(each));
  } else if (output.form == AzureOutput::Form::json) {
    const Json value = domain::parse_json<Json>(output.value);
    messages.push_back(value.is_string() ? value.get<std::string>() : std::move(output.value));
  } else {
    messages.push_back(std::move(output.value));
  }
  return messages;
}

Result<AzureWrite> messages(const AzurePlace& to, AzureOutput output, bool base64) {
  AzureWrite write{.to = to, .bodies = {}};
  for (const std::string& text : messages_of(std::move(output))) {
    const std::string sent = base64 ? os::to_base64(text) : text;
    if (sent.size() > kMessageMax)
      return broken(to.binding, "a message of " + std::to_string(text.size()) + " bytes has " + std::to_string(sent.size()) +
                                    " as it is sent; a queue takes 65536" + (base64 ? " (of which base64 leaves 49152)" : "") +
                                    ": make it smaller, or write a blob and send its name");
    auto body = message_body(sent);
    if (!body) return broken(to.binding, "a message can't be sent: " + body.error().message);
    write.bodies.push_back(*std::move(body));
  }
  return write;
}

std::string kind_of(const AzureInput& input) { return input.bytes ? "bytes:" + std::to_string(input.bytes->size()) : "none:0"; }

}  // namespace

AzureBinding read_binding(const Json& binding) {
  const std::string type = text_of(binding, "type");
  return {.name = text_of(binding, "name"), .type = type,
          .path = text_of(binding, same_word(type.substr(0, 5), "queue") ? "queueName" : "path"),
          .connection = text_of(binding, "connection"), .data_type = lower_case(text_of(binding, "dataType"))};
}

bool is_storable(std::string_view type) { return same_word(type, "blob") || same_word(type, "queue"); }

std::optional<std::string> connection_of(const AzureBinding& binding, const AzureSettings& settings) {
  const std::string name = binding.connection.empty() ? "Storage" : binding.connection;
  for (const std::string& each : {"AzureWebJobs" + name, name})
    if (const auto found = settings.find(each); found != settings.end() && !found->second.empty()) return found->second;
  return std::nullopt;
}

Result<AzurePlace> place_of(const AzureBinding& binding, const AzureSettings& settings, const Json& data, AzureMoment& moment) {
  const std::string setting = binding.connection.empty() ? "AzureWebJobsStorage" : binding.connection;
  const auto text = connection_of(binding, settings);
  if (!text) return broken(binding, "its connection is the setting " + setting + ", which isn't in the manifest's environment");
  auto account = parse_connection(*text);
  if (!account) return broken(binding, "the connection string in the setting " + setting + " can't be used: " + account.error().message);
  const auto in_place = [&](const Error& error) { return broken(binding, error.message); };
  const auto settled = fill_settings(binding.path, settings);
  if (!settled) return in_place(settled.error());
  auto path = fill_expressions(*settled, data, moment);
  if (!path) return in_place(path.error());
  AzurePlace place{.binding = binding, .account = {}, .container = *std::move(path), .blob = {}};
  if (same_word(binding.type, "queue")) {
    place.container = lower_case(place.container);      // as Azure's host does
    if (const auto good = check_queue(place.container); !good) return in_place(good.error());
  } else {
    const std::size_t slash = place.container.find('/');
    if (slash == std::string::npos)
      return broken(binding, "its path is '" + place.container + "': CONTAINER/NAME is wanted");
    place.blob = place.container.substr(slash + 1);
    place.container.resize(slash);
    if (const auto good = check_container(place.container); !good) return in_place(good.error());
    if (const auto good = check_blob(place.blob); !good) return in_place(good.error());
  }
  const AzureEndpoint& to = place.is_queue() ? account->queue : account->blob;
  if (to.host.empty())
    return broken(binding, "the connection string in the setting " + setting + " has no AccountName and no " +
                               (place.is_queue() ? "QueueEndpoint" : "BlobEndpoint"));
  place.account = std::make_shared<const AzureAccount>(*std::move(account));
  return place;
}

Result<std::vector<AzureWrite>> writes_of(const std::vector<AzurePlace>& places, std::vector<AzureOutput> outputs, bool base64) {
  std::vector<AzureWrite> writes;
  std::size_t bytes = 0, count = 0;
  for (AzureOutput& output : outputs) {
    const auto place = std::ranges::find_if(places, [&](const AzurePlace& each) { return each.binding.name == output.name; });
    if (place == places.end()) continue;
    AzureWrite write{.to = *place, .bodies = {}};
    if (place->is_queue()) {
      TRY(write, messages(*place, std::move(output), base64));
      count += write.bodies.size();
    } else {
      write.bodies.push_back(std::move(output.value));
    }
    for (const std::string& body : write.bodies) bytes += body.size();
    if (bytes > kBindingBytesMax) return broken(place->binding, "a call writes at most 64 MiB, and this is more");
    if (count > kMessagesMax)
      return broken(place->binding, "a call sends at most " + std::to_string(kMessagesMax) + " messages, and these are more");
    writes.push_back(std::move(write));
  }
  return writes;
}

std::string inputs_line(const std::vector<AzureInput>& inputs) {
  std::string line;
  for (const AzureInput& input : inputs) line += (line.empty() ? "" : "&") + percent_encoded(input.name) + "=" + kind_of(input);
  return line;
}

Result<std::vector<AzureOutput>> take_outputs(std::string_view line, std::string_view& body) {
  const auto wrong = [&] {
    return fail(Code::internal, "the runtime's outputs are not what it says of them: '" + std::string(line.substr(0, 200)) + "'");
  };
  std::vector<AzureOutput> outputs;
  std::string_view rest = line;
  while (const auto pair = take_pair(rest)) {
    const auto name = percent_decoded(pair->first);
    const std::size_t colon = std::min(pair->second.find(':'), pair->second.size());
    const std::string_view kind = pair->second.substr(0, colon), digits = pair->second.substr(std::min(colon + 1, pair->second.size()));
    std::uint64_t size = 0;
    const auto read = std::from_chars(digits.begin(), digits.end(), size);
    if (!name || read.ec != std::errc() || read.ptr != digits.end() || size > body.size()) return wrong();
    AzureOutput output{.name = *name, .value = std::string(body.substr(0, size))};
    if (kind == "bytes") output.form = AzureOutput::Form::bytes;
    else if (kind == "json") output.form = AzureOutput::Form::json;
    else if (kind != "text") return wrong();
    outputs.push_back(std::move(output));
    body.remove_prefix(size);
  }
  return outputs;
}

}  // namespace mayfly::worker
