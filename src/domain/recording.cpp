#include "domain/recording.h"

#include <cstring>

#include "domain/json.h"
#include "domain/settings.h"

namespace mayfly::domain {
namespace {

constexpr std::string_view kMagic = "mayfly01";

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

template <class T>
void put(std::string& into, T value) {
  into.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T take(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

std::string to_document(const RecordingPolicy& policy) {
  return nlohmann::json{{"calls", policy.calls}, {"share", policy.share}, {"size_max", policy.size_max.count}}.dump();
}

Result<RecordingPolicy> parse_recording(std::string_view document) {
  const auto json = parse_json<nlohmann::json>(document);
  if (!json.is_object()) return wrong(R"(a recording is a JSON object like {"calls": 500, "share": 0.1})");
  RecordingPolicy policy;
  for (const auto& [key, value] : json.items()) {
    const std::string seen = "'" + key.substr(0, 40) + "' is " + value.dump().substr(0, 40);
    if (key == "calls") {
      if (!value.is_number_integer() || value < 1 || value > kRecordedCallsMax)
        return wrong(seen + ": write a whole number from 1 to 100000");
      policy.calls = value.get<int>();
    } else if (key == "share") {
      if (!value.is_number() || value <= 0.0 || value > 1.0) return wrong(seen + ": write a number above 0 and up to 1");
      policy.share = value.get<double>();
    } else if (key == "size_max") {
      if (!value.is_number_unsigned() || value < 1 || value > kRecordedBytesMax.count)
        return wrong(seen + ": write a number of bytes, at most " + to_text(kRecordedBytesMax));
      policy.size_max = {value.get<std::uint64_t>()};
    } else {
      return wrong("'" + key.substr(0, 40) + "' is not known: a recording has calls, share and size_max");
    }
  }
  if (policy.calls == 0) return wrong("'calls' is missing: say how many are to be kept, from 1 to 100000");
  return policy;
}

std::optional<RecordingPolicy> recording_of(const Function& function) {
  const Setting* set = find_setting(function, kRecording);
  if (!set) return std::nullopt;
  const auto policy = parse_recording(set->document);
  return policy ? std::optional(*policy) : std::nullopt;
}

std::string head_of(const RecordedCall& call) {
  std::string head(kMagic);
  put(head, call.seen);
  put(head, static_cast<std::uint64_t>(call.body.size()));
  put(head, call.json_size);
  put(head, call.version);
  put(head, static_cast<std::uint32_t>(call.format));
  return head;
}

Result<std::vector<RecordedCall>> read_calls(std::string_view bytes) {
  std::vector<RecordedCall> calls;
  while (!bytes.empty()) {
    if (bytes.size() < kRecordedHead || !bytes.starts_with(kMagic))
      return fail(Code::data_loss, "recorded call " + std::to_string(calls.size()) + " does not begin as one");
    const auto size = take<std::uint64_t>(bytes, 16);
    RecordedCall call{.seen = take<std::uint64_t>(bytes, 8), .version = take<std::uint32_t>(bytes, 32),
                      .json_size = take<std::uint64_t>(bytes, 24)};
    const auto format = take<std::uint32_t>(bytes, 36);
    if (size > bytes.size() - kRecordedHead)
      return fail(Code::data_loss, "recorded call " + std::to_string(calls.size()) + " is cut short");
    if (format > static_cast<std::uint32_t>(WireFormat::v2_raw) || call.json_size > size)
      return fail(Code::data_loss, "recorded call " + std::to_string(calls.size()) + " is of no form that there is");
    call.format = static_cast<WireFormat>(format);
    call.body = bytes.substr(kRecordedHead, size);
    calls.push_back(call);
    bytes.remove_prefix(kRecordedHead + size);
  }
  return calls;
}

}  // namespace mayfly::domain
