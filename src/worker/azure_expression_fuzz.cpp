// Texts of bindings, connection strings, what a store and our runtime say: all foreign. Texts or errors, within their limits; a place leads
// where it says, and a request's head holds no line but ours.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "domain/json.h"
#include "worker/azure_bindings.h"
#include "worker/azure_storage.h"

namespace {

using namespace mayfly::worker;
using mayfly::Random;

void check_request(const AzureAccount& account, const StorageCall& call) {
  const StorageRequest request = storage_request(account, call, {std::chrono::microseconds(1'795'878'245'678'901)});
  ASSERT(request.target.starts_with('/'), "a target is a path");
  ASSERT(request.target.find_first_of(std::string_view(" \r\n\0#", 5)) == request.target.npos, "which ends no line");
  ASSERT(request.target.find("/../") == request.target.npos, "and leads to no other");
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = request.head.find('\n', at)) != request.head.npos; ++at) ++lines;
  ASSERT(lines >= 4 && lines <= 7 && request.head.ends_with("\r\n"), "a head has our lines alone");
}

void check_connection(std::string_view text, std::string_view path) {
  const auto account = parse_connection(text);
  if (!account) return;
  AzureMoment moment{.now = {}, .random = Random(1), .function = "f"};
  const AzureSettings settings{{"AzureWebJobsStorage", std::string(text)}, {"S", "x"}};
  for (const char* type : {"blob", "queue"}) {
    const auto place = place_of({.name = "b", .type = type, .path = std::string(path), .connection = {}, .data_type = {}}, settings,
                                {{"name", "a/b"}}, moment);
    if (!place) continue;
    for (const StorageDeed deed : {StorageDeed::put_blob, StorageDeed::create_container, StorageDeed::put_message})
      check_request(*place->account, {.deed = deed, .place = place->container, .blob = place->blob, .size = 1});
  }
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "in/{name}.{ext}-{DateTime:yyyy}-{rand-guid:N}%S%\x01"
      "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;EndpointSuffix=x\x01"
      "{\"name\": {\"a\": 1}}\x01in/a.b",
      "{{x}}/{a.b.c}\x01" "BlobEndpoint=https://[::1]:1/p;SharedAccessSignature=sig=a\x01{\"a\": {\"b\": {\"c\": true}}}\x01{x}/y",
      "abc/{sys.utcnow:d MMM 'x' \\h}\x01UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://h\x01{}\x01" "a=bytes:2&b=json:1",
          nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size), parts[4];  // a binding's path, a connection, data, a path or a line
  for (std::string_view& part : parts) {
    const std::size_t end = std::min(rest.find('\x01'), rest.size());
    part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const auto values = mayfly::domain::parse_json<nlohmann::json>(parts[2]);
  AzureMoment moment{.now = {std::chrono::microseconds(1'795'878'245'678'901)}, .random = Random(1), .function = "f"};
  if (values.is_object()) {
    const auto filled = fill_expressions(parts[0], values, moment);
    if (filled) ASSERT(filled->size() <= kFilledMax, "a text has its limit");
  }
  if (const auto settled = fill_settings(parts[0], {{"S", "x"}})) ASSERT(settled->size() <= kFilledMax, "a text has its limit");
  if (const auto found = match_pattern(parts[0], parts[3]))
    for (const auto& [name, value] : *found) ASSERT(value.size() <= parts[3].size(), "a value is a part of the path");
  check_connection(parts[1], parts[0]);
  std::string_view body = parts[2];
  if (const auto outputs = take_outputs(parts[3], body)) {
    std::size_t total = body.size();
    for (const AzureOutput& output : *outputs) total += output.value.size();
    ASSERT(total == parts[2].size(), "outputs and the answer are what came");
  }
  static_cast<void>(storage_error(parts[3], parts[2]));
  static_cast<void>(message_body(parts[2]));
  return 0;
}
