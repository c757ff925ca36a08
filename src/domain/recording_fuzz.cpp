// Any bytes as a recording's policy ('P' in front) or as recorded calls: within the limits, whole, or an error that says why.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "domain/recording.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {R"(P{"calls": 500, "share": 0.1, "size_max": 1000000})", "C", "Cmayfly01", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly::domain;
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'P') {
    const auto policy = parse_recording(text);
    if (!policy) ASSERT(!policy.error().message.empty(), "an error says what");
    else ASSERT(policy->calls >= 1 && policy->calls <= kRecordedCallsMax && policy->share > 0 && policy->share <= 1, "within the limits");
    return 0;
  }
  // A right head in front, of which the first bytes are changed: a seed can't hold its zeros.
  std::string bytes = head_of({.seen = 1, .version = 1, .body = "abc"}) + "abc" + head_of({});
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) bytes[static_cast<unsigned char>(text[i]) % bytes.size()] = text[i + 1];
  for (const std::string_view any : {text, std::string_view(bytes)}) {
    const auto calls = read_calls(any);
    std::size_t read = 0;
    for (const RecordedCall& call : calls ? *calls : std::vector<RecordedCall>()) {
      ASSERT(call.json_size <= call.body.size() && call.format <= WireFormat::v2_raw, "a call is one that there can be");
      read += kRecordedHead + call.body.size();
    }
    ASSERT(!calls || read == any.size(), "each byte belongs to a call");
  }
  return 0;
}
