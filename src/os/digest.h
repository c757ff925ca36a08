// What OpenSSL does for several modules: digests, and base64 (RFC 4648, 4). Bytes go in and come out as text of any content.
#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace mayfly::os {

[[nodiscard]] std::string sha256(std::string_view bytes);                                  // 32 bytes
[[nodiscard]] std::string sha256_hex(std::string_view bytes);                              // 64 lower-case digits
[[nodiscard]] std::string hmac_sha256(std::string_view key, std::string_view bytes);       // 32 bytes
// HMAC of each part, by that of the one before; of the last in 64 digits. As AWS's Signature Version 4 makes a key of a secret, and signs.
[[nodiscard]] std::string hmac_sha256_chain(std::string key, std::initializer_list<std::string_view> parts);

[[nodiscard]] std::string to_base64(std::string_view bytes);                               // with padding
// Nothing where it is none. Padding may be missing, in part, too; nothing else may be there.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

}  // namespace mayfly::os
