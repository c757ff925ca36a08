// Requests of Azure Storage's REST API for blobs and queues, signed by the account's key (Shared Key,
// https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key) or with a shared access signature. Pure: what is sent,
// and what an answer means; worker/azure_store.h sends. Version 2021-12-02 of the API.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "worker/azure_connection.h"

namespace mayfly::worker {

struct StorageRequest {
  AzureEndpoint to;
  std::string_view method;
  std::string target;                // path and query, encoded
  std::string head;                  // lines, Host and Authorization among them; the length is left to who sends
};

enum class StorageDeed : std::uint8_t { get_blob, put_blob, create_container, put_message, create_queue };

// place: a container, or a queue. blob: "" of what has none. size: of the body that goes with it.
struct StorageCall {
  StorageDeed deed{};
  std::string place, blob;
  std::size_t size = 0;
};
[[nodiscard]] StorageRequest storage_request(const AzureAccount& account, const StorageCall& call, WallTime now);

// As the service takes them: 3 to 63 lower-case letters, digits and single '-'; of containers "$root", "$web" and "$logs", too.
[[nodiscard]] Result<void> check_container(std::string_view name);
[[nodiscard]] Result<void> check_queue(std::string_view name);
// Up to 1,024 characters, without "." and ".." as parts of its path, which would lead elsewhere.
[[nodiscard]] Result<void> check_blob(std::string_view name);

constexpr std::size_t kMessageMax = 64 * 1024;  // of a queue, as it is sent
// The body that puts it; invalid_argument: XML can't hold it.
[[nodiscard]] Result<std::string> message_body(std::string_view text);

// Of an answer that is no success: "AuthenticationFailed: Server failed to …" of its XML or its header x-ms-error-code.
[[nodiscard]] std::string storage_error(std::string_view head, std::string_view body);
// A header's value of such a head, any case; "" where there is none.
[[nodiscard]] std::string_view header_of(std::string_view head, std::string_view name);

}  // namespace mayfly::worker
