#include "os/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "base/hex.h"

namespace mayfly::os {
namespace {

using Digest = std::array<unsigned char, 32>;

Digest digest_of(std::string_view bytes) {
  Digest digest{};
  ::EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, ::EVP_sha256(), nullptr);
  return digest;
}

std::string text_of(const Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }
const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

}  // namespace

std::string sha256(std::string_view bytes) { return text_of(digest_of(bytes)); }
std::string sha256_hex(std::string_view bytes) { return hex_of(digest_of(bytes)); }

std::string hmac_sha256(std::string_view key, std::string_view bytes) {
  Digest digest{};
  unsigned size = digest.size();
  ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(bytes), bytes.size(), digest.data(), &size);
  return text_of(digest);
}

std::string hmac_sha256_chain(std::string key, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) key = hmac_sha256(key, part);
  return hex_of({bytes_of(key), key.size()});
}

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3), '\0');
  // Writes a NUL behind it, which the string has room for.
  ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes_of(bytes), static_cast<int>(bytes.size()));
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1 || text.find('=') != text.npos) return std::nullopt;
  // It takes whole groups, and what pads one is zeros to it.
  const std::size_t missing = (4 - text.size() % 4) % 4;
  const std::string padded = missing > 0 ? std::string(text).append(missing, '=') : std::string();
  const std::string_view whole = missing > 0 ? std::string_view(padded) : text;
  std::string bytes(whole.size() / 4 * 3, '\0');
  // It would forgive blanks at both ends, which would change the length.
  const int size = ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), bytes_of(whole), static_cast<int>(whole.size()));
  if (size < 0 || static_cast<std::size_t>(size) != bytes.size()) return std::nullopt;
  bytes.resize(bytes.size() - missing);
  return bytes;
}

}  // namespace mayfly::os
