// Connection strings of Azure Storage, as its clients read them: "DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…", with
// BlobEndpoint, QueueEndpoint, EndpointSuffix or SharedAccessSignature; "UseDevelopmentStorage=true" is an emulator at its usual ports.
// Pure; the text is the user's own. No error repeats a key or a signature.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::worker {

struct AzureEndpoint {
  bool tls = true;
  std::string host;               // without brackets; "": the string names none
  std::uint16_t port = 0;
  std::string prefix;             // of each path: "/devstoreaccount1", or ""
  friend bool operator==(const AzureEndpoint&, const AzureEndpoint&) = default;
};
[[nodiscard]] std::string address_text(const AzureEndpoint& endpoint);         // "HOST:PORT", as network.outbound lists it

struct AzureAccount {
  std::string name;
  std::string key;                // bytes; "": signature
  std::string signature;          // a shared access signature: what goes behind '?'
  AzureEndpoint blob, queue;
  friend bool operator==(const AzureAccount&, const AzureAccount&) = default;
};

constexpr std::size_t kConnectionMax = 8192;
[[nodiscard]] Result<AzureAccount> parse_connection(std::string_view text);

}  // namespace mayfly::worker
